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
        for index, bound in enumerate(self._bounds[:-1]):
            if at < bound < end:
                stripped = self._stripped(index - 1)
                if end <= self._bounds[index + 1] and self._mended(bound, end - stripped, end):
                    self._mend(at, bound, end - stripped)
                    return end - stripped
                if stripped and (self._stream[bound] == IDLE or self.starts_hit(self._stream[bound])):
                    self._restore(at, bound, index)
                    return bound
        if end > length and not flush:
            self.counts["carried"] += length - at
            return length
        if end > length and self._stripped(self._owner[-1]) < end - length:
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

    def _mended(self, bound: int, end: int, hit_end: int) -> bool:
        """Rule 1.1: whether a hit lost 0xFF before `bound`, and goes on from there to `end`, not `hit_end`."""
        rest = self._stream[bound:end]
        return bound < end < hit_end and self._sensible(end) and (len(rest) == 1 or rest != bytes([IDLE]) * len(rest))

    def _stripped(self, index: int) -> int:
        """How many bytes of 0xFF can have gone from the end of a readout: any number where its length is not known."""
        if self.readout_bytes is None:
            return self.size
        return max(0, self.readout_bytes - (self._bounds[index + 1] - self._bounds[index]))

    def _sensible(self, position: int) -> bool:
        """Whether a hit may end before `position`."""
        if position in self._bounds:
            return True
        byte = self._stream[position]
        return byte in (IDLE, PADDING) or self.starts_hit(byte)

    def _inner_hit(self, at: int) -> int | None:
        """Rule 4: the first hit that begins within the one at `at` and is sensible itself, or cut."""
        readout_end = self._bounds[self._owner[at + self.size] + 1]
        for inner in range(at + 1, at + self.size):
            end = inner + self.size
            if self.starts_hit(self._stream[inner]) and (end >= readout_end or self._sensible(end)):
                return inner
        return None

    def _mend(self, at: int, bound: int, end: int) -> None:
        rest = self._stream[bound:end]
        self._emit(self._owner[end - 1], self._stream[at:bound].ljust(self.size - len(rest), bytes([PADDING])) + rest)
        self.counts["rejoined_hits"] += 1
        self.counts["hit"] += end - at
        self.counts["restored_hits"] += 1
        self.counts["restored_bytes"] += at + self.size - end

    def _restore(self, at: int, end: int, owner: int) -> None:
        self._emit(owner, self._stream[at:end].ljust(self.size, bytes([PADDING])))
        self.counts["hit"] += end - at
        self.counts["restored_hits"] += 1
        self.counts["restored_bytes"] += at + self.size - end

    def _emit(self, owner: int, data: bytes) -> None:
        self.hits.append(FoundHit(self._ids[owner], self._orders[owner], data))
        self._orders[owner] += 1
        self.counts["hits"] += 1
