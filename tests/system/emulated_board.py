"""What the emulated board of a daemon had to say, made here once more from its seed."""

from daqd.configuration.config import Config
from daqd.emulator.seeded_hits import SeededHits

_FOREVER_S = 1e9
_EVERYTHING = 1 << 40


def sent_by_board(config: Config, length: int | None = None) -> bytes:
    """The first `length` bytes that the board sends, flat out; all of them where it has a limit of hits."""
    source = SeededHits(config.emulator, config.board.chips)
    return source.take(_FOREVER_S, _EVERYTHING if length is None else length + 1, 0)
