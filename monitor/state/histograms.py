"""Histograms of hits: map per chip, ToT spectrum per chip and pixel, hits per readout. Filled in whole arrays."""

import numpy as np

from monitor.continuity import HitArray
from monitor.detector import Geometry, HitKind
from monitor.state.counting import MAX_HITS_PER_READOUT, Counts, ReadoutSizes, count
from monitor.state.pixel_spectra import PixelCounts, PixelSpectra
from monitor.state.sorted_hits import Indices, SortedHits
from monitor.state.tot_binning import TotBinning, pixel_merging


class HitHistograms:
    """All histograms of one pass over a run. `fill` takes 30 to 60 ns a hit of a pixel.

    Chips have a number: `geometry.slot` of their place. The first hits of a pass say what they are of (`kind`), and so
    how many chips, rows and columns there are; `binning` None takes the usual one for that kind.

    - `hit_map`: hits per pixel, shape (chips, rows, columns). Of rows and columns apart, those that belong together;
      what is left over is counted in `unpaired`;
    - `tot`: ToT spectrum per chip, shape (chips, bins + 1), the last bin for what is too long; `detector_tot`: of all;
    - `pixel_tot`: ToT spectrum of a pixel, in the fewer and coarser bins of `pixel_binning`;
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
        self.binning = self._binning or TotBinning.usual(self.kind)
        step, most = pixel_merging(self.kind)
        self.pixel_binning = self.binning.merged(step, most)
        self.hit_map: Counts = np.zeros((chips, self.rows, self.columns), np.int64)
        self.tot: Counts = np.zeros((chips, self.binning.bins + 1), np.int64)
        self.chip_hits: Counts = np.zeros(chips, np.int64)
        self.hits_per_readout: Counts = np.zeros(MAX_HITS_PER_READOUT + 1, np.int64)
        self.hits = 0
        self.readouts = 0
        self.outside = 0
        self.tot_invalid = 0
        self.unpaired = 0
        self._sizes = ReadoutSizes()
        self._spectra = PixelSpectra(chips, self.rows * self.columns, self.binning, step, self.pixel_binning)

    @property
    def detector_tot(self) -> Counts:
        """ToT spectrum of all chips together, shape (bins + 1,), the last bin for what is too long."""
        total: Counts = self.tot.sum(axis=0)
        return total

    def pixel_tot(self, chip: int, row: int, column: int) -> PixelCounts:
        """ToT spectrum of a pixel, shape (pixel_binning.bins + 1,), the last bin for what is longer; a copy.

        `chip`: its number. Where a row and a column make the pixel, the ToT is that of the row.
        """
        return self._spectra.spectrum(chip, row * self.columns + column)

    def fill(self, hits: HitArray, new_readouts: int) -> None:
        """Add `hits` (structured, in the order of their readouts), and the `new_readouts` they came in.

        A readout may be spread over several calls; any split of the same hits gives the same histograms, but that rows
        and columns are put together only where they come in one call. Hits of another kind empty the histograms.
        """
        self.count(self.sort(hits), new_readouts)

    def sort(self, hits: HitArray) -> SortedHits:
        """`hits` for `count`; these, and others that have the same geometry and binning, can take it."""
        kind = HitKind.of(hits)
        return SortedHits.sort(hits, self.geometry, self._binning or TotBinning.usual(kind))

    def expect(self, kind: HitKind) -> None:
        """Hits of `kind` will come; empties the histograms if those before were of another."""
        if kind != self.kind:
            self.kind = kind
            self.reset()

    def count(self, hits: SortedHits, new_readouts: int) -> None:
        """The second half of `fill`."""
        self.expect(hits.kind)
        self.readouts += new_readouts
        self._count_sizes(self._sizes.change(hits.readout_ids))
        self.hits += len(hits)
        self.outside += hits.outside
        self.unpaired += hits.unpaired
        chips, pixels, bins = hits.chips, hits.pixels, hits.bins
        if not len(chips):
            return
        count(self.chip_hits, chips)
        if hits.whole:
            count(self.hit_map, pixels)
        else:
            count(self.hit_map, pixels[pixels >= 0])
            valid = bins >= 0
            self.tot_invalid += len(bins) - int(np.count_nonzero(valid))
            chips, pixels, bins = chips[valid], pixels[valid], bins[valid]
        count(self.tot, chips * self.tot.shape[1] + bins)
        if not hits.kind.names_pixels:
            of_pixel = pixels >= 0
            chips, pixels, bins = chips[of_pixel], pixels[of_pixel], bins[of_pixel]
        self._count_spectra(chips, pixels, bins)

    def _count_sizes(self, change: Counts) -> None:
        self.hits_per_readout += change
        self.hits_per_readout[0] = max(self.readouts - int(self.hits_per_readout[1:].sum()), 0)

    def _count_spectra(self, chips: Indices, pixels: Indices, bins: Indices) -> None:
        self._spectra.count(chips, pixels, bins)
