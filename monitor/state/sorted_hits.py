"""Where hits go in histograms: chip, pixel and bin of each, worked out once for all that count them."""

from dataclasses import dataclass
from typing import Self

import numpy as np
import numpy.typing as npt

from monitor.continuity import HitArray
from monitor.detector import Geometry, HitKind
from protocol.chips.astropix_chips import ASTROPIX4

_EDGE = 1e-6
"""Of a bin: less than any clock of the chips can tell."""


@dataclass(frozen=True, slots=True)
class TotBinning:
    """Bins of equal width from 0 µs (included) to `width_us · bins` (not included), and one more for what lies above.

    The clock of AstroPix 4 counts to 2^17 in steps of 50 ns, so no ToT is longer than 6553.55 µs: the default covers
    all of them, and 5 µs is what a spectrum of a few hundred µs can still be looked at in.
    """

    width_us: float = ASTROPIX4.tot_bin_us
    bins: int = ASTROPIX4.tot_bins

    def indices(self, tot_us: npt.NDArray[np.float64]) -> npt.NDArray[np.intp]:
        """Bin of each value (n,): 0…bins-1, `bins` for too long, -1 for what is no time (negative, NaN)."""
        with np.errstate(invalid="ignore"):
            # What is on the edge of a bin is in it, whatever the division made of the last digit.
            positions = np.minimum(tot_us / self.width_us + _EDGE, self.bins)
            indices: npt.NDArray[np.intp] = np.where(positions >= 0, positions, -1).astype(np.intp)
        return indices

    def merged(self, step: int, most: int) -> Self:
        """Bins of `step` of these each, at most `most` of them."""
        return type(self)(self.width_us * step, min(-(-self.bins // step), most))

    @classmethod
    def usual(cls, kind: HitKind) -> Self:
        """Of a chip whose hits are of `kind`."""
        return cls(kind.chip.tot_bin_us, kind.chip.tot_bins)


def pixel_merging(kind: HitKind) -> tuple[int, int]:
    """How many bins of a chip make one of a pixel, and how many of these a pixel has at most.

    So pixels of AstroPix 4 have bins of 10 µs up to 1280 µs, and those of AstroPix 3 of 0.65 µs up to 40.95 µs.
    """
    return kind.chip.pixel_tot_merged, kind.chip.pixel_tot_bins


MAX_TICKS_APART = 1
"""Counts of the chip's time stamp. In recorded data a column's is its row's, or one count less."""

MAX_TOT_APART_US = 0.25
"""Of the time over threshold. In recorded data the row's is 0.06 to 0.15 µs longer."""

WINDOW = 64
"""How many hits of the same chip later a row's column is looked for: the chip sends rows, then columns."""

Indices = npt.NDArray[np.intp]


def pair_rows_with_columns(hits: HitArray, slots: npt.NDArray[np.intp]) -> tuple[Indices, Indices]:
    """Which hits belong together: indices of the rows' hits, and of their columns' (m,) each, no hit twice.

    `slots` (n,): the chip of each hit. Both are of one readout and chip, the row's comes before the column's, their
    time stamps (modulo 256) are at most 1 apart and their times over threshold 0.25 µs; the nearest are taken first.
    """
    order = np.argsort(slots, kind="stable")
    is_column = hits["is_column"][order] != 0
    ticks = hits["chip_timestamp"][order].astype(np.int16)
    tot_us = hits["tot_us"][order]
    group = np.stack([slots[order], hits["readout_id"][order].astype(np.intp)])
    free = np.ones(len(hits), np.bool_)
    rows, columns = [], []
    for lag in range(1, min(WINDOW, len(hits) - 1) + 1):
        fits = free[:-lag] & ~is_column[:-lag] & free[lag:] & is_column[lag:]
        candidates = np.flatnonzero(fits)
        if not len(candidates):
            continue
        later = candidates + lag
        apart = np.abs((ticks[later] - ticks[candidates] + 128) % 256 - 128)
        fits = (apart <= MAX_TICKS_APART) & (np.abs(tot_us[later] - tot_us[candidates]) <= MAX_TOT_APART_US)
        fits &= (group[:, candidates] == group[:, later]).all(axis=0)
        row, column = candidates[fits], later[fits]
        free[row] = free[column] = False
        rows.append(row)
        columns.append(column)
    if not rows:
        return order[:0], order[:0]
    return order[np.concatenate(rows)], order[np.concatenate(columns)]


@dataclass(frozen=True, slots=True, eq=False)
class SortedHits:
    """Of n hits, m are of a chip and pixel that exist.

    `readout_ids`: shape (n,). `positions`: those of the m among the n; None: all. `chips`: number of the chip of each,
    shape (m,). `pixels`: flat index into all maps, -1 for what belongs to no pixel (of AstroPix 3 a row or column left
    over, and the column of each pair). `bins`: of the ToT, -1 for none. `whole`: neither has a -1.
    """

    kind: HitKind
    readout_ids: npt.NDArray[np.uint32]
    positions: Indices | None
    chips: Indices
    pixels: Indices
    bins: Indices
    whole: bool

    @classmethod
    def sort(cls, hits: HitArray, geometry: Geometry, binning: TotBinning) -> Self:
        """Sort `hits` (structured, in the order of their readouts)."""
        kind = HitKind.of(hits)
        rows, columns = geometry.pixels(kind)
        readout_ids, positions = hits["readout_id"], None
        outside = geometry.outside(hits)
        if outside.any():
            positions = np.flatnonzero(~outside)
            hits = hits[positions]
        chips = geometry.slots(hits)
        if not kind.names_pixels:
            row_hits, column_hits = pair_rows_with_columns(hits, chips)
            row, column = hits["location"][row_hits], hits["location"][column_hits]
            pixels = np.full(len(hits), -1, np.intp)
            pixels[row_hits] = (chips[row_hits] * rows + row) * columns + column
        else:
            pixels = (chips * rows + hits["row"]) * columns + hits["column"]
        bins = binning.indices(hits["tot_us"])
        whole = kind.names_pixels and int(bins.min(initial=0)) >= 0
        return cls(kind, readout_ids, positions, chips, pixels, bins, whole)

    def __len__(self) -> int:
        return len(self.readout_ids)

    @property
    def outside(self) -> int:
        """Hits that name no pixel that exists."""
        return len(self.readout_ids) - len(self.chips)

    @property
    def unpaired(self) -> int:
        """Rows and columns that were left over."""
        return 0 if self.kind.names_pixels else len(self.pixels) - 2 * int(np.count_nonzero(self.pixels >= 0))

    def part(self, start: int, stop: int) -> Self:
        """The hits `start`…`stop`-1 of all n; no readout may be cut."""
        if (start, stop) == (0, len(self)):
            return self
        positions, first, last = self.positions, start, stop
        if positions is not None:
            first, last = np.searchsorted(positions, (start, stop)).tolist()
            positions = positions[first:last] - start
        kept = slice(first, last)
        return type(self)(
            self.kind,
            self.readout_ids[start:stop],
            positions,
            self.chips[kept],
            self.pixels[kept],
            self.bins[kept],
            self.whole,
        )
