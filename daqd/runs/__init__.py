"""Runs on disk: where they live, the files of one, its record, and repair."""
