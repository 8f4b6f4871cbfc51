"""Hits out of a seed: when, in which pixel, how much charge."""

import sys
from collections.abc import Iterator
from dataclasses import dataclass, replace

import numpy as np
import numpy.typing as npt

from daqd.configuration.config import EmulatorSection
from daqd.emulator.emulated_chips import Particles, emulated_chips
from daqd.errors import ConfigError
from protocol.hit import HitTable

BATCH_HITS = 8192
"""Hits are drawn in batches of this size, so that the sequence does not depend on who asks when."""

SATURATED_RATE_HZ = 30_000.0
"""Rate of the simulated arrival times where the board sends as fast as it can: about what SPI carries at 2.5 MHz."""


@dataclass(frozen=True)
class GeneratedHits:
    """Consecutive hits, each array of shape (n,) in order of arrival, but `wire` (n, bytes): their bytes as sent.

    `arrival_ns`: since the chips began to send. `pause_ns`: from this arrival to the next. `hits`: as a decoder should
    find them, without the columns that the readout gives and those that are other words for the same.
    """

    arrival_ns: npt.NDArray[np.int64]
    pause_ns: npt.NDArray[np.int64]
    hits: HitTable
    wire: npt.NDArray[np.uint8]

    def __len__(self) -> int:
        return len(self.arrival_ns)

    def first(self, hits: int) -> "GeneratedHits":
        """The first `hits` of the batch, or all if it has no more."""
        if hits >= len(self):
            return self
        return GeneratedHits(*(column[:hits] for column in vars(self).values()))


class HitGenerator:
    """The sequence of hits for a seed: Poisson in time, spread over all pixels of all chips, one ToT peak.

    The same `settings`, numbers of chips and layers and kind of chips (`emulated_chips`) give the same hits, however
    many are requested at a time. `chips`: in each of `layers`, 0 for the bench firmware, which has one chain and no
    layers; hits count chips through all layers. The rate is that of the whole board; hot and dead pixels change how the
    hits are spread.
    """

    def __init__(self, settings: EmulatorSection, chips: int, version: int = 4, layers: int = 0) -> None:
        self.chips = emulated_chips(version, layered=bool(layers))
        rate_hz = SATURATED_RATE_HZ if settings.rate_hz == "max" else settings.rate_hz
        self._mean_pause_ns = 1e9 / rate_hz * self.chips.hits_each
        mean, sigma = self.chips.kind.usual_tot_us
        self._tot_mean = mean if settings.tot_mean_us is None else settings.tot_mean_us
        self._tot_sigma = sigma if settings.tot_sigma_us is None else settings.tot_sigma_us
        self._random = np.random.default_rng([settings.seed, 0])
        self._fault_random = np.random.default_rng([settings.seed, 4])
        self._misbehave = settings.misbehave
        self._hits_limit = settings.hits_limit
        self._next_arrival_ns = int(self._random.exponential(self._mean_pause_ns))

        weights = np.ones((max(layers, 1), chips, self.chips.kind.rows, self.chips.kind.columns))
        for hot in settings.hot_pixels:
            weights[hot.layer - 1, hot.chip, hot.row, hot.column] *= hot.factor
        for dead in settings.dead_pixels:
            weights[dead.layer - 1, dead.chip, dead.row, dead.column] = 0
        pixels_below = np.cumsum(weights)
        if not pixels_below[-1]:
            raise ConfigError(["emulator.dead_pixels: no pixel is left to fire"])
        self._pixels_below = pixels_below / pixels_below[-1]

    def batches(self) -> Iterator[GeneratedHits]:
        """Batches of `BATCH_HITS` hits, up to the limit of the settings; only the last one may have fewer."""
        left = self._hits_limit or sys.maxsize
        while left > 0:
            yield self._with_faults(self._next_batch()).first(left)
            left -= BATCH_HITS

    def _with_faults(self, batch: GeneratedHits) -> GeneratedHits:
        """Some hits become such as no intact chip sends; they are drawn apart, and no other hit changes."""
        chance = self._misbehave
        if not (chance.tot_zero or chance.wrong_rows):
            return batch
        short, outside = (self._fault_random.random(len(batch)) < each for each in (chance.tot_zero, chance.wrong_rows))
        hits = batch.hits.copy()
        self.chips.end_at_once(hits, short)
        self.chips.leave_chip(hits, outside)
        return replace(batch, hits=hits, wire=self.chips.wire(hits))

    def _next_batch(self) -> GeneratedHits:
        random, kind, each = self._random, self.chips.kind, self.chips.hits_each
        n = BATCH_HITS // each
        pause_ns = random.exponential(self._mean_pause_ns, n).astype(np.int64)
        arrival_ns = np.cumsum(pause_ns) - pause_ns + self._next_arrival_ns
        self._next_arrival_ns = int(arrival_ns[-1] + pause_ns[-1])

        pixel = np.searchsorted(self._pixels_below, random.random(n), side="right")
        pixel_in_chip = pixel % (kind.rows * kind.columns)
        chip_id, row, column = (
            pixel // (kind.rows * kind.columns),
            pixel_in_chip // kind.columns,
            pixel_in_chip % kind.columns,
        )
        tot_us = random.normal(self._tot_mean, self._tot_sigma, n)
        hits = self.chips.hits(Particles(arrival_ns, chip_id, row, column, tot_us), random)
        # The hits of one particle come at once.
        pauses_ns = np.zeros((n, each), np.int64)
        pauses_ns[:, -1] = pause_ns
        return GeneratedHits(arrival_ns.repeat(each), pauses_ns.reshape(-1), hits, self.chips.wire(hits))
