"""The bytes that mean something between hits in the stream of the GECCO readout (docs/formats.md, "Stream")."""

IDLE_BYTE = 0xBC
"""The chip had nothing to say."""

PADDING_BYTE = 0xFF
"""The board's FIFO was empty."""

GROUP_BYTES = 8
"""A readout consists of groups of so many bytes, counted from its first one: each is all data or all padding."""

MAX_CHIPS = 31
"""Chips that a chain can hold and be told apart: the first byte of chip 31 would be `PADDING_BYTE`."""

_PADDING = bytes((PADDING_BYTE,))
_MUCH_PADDING = _PADDING * 256


def strip_padding(data: bytes) -> bytes:
    """`data` without the padding at its end; most of a readout is padding, and `rstrip` looks at it byte by byte."""
    end = len(data)
    while data.endswith(_MUCH_PADDING, 0, end):
        end -= len(_MUCH_PADDING)
    return data[:end].rstrip(_PADDING)
