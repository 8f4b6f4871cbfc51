"""Reading the files of runs as one reads a log, while they grow."""
