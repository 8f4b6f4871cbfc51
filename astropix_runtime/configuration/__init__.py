"""Configuration files: sections, reading, and reports of their mistakes."""
