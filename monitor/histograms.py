"""Histograms of hits: map per chip, ToT spectrum per chip, hits per readout. Filled in whole arrays."""

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from monitor.continuity import HitArray
from monitor.detector import Geometry, HitKind
from monitor.pairing import pair_rows_with_columns

Counts = npt.NDArray[np.int64]


_EDGE = 1e-6
"""Of a bin: less than any clock of the chips can tell."""


@dataclass(frozen=True, slots=True)
class TotBinning:
    """Bins of equal width from 0 µs (included) to `end_us` (not included), and one more for what lies above.

    The clock of AstroPix 4 counts to 2^17 in steps of 50 ns, so no ToT is longer than 6553.55 µs: the default covers
    all of them, and 5 µs is what a spectrum of a few hundred µs can still be looked at in.
    """

    width_us: float = 5.0
    bins: int = 1320

    @property
    def end_us(self) -> float:
        """Upper edge of the last bin."""
        return self.width_us * self.bins

    def indices(self, tot_us: npt.NDArray[np.float64]) -> npt.NDArray[np.intp]:
        """Bin of each value (n,): 0…bins-1, `bins` for too long, -1 for what is no time (negative, NaN)."""
        with np.errstate(invalid="ignore"):
            # What is on the edge of a bin is in it, whatever the division made of the last digit.
            positions = np.minimum(tot_us / self.width_us + _EDGE, self.bins)
            indices: npt.NDArray[np.intp] = np.where(positions >= 0, positions, -1).astype(np.intp)
        return indices


PIXEL_BINNING = TotBinning()
APART_BINNING = TotBinning(0.05, 820)
"""AstroPix 3 counts to 4095 in steps of 5 or 10 ns: 40.95 µs at most."""

MAX_HITS_PER_READOUT = 512
"""A readout of 4096 bytes holds 512 hits; more go into the last bin."""


def _count(histogram: Counts, flat_indices: npt.NDArray[np.intp]) -> None:
    """Add 1 at each index into the flattened `histogram`, as often as it occurs."""
    flat = histogram.reshape(-1)
    if len(flat_indices) < flat.size:
        np.add.at(flat, flat_indices, 1)  # a few hits: cheaper than counting into a whole new histogram
    else:
        flat += np.bincount(flat_indices, minlength=flat.size)


class HitHistograms:
    """All histograms of one pass over a run. `fill` takes 15 to 40 ns a hit of a pixel.

    Chips have a number: `geometry.slot` of their place. The first hits of a pass say what they are of (`kind`), and so
    how many chips, rows and columns there are; `binning` None takes the usual one for that kind.

    - `hit_map`: hits per pixel, shape (chips, rows, columns). Of rows and columns apart, those that belong together;
      what is left over is counted in `unpaired`;
    - `tot`: ToT spectrum per chip, shape (chips, bins + 1), the last bin for what is too long;
    - `chip_hits`: hits per chip, shape (chips,), those outside left out;
    - `hits_per_readout`: readouts by the number of hits in them, shape (MAX_HITS_PER_READOUT + 1,);
    - `hits`, `readouts`: how many were filled; `outside`: hits that name no existing pixel, which are in no map or
      spectrum; `tot_invalid`: hits whose ToT is negative or no number, which are in the map only.
    """

    def __init__(self, geometry: Geometry | None = None, binning: TotBinning | None = None) -> None:
        self.geometry = geometry or Geometry()
        self._binning = binning
        self.kind = HitKind()
        self.reset()

    def reset(self) -> None:
        """Forget everything but the kind of the hits."""
        chips = self.geometry.chips * self.kind.layers
        self.rows, self.columns = self.geometry.pixels(self.kind)
        self.binning = self._binning or (APART_BINNING if self.kind.apart else PIXEL_BINNING)
        self.hit_map: Counts = np.zeros((chips, self.rows, self.columns), np.int64)
        self.tot: Counts = np.zeros((chips, self.binning.bins + 1), np.int64)
        self.chip_hits: Counts = np.zeros(chips, np.int64)
        self.hits_per_readout: Counts = np.zeros(MAX_HITS_PER_READOUT + 1, np.int64)
        self.hits = 0
        self.readouts = 0
        self.outside = 0
        self.tot_invalid = 0
        self.unpaired = 0
        self._open_readout = -1
        self._open_hits = 0

    def fill(self, hits: HitArray, new_readouts: int) -> None:
        """Add `hits` (structured, in the order of their readouts), and the `new_readouts` they came in.

        A readout may be spread over several calls; any split of the same hits gives the same histograms, but that rows
        and columns are put together only where they come in one call. Hits of another kind empty the histograms.
        """
        kind = HitKind.of(hits)
        if kind != self.kind:
            self.kind = kind
            self.reset()
        self._fill_readouts(hits["readout_id"], new_readouts)
        self.hits += len(hits)
        outside = self.geometry.outside(hits)
        if outside.any():
            self.outside += int(np.count_nonzero(outside))
            hits = hits[~outside]
        if not len(hits):
            return
        chips = self.geometry.slots(hits)
        _count(self.chip_hits, chips)
        self._fill_map(hits, chips)
        bins = self.binning.indices(hits["tot_us"])
        if bins.min() < 0:
            valid = bins >= 0
            self.tot_invalid += len(bins) - int(np.count_nonzero(valid))
            chips, bins = chips[valid], bins[valid]
        _count(self.tot, chips * self.tot.shape[1] + bins)

    def _fill_map(self, hits: HitArray, chips: npt.NDArray[np.intp]) -> None:
        if self.kind.apart:
            row_hits, column_hits = pair_rows_with_columns(hits, chips)
            self.unpaired += len(hits) - 2 * len(row_hits)
            chips = chips[row_hits]
            row, column = hits["location"][row_hits], hits["location"][column_hits]
        else:
            row, column = hits["row"], hits["column"]
        _count(self.hit_map, (chips * self.rows + row) * self.columns + column)

    def _fill_readouts(self, readout_ids: npt.NDArray[np.uint32], new_readouts: int) -> None:
        self.readouts += new_readouts
        self.hits_per_readout[0] += new_readouts
        if not len(readout_ids):
            return
        changes = np.flatnonzero(readout_ids[1:] != readout_ids[:-1]) + 1
        counts = np.diff(np.concatenate(([0], changes, [len(readout_ids)])))
        if int(readout_ids[0]) == self._open_readout:
            self.hits_per_readout[min(self._open_hits, MAX_HITS_PER_READOUT)] -= 1
            self.hits_per_readout[0] += 1
            counts[0] += self._open_hits
        filled = np.bincount(np.minimum(counts, MAX_HITS_PER_READOUT), minlength=MAX_HITS_PER_READOUT + 1)
        self.hits_per_readout += filled
        self.hits_per_readout[0] -= len(counts)
        self._open_readout, self._open_hits = int(readout_ids[-1]), int(counts[-1])
