"""Sanity checks of streams and recorded files: the program `apx-sanity`."""
