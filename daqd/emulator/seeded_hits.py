"""The emulated board's own hits: a sequence that a seed fixes, sent at a rate or as fast as the board can."""

import sys
from bisect import bisect_right
from collections.abc import Iterator
from dataclasses import replace

import numpy as np
import numpy.typing as npt

from daqd.configuration.config import EmulatorSection
from daqd.emulator.byte_source import ByteSource, Delivery
from daqd.emulator.emulated_chips import EmulatedChips, emulated_chips
from daqd.emulator.hit_generator import BATCH_HITS, HitBatch, HitGenerator
from daqd.emulator.hit_stream import HitStream, StreamPart
from daqd.emulator.odd_hits import OddHits
from protocol.registers.gecco import SPI_WORD_BYTES


def emulated_hit_dtype(chips: EmulatedChips) -> np.dtype[np.void]:
    """What the emulated board knows of a hit.

    `arrival_ns`: since the chips began to send. The columns of the decoded table as a decoder should find them. `wire`:
    its bytes. `stream_start`: where its first byte is among all that the source sends. `sent_bytes`: how many of them
    are there; `faults`: bits of `HitFault`; `garbage_bytes`, `padding_bytes`: sent before it without being asked.
    """
    columns = chips.hit_class.DTYPE
    return np.dtype(
        [
            ("arrival_ns", "<i8"),
            *((name, columns[name]) for name in chips.known),
            ("wire", "<u1", (chips.hit_bytes,)),
            ("stream_start", "<i8"),
            ("sent_bytes", "<u1"),
            ("faults", "<u1"),
            ("garbage_bytes", "<u1"),
            ("padding_bytes", "<u1"),
        ]
    )


EmulatedHits = npt.NDArray[np.void]


class SeededHits(ByteSource):
    """Sends the hits of `HitGenerator` as `HitStream` puts them, `settings.hits_limit` of them (0: without end).

    At a rate, each hit is sent when its time has come, or as soon after it as SPI and FIFO let it: at a rate above that
    of SPI the chips are always busy. A hit waits as long as it takes. That is a deviation: a real pixel has room for
    one hit, and those that come while it waits are lost. So the bytes and their order are the same for the same
    settings, whoever reads when. At "max", the FIFO is kept all but full, whatever SPI could carry (another deviation).
    """

    def __init__(self, settings: EmulatorSection, chips: int, version: int = 4) -> None:
        self._settings = settings
        self._chips = chips
        self._version = version
        self._emulated = emulated_chips(version)
        self._saturated = settings.rate_hz == "max"
        self.delivery = Delivery.FLOOD if self._saturated else Delivery.SPI
        self._parts = _parts(settings, chips, version)
        self._position = 0
        self._hits_before = 0
        self._exhausted = False
        self._load_next_part()

    def _load_next_part(self) -> None:
        following = next(self._parts, None)
        if following is None:
            self._exhausted = True
            return
        self._batch, self._part = following
        self._data = self._part.data.tobytes()
        self._position = 0
        # Looked into at every question, where a search by NumPy costs more than all the rest.
        self._due_ns, self._ends = self._batch.arrival_ns.data, self._part.segment_end.data
        self._next_due_ns = self._due_ns[0]

    def take(self, elapsed_s: float, room: int, waiting: int) -> bytes:
        """The bytes of the hits that are due; at "max", words for all of the `room` but one: the FIFO is never full."""
        if self._saturated:
            return self._take(sys.maxsize, (room - 1) // SPI_WORD_BYTES * SPI_WORD_BYTES)
        now_ns = int(elapsed_s * 1e9)
        return self._take(now_ns, room) if now_ns >= self._next_due_ns else b""

    def abandon(self) -> bytes:
        """The rest of a hit of which the first bytes were sent."""
        if self._exhausted:
            return b""
        begun = int(np.searchsorted(self._part.hit_start, self._position, side="left")) - 1
        left = int(self._part.hit_end[begun]) - self._position if begun >= 0 else 0
        return self._take(sys.maxsize, left) if left > 0 else b""

    def _take(self, now_ns: int, limit: int) -> bytes:
        pieces = []
        while limit > 0 and not self._exhausted:
            due = len(self._due_ns) if now_ns >= self._due_ns[-1] else bisect_right(self._due_ns, now_ns)
            end = self._ends[due - 1] if due else 0
            stop = min(end, self._position + limit)
            pieces.append(self._data[self._position : stop])
            limit -= stop - self._position
            self._position = stop
            if stop == len(self._data):
                self._hits_before += len(self._batch)
                self._load_next_part()
            elif stop == end:
                self._next_due_ns = self._due_ns[due]
                break
        return b"".join(pieces)

    @property
    def exhausted(self) -> bool:
        """Whether the last hit of the limit was sent."""
        return self._exhausted

    @property
    def hits_sent(self) -> int:
        """Hits whose last byte has left the source, the damaged ones included."""
        if self._exhausted:
            return self._hits_before
        return self._hits_before + int(np.searchsorted(self._part.hit_end, self._position, side="right"))

    @property
    def counters(self) -> dict[str, int]:
        """Hits sent."""
        return {"emulator_hits": self.hits_sent}

    def expected_hits(self, hits: int) -> EmulatedHits:
        """The first `hits` of the sequence (fewer if the limit is lower), sent already or not; shape (n,)."""
        tables = []
        stream_start = 0
        dtype, known = emulated_hit_dtype(self._emulated), self._emulated.known
        for batch, part in _parts(self._settings, self._chips, self._version):
            table = np.zeros(len(batch), dtype)
            table["arrival_ns"], table["wire"] = batch.arrival_ns, batch.wire
            for name in known:
                table[name] = batch.hits[name]
            for name in ("faults", "garbage_bytes", "padding_bytes"):
                table[name] = getattr(part, name)
            table["stream_start"] = part.hit_start + stream_start
            table["sent_bytes"] = part.hit_end - part.hit_start
            tables.append(table[:hits])
            stream_start += len(part.data)
            hits -= len(tables[-1])
            if hits <= 0:
                break
        return np.concatenate(tables)


def _parts(settings: EmulatorSection, chips: int, version: int) -> Iterator[tuple[HitBatch, StreamPart]]:
    """Batches of hits and their bytes, up to the limit."""
    generator, stream = HitGenerator(settings, chips, version), HitStream(settings.seed, settings.misbehave)
    odd = OddHits(settings.seed, settings.misbehave, generator.chips)
    left = settings.hits_limit or sys.maxsize
    while left > 0:
        batch = odd.spoil(generator.next_batch())
        if left <= BATCH_HITS:
            # Nothing follows the last hit: its burst ends with it.
            pause_ns = batch.pause_ns.copy()
            pause_ns[left - 1] = np.iinfo(np.int64).max
            batch = replace(batch, pause_ns=pause_ns).first(left)
        left -= len(batch)
        yield batch, stream.encode(batch)
