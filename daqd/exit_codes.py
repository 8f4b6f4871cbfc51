"""What the programs end with."""

OK, FAILED, MISUSE = 0, 1, 2
