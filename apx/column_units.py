"""Units of the columns of hits, as converted files name them; all other columns are counts."""

COLUMN_UNITS = {"timestamp": "ns", "tot_us": "us"}
