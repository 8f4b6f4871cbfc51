"""What happened while one readout was decoded."""

from enum import IntEnum


class Decoding(IntEnum):
    """Things worth knowing about the decoding of a readout.

    The first eight are those that users of the public AstroPix analysis package know, in its order.
    """

    ORPHAN_BYTES_MATCHED = 0
    """The bytes it opens with completed the hit that the readout before had begun."""
    ORPHAN_BYTES_DROPPED = 1
    """Bytes that belong to no hit and are neither idle nor padding."""
    ORPHAN_BYTES_NOT_USED = 2
    """Extra bytes were given, but the readout does not open with the rest of their hit."""
    VALID_EXTRA_BYTES = 3
    """It ends within a hit; the rest is expected in the next readout."""
    INVALID_EXTRA_BYTES = 4
    """Extra bytes were given that are not the beginning of a hit; they were ignored."""
    INCOMPLETE_HIT_DROPPED = 5
    """A hit was begun and not completed."""
    NOT_ALL_BYTES_VISITED = 6
    """Bytes are unaccounted for; this decoder never does that."""
    UNKNOWN_FATAL_ERROR = 7
    """Kept for its place in the order; this decoder never sets it."""
    PADDING_RESTORED = 8
    """A hit got back bytes 0xFF that had been removed with the padding at the end of a readout."""


class DecodingStatus:
    """A set of `Decoding` flags; true if any is set."""

    def __init__(self) -> None:
        self._bits = 0

    def set(self, bit: Decoding) -> None:
        """Set one flag."""
        self._bits |= 1 << Decoding(bit)

    def __getitem__(self, bit: Decoding) -> bool:
        return bool(self._bits >> Decoding(bit) & 1)

    def __bool__(self) -> bool:
        return self._bits != 0

    def __eq__(self, other: object) -> bool:
        return self._bits == other._bits if isinstance(other, DecodingStatus) else NotImplemented

    def __hash__(self) -> int:
        return hash(self._bits)

    def __str__(self) -> str:
        return f"DecodingStatus({', '.join(bit.name for bit in Decoding if self[bit]) or 'clean'})"

    __repr__ = __str__
