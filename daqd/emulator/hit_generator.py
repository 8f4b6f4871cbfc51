"""Hits out of a seed: when, in which pixel, how much charge."""

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from daqd.config import MAX_CHIP_COLUMN, MAX_CHIP_ROW, EmulatorSection
from daqd.errors import ConfigError
from protocol.hit import AstroPix4Hit

ROWS, COLUMNS = MAX_CHIP_ROW + 1, MAX_CHIP_COLUMN + 1
BATCH_HITS = 8192
"""Hits are drawn in batches of this size, so that the sequence does not depend on who asks when."""

SATURATED_RATE_HZ = 30_000.0
"""Rate of the simulated arrival times where the board sends as fast as it can: about what SPI carries at 2.5 MHz."""

NS_PER_COUNT = 50


@dataclass(frozen=True)
class HitBatch:
    """Consecutive hits, each array of shape (n,) in order of arrival, but `wire` (n, 8): their bytes as sent.

    `arrival_ns`: since the chips began to send. `pause_ns`: from this arrival to the next. `ts_dec1`, `ts_dec2`,
    `tot_us`: as a decoder should find them.
    """

    arrival_ns: npt.NDArray[np.int64]
    pause_ns: npt.NDArray[np.int64]
    chip_id: npt.NDArray[np.int64]
    row: npt.NDArray[np.int64]
    column: npt.NDArray[np.int64]
    ts_neg1: npt.NDArray[np.uint8]
    ts_neg2: npt.NDArray[np.uint8]
    ts_dec1: npt.NDArray[np.int64]
    ts_dec2: npt.NDArray[np.int64]
    tot_us: npt.NDArray[np.float64]
    wire: npt.NDArray[np.uint8]

    def __len__(self) -> int:
        return len(self.arrival_ns)

    def first(self, hits: int) -> "HitBatch":
        """The first `hits` of the batch, or all if it has fewer."""
        return HitBatch(*(column[:hits] for column in vars(self).values()))


class HitGenerator:
    """The sequence of hits for a seed: Poisson in time, spread over all pixels of all chips, one ToT peak.

    The same `settings` and number of chips give the same hits, however many are asked for at a time. The rate is that
    of the whole board; hot and dead pixels change how the hits are spread.
    """

    def __init__(self, settings: EmulatorSection, chips: int) -> None:
        rate_hz = SATURATED_RATE_HZ if settings.rate_hz == "max" else settings.rate_hz
        self._mean_pause_ns = 1e9 / rate_hz
        self._tot_mean, self._tot_sigma = settings.tot_mean_us, settings.tot_sigma_us
        self._random = np.random.default_rng([settings.seed, 0])
        self._next_arrival_ns = int(self._random.exponential(self._mean_pause_ns))

        weights = np.ones((chips, ROWS, COLUMNS))
        for hot in settings.hot_pixels:
            weights[hot.chip, hot.row, hot.column] *= hot.factor
        for dead in settings.dead_pixels:
            weights[dead.chip, dead.row, dead.column] = 0
        pixels_below = np.cumsum(weights)
        if not pixels_below[-1]:
            raise ConfigError(["emulator.dead_pixels: no pixel is left to fire"])
        self._pixels_below = pixels_below / pixels_below[-1]

    def next_batch(self) -> HitBatch:
        """The next `BATCH_HITS` hits."""
        random, n = self._random, BATCH_HITS
        pause_ns = random.exponential(self._mean_pause_ns, n).astype(np.int64)
        arrival_ns = np.cumsum(pause_ns) - pause_ns + self._next_arrival_ns
        self._next_arrival_ns = int(arrival_ns[-1] + pause_ns[-1])

        pixel = np.searchsorted(self._pixels_below, random.random(n), side="right")
        pixel_in_chip = pixel % (ROWS * COLUMNS)
        chip_id, row, column = pixel // (ROWS * COLUMNS), pixel_in_chip // COLUMNS, pixel_in_chip % COLUMNS

        rollover = AstroPix4Hit.CLOCK_ROLLOVER
        tot_us = random.normal(self._tot_mean, self._tot_sigma, n)
        tot = np.clip(np.rint(tot_us * AstroPix4Hit.CLOCK_CYCLES_PER_US), 1, rollover - 1).astype(np.int64)
        ts_dec1 = arrival_ns // NS_PER_COUNT % rollover
        ts_dec2 = ts_dec1 + tot
        edges = random.integers(0, 4, n, np.uint8)
        ts_neg1, ts_neg2 = edges & np.uint8(1), edges >> np.uint8(1)

        wire = AstroPix4Hit.encode(chip_id, row, column, ts_dec1, ts_dec2, ts_neg1=ts_neg1, ts_neg2=ts_neg2)
        return HitBatch(
            arrival_ns, pause_ns, chip_id, row, column, ts_neg1, ts_neg2, ts_dec1, ts_dec2,
            tot / AstroPix4Hit.CLOCK_CYCLES_PER_US, wire,
        )  # fmt: skip
