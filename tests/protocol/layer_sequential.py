"""The rules of docs/formats.md for layer frames, byte by byte: slow, plain, compared with the real decoder."""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field

PADDING = 0xFF


@dataclass(frozen=True)
class FoundFrame:
    """`data`: the bytes of the hit."""

    readout_id: int
    decoding_order: int
    layer: int
    data: bytes
    fpga_timestamp: int


@dataclass
class SequentialFrames:
    """Decodes one whole run; `counts` are those of the ledger by the same names."""

    chips: int | None
    layers: int | None
    timestamp_bits: int = 32
    timestamp_order: str = "little"
    data_bytes: int = 8
    frames: list[FoundFrame] = field(default_factory=list)
    counts: Counter[str] = field(default_factory=Counter)

    def run(self, readouts: Sequence[tuple[int, bytes]], *, flush: bool) -> "SequentialFrames":
        """`readouts`: ids and bytes in order."""
        self._length = 1 + self.data_bytes + self.timestamp_bits // 8
        self._longest = max(17, 1 + self.data_bytes + 8)
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
            position = self._step(position)
        if flush and self.counts["carried"]:
            self.counts["dropped"] += self.counts.pop("carried")
            self.counts["dropped_hits"] += 1
        return self

    def _byte(self, position: int) -> int | None:
        return self._stream[position] if position < len(self._stream) else None

    def _layer_possible(self, byte: int | None) -> bool:
        return byte is None or byte <= (5 if self.layers is None else self.layers)

    def _chip_possible(self, byte: int | None) -> bool:
        return byte is None or byte >> 3 < (31 if self.chips is None else self.chips)

    def _head(self, at: int) -> bool:
        """Whether a frame begins, as far as can be seen."""
        header = self._byte(at + 2)
        return (
            self._byte(at) == self._length
            and self._layer_possible(self._byte(at + 1))
            and self._chip_possible(header)
            and (header is None or header & 7 == self.data_bytes - 1 & 7)
        )

    def _faulty_head(self, at: int) -> bool:
        length, layer, header = self._stream[at], self._byte(at + 1), self._byte(at + 2)
        if length == self._length:
            hit_begins = header is None or (header & 7 == self.data_bytes - 1 & 7 and self._chip_possible(header))
            return not self._layer_possible(layer) and hit_begins
        return 4 <= length <= self._longest and self._layer_possible(layer) and self._chip_possible(header)

    def _step(self, at: int) -> int:
        if self._stream[at] == PADDING:
            self.counts["padding"] += 1
            return at + 1
        if self._head(at):
            return self._frame(at)
        if self._faulty_head(at):
            end = at + 1 + self._stream[at]
            if not any(self._head(inner) and inner + 3 <= len(self._stream) for inner in range(at + 1, end)):
                if end + 2 > len(self._stream):
                    self.counts["carried"] += len(self._stream) - at
                    return len(self._stream)
                if self._sensible(end) or 4 <= self._stream[end] <= self._longest:
                    self.counts["dropped"] += end - at
                    self.counts["dropped_hits"] += 1
                    return end
        self.counts["orphan"] += 1
        return at + 1

    def _frame(self, at: int) -> int:
        end = at + 1 + self._length
        if end > len(self._stream):
            self.counts["carried"] += len(self._stream) - at
            return len(self._stream)
        if not self._sensible(end):
            inner = self._inner(at, end)
            if inner is not None:
                self.counts["dropped"] += inner - at
                self.counts["dropped_hits"] += 1
                return inner
        owner = self._owner[end - 1]
        data_end = at + 2 + self.data_bytes
        stamp = int.from_bytes(self._stream[data_end:end], "little" if self.timestamp_order == "little" else "big")
        data = self._stream[at + 2 : data_end]
        self.frames.append(FoundFrame(self._ids[owner], self._orders[owner], self._stream[at + 1], data, stamp))
        self._orders[owner] += 1
        self.counts["hits"] += 1
        self.counts["hit"] += end - at
        self.counts["rejoined_hits"] += any(at < bound < end for bound in self._bounds)
        return end

    def _sensible(self, end: int) -> bool:
        return end in self._bounds or self._stream[end] in (PADDING, self._length)

    def _inner(self, at: int, end: int) -> int | None:
        """The first frame that begins within the one at `at` and is sensible itself, or cut."""
        readout_end = self._bounds[self._owner[end] + 1]
        for inner in range(at + 1, end):
            inner_end = inner + 1 + self._length
            known = inner + 3 <= readout_end
            if known and self._head(inner) and (inner_end >= readout_end or self._sensible(inner_end)):
                return inner
        return None
