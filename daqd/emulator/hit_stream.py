"""From hits to the bytes that the chips send: idles around bursts, and what goes wrong on the way."""

from dataclasses import dataclass
from enum import IntFlag

import numpy as np
import numpy.typing as npt

from daqd.configuration.config import MisbehaveSection
from daqd.emulator.hit_generator import HitBatch
from protocol.stream_bytes import IDLE_BYTE, PADDING_BYTE

BURST_PAUSE_NS = 50_000
"""Hits closer than that leave the chip in one burst: the SPI transfer of the one has not ended when the next comes."""

IDLES_BEFORE, IDLES_AFTER = 2, 6
MOST_IDLES_BETWEEN = 3
MOST_GARBAGE_BYTES = 12
MOST_PADDING_BYTES = 7
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

    def encode(self, batch: HitBatch) -> StreamPart:
        """The bytes of `batch`, which follows the batch of the call before."""
        n, hit_bytes = len(batch), batch.wire.shape[1]
        ends = batch.pause_ns > BURST_PAUSE_NS
        begins = np.concatenate(([self._burst_begins], ends[:-1]))
        self._burst_begins = bool(ends[-1])
        # Half of the hits of a burst follow each other without an idle.
        between = np.maximum(self._idle_random.integers(0, 2 * MOST_IDLES_BETWEEN, n) - MOST_IDLES_BETWEEN + 1, 0)
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

    def _encode_misbehaving(self, batch: HitBatch, before: ByteCounts, after: ByteCounts) -> StreamPart:
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
        garbage_bytes = np.where(garbage, random.integers(1, MOST_GARBAGE_BYTES + 1, n), 0)
        padding &= before > 0
        padding_bytes = np.where(padding, random.integers(1, MOST_PADDING_BYTES + 1, n), 0)

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
