"""The bytes that mean something between hits in the stream of the GECCO readout (docs/formats.md, "Stream")."""

IDLE_BYTE = 0xBC
"""The chip had nothing to say."""

PADDING_BYTE = 0xFF
"""The board's FIFO was empty."""

MAX_CHIPS = 31
"""Chips that a chain can hold and be told apart: the first byte of chip 31 would be `PADDING_BYTE`."""
