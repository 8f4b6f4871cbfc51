"""The decoding rules of docs/formats.md once more, byte by byte: slow, plain, and compared with the real decoder."""

from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

IDLE, PADDING = 0xBC, 0xFF


def starts_astropix4_hit(chips: int | None) -> Callable[[int], bool]:
    """Whether a byte can begin a hit of AstroPix 4 in a chain of `chips` chips (None: not known)."""

    def starts(byte: int) -> bool:
        chip = int(f"{byte & 0x1F:05b}"[::-1], 2)
        return byte >> 5 == 0b111 and byte != PADDING and (chips is None or chip < chips)

    return starts


@dataclass(frozen=True)
class FoundHit:
    """`data`: the wire bytes, restored ones included."""

    readout_id: int
    decoding_order: int
    data: bytes


@dataclass
class SequentialDecoder:
    """Decodes one whole run; `counts` are those of the ledger by the same names."""

    starts_hit: Callable[[int], bool]
    size: int = 8
    readout_bytes: int | None = None
    hits: list[FoundHit] = field(default_factory=list)
    counts: Counter[str] = field(default_factory=Counter)

    def run(self, readouts: Sequence[tuple[int, bytes]], *, flush: bool) -> "SequentialDecoder":
        """`readouts`: ids and bytes, trailing padding removed, in order."""
        self._ids = [readout_id for readout_id, data in readouts if data]
        chunks = [data for _, data in readouts if data]
        self._orders = [0] * len(chunks)
        self._stream = b"".join(chunks)
        self._owner = [index for index, data in enumerate(chunks) for _ in data]
        self._bounds = [0]
        for data in chunks:
            self._bounds.append(self._bounds[-1] + len(data))
        position = 0
        while position < len(self._stream):
            position = self._step(position, flush)
        return self

    def _step(self, at: int, flush: bool) -> int:
        """Take what is at `at` for something; the position after it."""
        byte, end, length = self._stream[at], at + self.size, len(self._stream)
        if not self.starts_hit(byte):
            self.counts["idle" if byte == IDLE else "padding" if byte == PADDING else "orphan"] += 1
            return at + 1
        settled_at = self._settled_at(at)
        if settled_at is not None:
            self._restore(at, settled_at, self._owner[settled_at])
            return settled_at
        if end > length and not flush:
            self.counts["carried"] += length - at
            return length
        if end > length and self._full(self._owner[-1]):
            self.counts["dropped"] += length - at
            self.counts["dropped_hits"] += 1
            return length
        if end > length:
            self._restore(at, length, self._owner[-1])
            return length
        inner = None if self._sensible(end) else self._inner_hit(at)
        if inner is not None:
            self.counts["dropped"] += inner - at
            self.counts["dropped_hits"] += 1
            return inner
        self._emit(self._owner[end - 1], self._stream[at:end])
        self.counts["rejoined_hits"] += any(at < bound < end for bound in self._bounds)
        self.counts["hit"] += self.size
        return end

    def _settled_at(self, at: int) -> int | None:
        """Rule (a): the begin of a readout that says that the hit at `at` has ended before it."""
        for index, bound in enumerate(self._bounds[:-1]):
            if at < bound < at + self.size and not self._full(index - 1):
                byte = self._stream[bound]
                if byte == IDLE or self.starts_hit(byte):
                    return bound
        return None

    def _full(self, index: int) -> bool:
        """Whether a readout is known to have had no padding."""
        size = self._bounds[index + 1] - self._bounds[index]
        return self.readout_bytes is not None and size >= self.readout_bytes

    def _sensible(self, position: int) -> bool:
        """Whether a hit may end before `position`."""
        if position in self._bounds:
            return True
        byte = self._stream[position]
        return byte in (IDLE, PADDING) or self.starts_hit(byte)

    def _inner_hit(self, at: int) -> int | None:
        """Rule (c): the first hit that begins within the one at `at` and is sensible itself, or cut."""
        readout_end = self._bounds[self._owner[at + self.size] + 1]
        for inner in range(at + 1, at + self.size):
            end = inner + self.size
            if self.starts_hit(self._stream[inner]) and (end >= readout_end or self._sensible(end)):
                return inner
        return None

    def _restore(self, at: int, end: int, owner: int) -> None:
        self._emit(owner, self._stream[at:end].ljust(self.size, bytes([PADDING])))
        self.counts["hit"] += end - at
        self.counts["restored_hits"] += 1
        self.counts["restored_bytes"] += at + self.size - end

    def _emit(self, owner: int, data: bytes) -> None:
        self.hits.append(FoundHit(self._ids[owner], self._orders[owner], data))
        self._orders[owner] += 1
        self.counts["hits"] += 1
