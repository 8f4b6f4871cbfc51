"""The FIFOs between the chips and the host: of bytes (A-STEP), and of words (GECCO)."""

from collections import deque
from collections.abc import Iterable
from dataclasses import dataclass, field

from protocol.registers.gecco import SPI_WORD_BYTES
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


class WordFifo:
    """Holds at most `capacity_bytes`, in words of 8 bytes; whoever fills it must look at `room` first.

    It is read in groups of 8 bytes, which go on from one read to the next: where a group begins while a word is there,
    the group is that word, otherwise it is padding, even if a word comes within it. (So says the firmware's source;
    with reads of multiples of 8 bytes all groups begin with the readout.)

    `offered_bytes`: bytes of the chips so far, `lost_bytes` of them did not get here; `discarded_bytes`: were here when
    it was reset. With `record` it remembers everything (`FifoRecord`), which takes memory without bound.
    """

    def __init__(self, capacity_bytes: int, record: bool = False) -> None:
        self.capacity_bytes = capacity_bytes - capacity_bytes % SPI_WORD_BYTES
        self.record = FifoRecord() if record else None
        self.offered_bytes = 0
        self.lost_bytes = 0
        self.discarded_bytes = 0
        self._held = bytearray()
        self._group_left = 0
        self._group_is_word = False

    def __len__(self) -> int:
        return len(self._held)

    @property
    def room(self) -> int:
        """Bytes that still fit."""
        return max(0, self.capacity_bytes - len(self._held))

    def put(self, data: bytes, filler: int = 0) -> None:
        """Take in `data`, the last `filler` bytes of which are not the chips'."""
        self._held += data
        self._note(data, filler)

    def lose(self, data: bytes) -> None:
        """Count bytes of the chips that did not get here."""
        start, self.offered_bytes = self.offered_bytes, self.offered_bytes + len(data)
        self.lost_bytes += len(data)
        if self.record is not None and data:
            self.record.losses.append((start, self.offered_bytes))

    def _note(self, data: bytes, filler: int) -> None:
        self.offered_bytes += len(data) - filler
        if self.record is not None:
            self.record.data += data

    def read(self, length: int, arriving: Iterable[tuple[int, bytes, int]] = ()) -> bytes:
        """The next `length` bytes.

        `arriving`: words that come during the read, in order: before which byte of the answer, the word, its filler.
        """
        coming = deque(arriving)
        for _, word, filler in coming:
            self._note(word, filler)
        answer = bytearray((PADDING_BYTE,)) * length
        begun = min(self._group_left, length)
        given = self._give(answer, 0, begun) if self._group_is_word else 0
        self._group_left -= begun
        position = begun
        while position < length:
            while coming and coming[0][0] <= position:
                self._held += coming.popleft()[1]
            left = length - position
            self._group_is_word = bool(self._held)
            if self._group_is_word:
                size = self._give(answer, position, left)
                given += size
            else:
                size = max(1, (coming[0][0] if coming else length) - position)
            whole_groups = size + -size % SPI_WORD_BYTES
            self._group_left = max(0, whole_groups - left)
            position += min(whole_groups, left)
        for _, word, _ in coming:
            self._held += word
        if self.record is not None:
            self.record.reads.append(given)
        return bytes(answer)

    def _give(self, answer: bytearray, position: int, most: int) -> int:
        """Put up to `most` of the oldest bytes at `position`; how many."""
        size = min(most, len(self._held))
        answer[position : position + size] = self._held[:size]
        del self._held[:size]
        return size

    def reset(self) -> None:
        """Forget what it holds, and count it."""
        self.discarded_bytes += len(self._held)
        if self.record is not None:
            del self.record.data[len(self.record.data) - len(self._held) :]
        self._held.clear()
        self._group_is_word = False
