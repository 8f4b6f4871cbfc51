"""A program as a process: its log and its signals."""
