"""The checks: pure functions, and the tables that name them."""
