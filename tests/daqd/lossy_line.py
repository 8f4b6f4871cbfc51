"""A line between host and board that loses and doubles bytes."""

from abc import ABC, abstractmethod

import numpy as np

from daqd.emulator.board_model import BoardModel


class LineFaults(ABC):
    """One direction of the line. `damaged` has the positions of the bytes, of all that were sent, that went wrong."""

    def __init__(self) -> None:
        self.sent_bytes = 0
        self.damaged: set[int] = set()

    @abstractmethod
    def _faults(self, length: int) -> list[tuple[int, bool]]:
        """Which of the next `length` bytes go wrong, in order, and whether each is lost; it is doubled otherwise."""

    def carry(self, data: bytes) -> bytes:
        """What arrives of `data`."""
        faults = self._faults(len(data))
        start, self.sent_bytes = self.sent_bytes, self.sent_bytes + len(data)
        if not faults:
            return data
        parts, position = [], 0
        for index, is_lost in faults:
            self.damaged.add(start + index)
            parts.append(data[position : index + (0 if is_lost else 1)])
            position = index + (1 if is_lost else 0)
        return b"".join((*parts, data[position:]))


class RandomFaults(LineFaults):
    """Each byte goes wrong with the probability `rate`; it is lost or doubled. The same `seed`, the same faults."""

    def __init__(self, rate: float, seed: int) -> None:
        super().__init__()
        self.rate = rate
        self._random = np.random.default_rng(seed)

    def _faults(self, length: int) -> list[tuple[int, bool]]:
        if not self.rate:
            return []
        where = np.flatnonzero(self._random.random(length) < self.rate).tolist()
        return [(index, bool(self._random.random() < 0.5)) for index in where]


class TransferFaults(LineFaults):
    """Of each transfer, however long, one byte goes wrong with the probability `rate`; otherwise as `RandomFaults`."""

    def __init__(self, rate: float, seed: int) -> None:
        super().__init__()
        self.rate = rate
        self._random = np.random.default_rng(seed)

    def _faults(self, length: int) -> list[tuple[int, bool]]:
        if not length or self._random.random() >= self.rate:
            return []
        return [(int(self._random.integers(length)), bool(self._random.random() < 0.5))]


class OneFault(LineFaults):
    """The byte at `position` of all that is sent is lost, or doubled. None: no byte."""

    def __init__(self, position: int | None, *, is_lost: bool) -> None:
        super().__init__()
        self.position = position
        self._is_lost = is_lost

    def _faults(self, length: int) -> list[tuple[int, bool]]:
        if self.position is None or not 0 <= self.position - self.sent_bytes < length:
            return []
        return [(self.position - self.sent_bytes, self._is_lost)]


class LossyLine(BoardModel):
    """`board` at the other end of a line with `to_board` and `to_host` faults; it is used in its place."""

    def __init__(self, board: BoardModel, to_board: LineFaults, to_host: LineFaults) -> None:
        self.board = board
        self.to_board = to_board
        self.to_host = to_host

    def exchange(self, data: bytes) -> bytes:
        """What arrives of the answers to what arrives of `data`."""
        answer = self.board.exchange(self.to_board.carry(data))
        arrived = self.to_host.carry(answer)
        self.board.fetched(len(answer) - len(arrived))
        return arrived

    def fetched(self, count: int) -> None:
        """The host has taken `count` more bytes; those that the line lost left the board without it."""
        self.board.fetched(count)

    def connect_at(self, baud: int) -> None:
        """The board is on a UART at `baud` bits/s; 0: on a link as fast as it gets."""
        self.board.connect_at(baud)

    @property
    def answering_until(self) -> float:  # type: ignore[override]
        """Until when the board is busy with its last answer."""
        return self.board.answering_until

    def power_up(self) -> None:
        """The state of the board after power was switched on."""
        self.board.power_up()

    @property
    def exhausted(self) -> bool:
        """Whether the board will never have data any more, and everything it had was read."""
        return self.board.exhausted

    @property
    def counters(self) -> dict[str, int]:
        """What the board counts, and how many bytes went wrong each way."""
        faults = {
            "emulator_line_faults_to_board": len(self.to_board.damaged),
            "emulator_line_faults_to_host": len(self.to_host.damaged),
        }
        return {**self.board.counters, **faults}
