"""Bytes between a file descriptor and an emulated board, at the pace of a UART."""

import os
import time
from collections.abc import Callable

from daqd.emulator.board_model import BoardModel

BITS_PER_BYTE = 10
"""Start bit, eight bits, stop bit."""

_PIECE_S = 0.002
"""Pieces are so long that the pace is kept without a call for each byte."""

_MOST_BYTES = 65536


class BytePump:
    """One connection to `board`: takes what the host sends and passes on the answers, each way at `baud` bits/s.

    `baud` = 0: as fast as it goes. Nothing here waits: `read_at` and `write_at` say when to come again. A piece of an
    answer is passed on when its last byte has crossed the wire, never earlier. `clock`: seconds, monotonic.
    """

    def __init__(self, board: BoardModel, baud: int = 0, clock: Callable[[], float] = time.monotonic) -> None:
        self._board = board
        self._clock = clock
        self._byte_s = BITS_PER_BYTE / baud if baud else 0.0
        self._piece = max(1, int(_PIECE_S / self._byte_s)) if baud else _MOST_BYTES
        self._answers = bytearray()
        self.read_at = self.write_at = 0.0

    @property
    def has_answers(self) -> bool:
        """Whether there is something to write."""
        return bool(self._answers)

    def read(self, file: int) -> bool:
        """Take a piece of what the host sent; False at its end. For a descriptor that does not block."""
        data = os.read(file, self._piece)
        self.read_at = max(self.read_at, self._clock()) + len(data) * self._byte_s
        if not data:
            return False
        was_silent = not self._answers
        self._answers += self._board.exchange(data)
        if was_silent and self._answers:
            self.write_at = max(self.write_at, self.read_at) + self._next_piece_s
        return True

    def write(self, file: int) -> None:
        """Pass on a piece of the answers. For a descriptor that does not block."""
        count = os.write(file, bytes(self._answers[: self._piece]))
        del self._answers[:count]
        self._board.fetched(count)
        # A late call is no credit for more than one piece.
        earliest = self._clock() - self._piece * self._byte_s
        self.write_at = max(self.write_at, earliest) + self._next_piece_s

    @property
    def _next_piece_s(self) -> float:
        return min(len(self._answers), self._piece) * self._byte_s
