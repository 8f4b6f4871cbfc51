"""The emulated GECCO board's own hits, fixed by a seed: idles around bursts, faults, and the pace of the hits."""

import sys
from bisect import bisect_right
from collections.abc import Iterator
from dataclasses import dataclass
from enum import IntFlag

import numpy as np
import numpy.typing as npt

from daqd.configuration.config import EmulatorSection, MisbehaveSection
from daqd.emulator.emulated_chips import EmulatedChips, emulated_chips
from daqd.emulator.hit_generator import GeneratedHits, HitGenerator
from daqd.emulator.hit_sources import ByteSource, HitDelivery
from protocol.registers.gecco import SPI_WORD_BYTES
from protocol.stream_bytes import IDLE_BYTE, PADDING_BYTE

BURST_PAUSE_NS = 50_000
"""Hits closer than that leave the chip in one burst: the SPI transfer of the one has not ended when the next comes."""

IDLES_BEFORE, IDLES_AFTER = 2, 6
MAX_IDLES_BETWEEN = 3
MAX_GARBAGE_BYTES = 12
MAX_PADDING_BYTES = 7
"""Fewer than a group of padding of the firmware."""

ByteCounts = npt.NDArray[np.int64]


class HitFault(IntFlag):
    """What was done to a hit on its way."""

    CUT = 1
    """Its last bytes were not sent."""
    LOST_BYTE = 2
    """One of its bytes was not sent."""
    GARBAGE_BEFORE = 4
    """Random bytes were sent right before it."""
    PADDING_BEFORE = 8
    """Padding was sent among the idles before it."""


@dataclass(frozen=True)
class StreamPart:
    """The bytes of a batch of hits, `data`, and where in it things are: arrays of shape (n,).

    `hit_start`, `hit_end`: the bytes of the hit that were sent. `segment_end`: where everything ends that is sent when
    the hit arrives. `faults`: bits of `HitFault`. `garbage_bytes`, `padding_bytes`: sent before the hit.
    """

    data: npt.NDArray[np.uint8]
    hit_start: ByteCounts
    hit_end: ByteCounts
    segment_end: ByteCounts
    faults: npt.NDArray[np.uint8]
    garbage_bytes: ByteCounts
    padding_bytes: ByteCounts


class HitStream:
    """Puts hits into the stream as real boards do: 2 idles before a burst, 6 after, 0 to 3 between its hits.

    Misbehaviour is drawn apart from everything else: it changes neither the hits nor the idles. Padding is put between
    the two idles before a burst, so hits within one are spared.
    """

    def __init__(self, seed: int, misbehave: MisbehaveSection) -> None:
        self._idle_random = np.random.default_rng([seed, 1])
        self._fault_random = np.random.default_rng([seed, 2])
        self._misbehave = misbehave
        self._misbehaves = any(misbehave.model_dump().values())
        self._burst_begins = True

    def encode(self, batch: GeneratedHits) -> StreamPart:
        """The bytes of `batch`, which follows the batch of the call before."""
        n, hit_bytes = len(batch), batch.wire.shape[1]
        ends = batch.pause_ns > BURST_PAUSE_NS
        begins = np.concatenate(([self._burst_begins], ends[:-1]))
        self._burst_begins = bool(ends[-1])
        # Half of the hits of a burst follow each other without an idle.
        between = np.maximum(self._idle_random.integers(0, 2 * MAX_IDLES_BETWEEN, n) - MAX_IDLES_BETWEEN + 1, 0)
        before = np.where(begins, IDLES_BEFORE, 0)
        after = np.where(ends, IDLES_AFTER, between)
        if self._misbehaves:
            return self._encode_misbehaving(batch, before, after)

        segment_end = np.cumsum(before + after + hit_bytes)
        hit_end = segment_end - after
        hit_start = hit_end - hit_bytes
        data = np.full(segment_end[-1], IDLE_BYTE, np.uint8)
        data[hit_start[:, None] + np.arange(hit_bytes)] = batch.wire
        none = np.zeros(n, np.int64)
        return StreamPart(data, hit_start, hit_end, segment_end, none.astype(np.uint8), none, none)

    def _encode_misbehaving(self, batch: GeneratedHits, before: ByteCounts, after: ByteCounts) -> StreamPart:
        random, chance = self._fault_random, self._misbehave
        n, hit_bytes = len(batch), batch.wire.shape[1]
        cut, lost, garbage, padding = (
            random.random(n) < probability
            for probability in (chance.cut_hits, chance.lost_bytes, chance.garbage, chance.padding)
        )
        sent_of_cut = random.integers(1, hit_bytes, n)
        position = np.arange(hit_bytes)
        kept = ~(cut[:, None] & (position >= sent_of_cut[:, None]))
        lost_position = random.integers(0, np.where(cut, sent_of_cut, hit_bytes))
        kept &= ~(lost[:, None] & (position == lost_position[:, None]))
        garbage_bytes = np.where(garbage, random.integers(1, MAX_GARBAGE_BYTES + 1, n), 0)
        padding &= before > 0
        padding_bytes = np.where(padding, random.integers(1, MAX_PADDING_BYTES + 1, n), 0)

        sent = kept.sum(axis=1)
        segment_end = np.cumsum(before + padding_bytes + garbage_bytes + sent + after)
        hit_end = segment_end - after
        hit_start = hit_end - sent
        data = np.full(segment_end[-1], IDLE_BYTE, np.uint8)
        data[(hit_start[:, None] + np.cumsum(kept, axis=1) - 1)[kept]] = batch.wire[kept]
        for index in np.flatnonzero(padding):
            stop = hit_start[index] - garbage_bytes[index] - before[index] // 2
            data[stop - padding_bytes[index] : stop] = PADDING_BYTE
        for index in np.flatnonzero(garbage):
            stop = hit_start[index]
            data[stop - garbage_bytes[index] : stop] = random.integers(0, 256, garbage_bytes[index], np.uint8)
        faults = (
            cut * HitFault.CUT
            | lost * HitFault.LOST_BYTE
            | garbage * HitFault.GARBAGE_BEFORE
            | padding * HitFault.PADDING_BEFORE
        )
        return StreamPart(
            data, hit_start, hit_end, segment_end, faults.astype(np.uint8), garbage_bytes, padding_bytes
        )  # fmt: skip


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
        self.delivery = HitDelivery.FLOOD if self._saturated else HitDelivery.SPI
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


def _parts(settings: EmulatorSection, chips: int, version: int) -> Iterator[tuple[GeneratedHits, StreamPart]]:
    """Batches of hits and their bytes, up to the limit."""
    stream = HitStream(settings.seed, settings.misbehave)
    left = settings.hits_limit or sys.maxsize
    for batch in HitGenerator(settings, chips, version).batches():
        left -= len(batch)
        if not left:
            # Nothing follows the last hit: its burst ends with it.
            batch.pause_ns[-1] = np.iinfo(np.int64).max
        yield batch, stream.encode(batch)
