"""When a test gives up."""

import os

DEADLINE_S = float(os.environ.get("ASTROPIX_TEST_DEADLINE_S", "240"))
"""Generous: the machine may be slow and busy, nothing is measured here, and who is green waits for none of it."""
