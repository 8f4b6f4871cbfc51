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
        self._ids: list[int] = []
        self._lengths: list[int] = []  # before groups of padding are taken out
        chunks: list[bytes] = []
        for readout_id, data in readouts:
            kept = self._without_groups(data)
            if kept:
                self._ids.append(readout_id)
                self._lengths.append(len(data))
                chunks.append(kept)
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

    def _without_groups(self, data: bytes) -> bytes:
        kept = b""
        for start in range(0, len(data), 8):
            group = data[start : start + 8]
            if group == bytes([PADDING]) * 8:
                self.counts["padding"] += 8
            else:
                kept += group
        return kept

    def _step(self, at: int, flush: bool) -> int:
        """Take what is at `at` for something; the position after it."""
        byte, end, length = self._stream[at], at + self.size, len(self._stream)
        if not self.starts_hit(byte):
            self.counts["idle" if byte == IDLE else "padding" if byte == PADDING else "orphan"] += 1
            return at + 1
        for index, bound in enumerate(self._bounds[:-1]):
            if at < bound < end:
                rest_end = self._rest_end(bound, self._bounds[index + 1], end, self._removed(index - 1))
                if rest_end < end:
                    self._restore(at, bound, rest_end, self._owner[rest_end - 1] if rest_end > bound else index)
                    return rest_end
        if end > length:
            return self._at_the_end(at, flush)
        inner = None if self._sensible(end) else self._inner_hit(at)
        if inner is not None:
            self.counts["dropped"] += inner - at
            self.counts["dropped_hits"] += 1
            return inner
        self._emit(self._owner[end - 1], self._stream[at:end])
        self.counts["rejoined_hits"] += any(at < bound < end for bound in self._bounds)
        self.counts["hit"] += self.size
        return end

    def _at_the_end(self, at: int, flush: bool) -> int:
        """Rule 2: carried; once the run is over, dropped or restored."""
        length = len(self._stream)
        lacks, removed = at + self.size - length, self._removed(self._owner[-1])
        if not flush:
            self.counts["carried"] += length - at
        elif removed < lacks and (self.readout_bytes is not None or removed == 0):
            self.counts["dropped"] += length - at
            self.counts["dropped_hits"] += 1
        else:
            self._restore(at, length, length, self._owner[-1])
        return length

    def _rest_end(self, bound: int, limit: int, end: int, removed: int) -> int:
        """Rule 1: where a hit ends that is cut at `bound`; `end` where it lost nothing."""
        unknown = self.readout_bytes is None
        opens = self._stream[bound] == IDLE or self.starts_hit(self._stream[bound])
        if 0 < removed < end - bound and self._is_rest(bound, end - removed, limit):
            tail = self._stream[end - removed : min(end, limit)]
            goes_on = not opens and (end >= limit or self._sensible(end)) and tail != bytes([IDLE]) * len(tail)
            if not unknown or not goes_on:
                return end - removed
        if opens and (removed > 0 or (unknown and not self._is_rest(bound, end, limit))):
            return bound
        return end

    def _is_rest(self, bound: int, end: int, limit: int) -> bool:
        """Whether a hit's rest may reach from `bound` to `end`: a sensible byte follows, and not all of it is idle."""
        rest = self._stream[bound:end]
        exact = self.readout_bytes is not None and self.readout_bytes % 8 == 0
        return end < limit and self._sensible(end) and (exact or len(rest) == 1 or rest != bytes([IDLE]) * len(rest))

    def _removed(self, index: int) -> int:
        """How many bytes 0xFF of a hit may have been removed from the end of a readout."""
        length = self._lengths[index]
        if self.readout_bytes is not None and self.readout_bytes % 8:
            return max(0, self.readout_bytes - length)
        return -length % 8

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

    def _restore(self, at: int, bound: int, end: int, owner: int) -> None:
        """A hit from `at` to `end` that lost bytes 0xFF before `bound`."""
        rest = self._stream[bound:end]
        self._emit(owner, self._stream[at:bound].ljust(self.size - len(rest), bytes([PADDING])) + rest)
        self.counts["rejoined_hits"] += bool(rest)
        self.counts["hit"] += end - at
        self.counts["restored_hits"] += 1
        self.counts["restored_bytes"] += at + self.size - end

    def _emit(self, owner: int, data: bytes) -> None:
        self.hits.append(FoundHit(self._ids[owner], self._orders[owner], data))
        self._orders[owner] += 1
        self.counts["hits"] += 1
