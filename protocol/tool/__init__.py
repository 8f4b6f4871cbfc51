"""The `apx` program."""
