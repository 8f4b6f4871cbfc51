"""Register protocols of both boards, and what is said in them from power-up to data."""
