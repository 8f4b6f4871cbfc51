"""The bounded FIFO between the chips and the host."""

from dataclasses import dataclass, field

from protocol.stream_bytes import PADDING_BYTE


@dataclass
class FifoRecord:
    """What happened in a FIFO, byte by byte, for comparing.

    `data`: all bytes that it took in, in order. `losses`: [start, stop) of what it did not, in bytes of everything
    offered to it. `reads`: bytes other than padding that each read gave.
    """

    data: bytearray = field(default_factory=bytearray)
    losses: list[tuple[int, int]] = field(default_factory=list)
    reads: list[int] = field(default_factory=list)


class ReadFifo:
    """Holds at most `capacity_bytes`; what comes when it is full is lost and counted, as on the board.

    With `record` it remembers everything (`FifoRecord`), which takes memory without bound.
    """

    def __init__(self, capacity_bytes: int, record: bool = False) -> None:
        self.capacity_bytes = capacity_bytes
        self.record = FifoRecord() if record else None
        self.offered_bytes = 0
        self.lost_bytes = 0
        self.discarded_bytes = 0
        self._held = bytearray()

    def __len__(self) -> int:
        return len(self._held)

    @property
    def room(self) -> int:
        """Bytes that still fit."""
        return self.capacity_bytes - len(self._held)

    def put(self, data: bytes) -> None:
        """Take in what fits; the newest bytes, the end of `data`, are lost."""
        taken = data[: self.room]
        self._held += taken
        start, self.offered_bytes = self.offered_bytes + len(taken), self.offered_bytes + len(data)
        self.lost_bytes += self.offered_bytes - start
        if self.record is not None:
            self.record.data += taken
            if start < self.offered_bytes:
                self.record.losses.append((start, self.offered_bytes))

    def read(self, length: int) -> bytes:
        """The oldest bytes; padding where it has fewer than `length`."""
        data = bytes(self._held[:length])
        del self._held[:length]
        if self.record is not None:
            self.record.reads.append(len(data))
        return data.ljust(length, bytes((PADDING_BYTE,)))

    def reset(self) -> None:
        """Forget what it holds, and count it."""
        self.discarded_bytes += len(self._held)
        self._held.clear()
