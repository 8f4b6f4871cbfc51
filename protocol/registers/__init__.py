"""Register protocols of both boards, and their sequences from power-up to data."""
