"""The decoding rules of docs/formats.md once more, byte by byte: slow, plain, and compared with the real decoder."""

from dataclasses import dataclass, field

IDLE, PADDING, SIZE = 0xBC, 0xFF, 8


@dataclass
class Sequential:
    """Decodes whole runs only: `readouts` are (id, bytes) with the trailing padding removed."""

    chips: int | None = None
    hits: list[tuple[int, int, bytes]] = field(default_factory=list)  # readout id, decoding order, wire bytes
    counts: dict[str, int] = field(default_factory=lambda: dict.fromkeys(
        ("idle", "padding", "hit", "carried", "orphan", "dropped", "restored_hits", "dropped_hits"), 0))

    def first(self, byte: int) -> bool:
        chip = int(f"{byte & 0x1F:05b}"[::-1], 2)
        return byte >> 5 == 7 and byte != PADDING and (self.chips is None or chip < self.chips)

    def after_hit(self, byte: int) -> bool:
        return byte in (IDLE, PADDING) or self.first(byte)

    def run(self, readouts: list[tuple[int, bytes]], flush: bool = False) -> "Sequential":
        full = [(number, data) for number, data in readouts if data]
        stream = b"".join(data for _, data in full)
        starts, owner = [], []
        for index, (_, data) in enumerate(full):
            starts.append(len(owner))
            owner += [index] * len(data)
        ends = [*starts[1:], len(stream)]
        bounds = {*starts, len(stream)}
        orders = [0] * len(full)

        def emit(index: int, data: bytes) -> None:
            self.hits.append((full[index][0], orders[index], data))
            orders[index] += 1

        at = 0
        while at < len(stream):
            byte = stream[at]
            if not self.first(byte):
                self.counts["idle" if byte == IDLE else "padding" if byte == PADDING else "orphan"] += 1
                at += 1
                continue
            inner = [s for s in starts if at < s < at + SIZE and (stream[s] == IDLE or self.first(stream[s]))]
            if inner:
                end = inner[0]
                emit(owner[end], stream[at:end].ljust(SIZE, b"\xff"))
                self.counts["hit"] += end - at
                self.counts["restored_hits"] += 1
                at = end
                continue
            end = at + SIZE
            if end > len(stream):
                rest = stream[at:]
                if flush:
                    emit(len(full) - 1, rest.ljust(SIZE, b"\xff"))
                    self.counts["hit"] += len(rest)
                    self.counts["restored_hits"] += 1
                else:
                    self.counts["carried"] += len(rest)
                break
            if end not in bounds and not self.after_hit(stream[end]):
                limit = ends[owner[end]]
                other = [q for q in range(at + 1, end) if self.first(stream[q]) and (
                    q + SIZE >= limit or q + SIZE in bounds or self.after_hit(stream[q + SIZE]))]
                if other:
                    self.counts["dropped"] += other[0] - at
                    self.counts["dropped_hits"] += 1
                    at = other[0]
                    continue
            emit(owner[end - 1], stream[at:end])
            self.counts["hit"] += SIZE
            at = end
        return self
