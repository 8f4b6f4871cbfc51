"""Units of time, and of the columns of hits."""

NS_PER_S = 1_000_000_000

COLUMN_UNITS = {"timestamp": "ns", "tot_us": "us"}
"""Units of the columns of hits, as converted files name them; all other columns are counts."""
