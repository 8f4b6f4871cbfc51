"""Histograms of hits: map per chip, ToT spectrum per chip and pixel, hits per readout. Filled in whole arrays."""

import numpy as np
import numpy.typing as npt

from monitor.continuity import HitArray
from monitor.detector import Geometry, HitKind
from monitor.state.sorted_hits import Indices, SortedHits, TotBinning, pixel_merging

Counts = npt.NDArray[np.int64]

MAX_HITS_PER_READOUT = 512
"""A readout of 4096 bytes holds 512 hits; more go into the last bin."""


def count(histogram: npt.NDArray[np.integer], flat_indices: npt.NDArray[np.integer]) -> None:
    """Add 1 at each index into the flattened `histogram`, as often as it occurs."""
    flat = histogram.reshape(-1)
    if len(flat_indices) < flat.size:
        # A few hits: cheaper than counting into a whole new histogram. A 1 of another type is 40 times slower.
        np.add.at(flat, flat_indices, flat.dtype.type(1))
    else:
        flat += np.bincount(flat_indices, minlength=flat.size).astype(flat.dtype, copy=False)


class ReadoutSizes:
    """Counts readouts by the number of their hits; one may be spread over several calls."""

    def __init__(self) -> None:
        self._open_readout = -1
        self._open_hits = 0

    def change(self, readout_ids: npt.NDArray[np.uint32]) -> Counts:
        """How many readouts more there are with 0, 1, 2, … hits; those without hits are not among them.

        `readout_ids`: of hits, those of one readout together. Where they go on with the readout before, there is one
        less of its former number.
        """
        change = np.zeros(MAX_HITS_PER_READOUT + 1, np.int64)
        if not len(readout_ids):
            return change
        bounds = np.concatenate(([-1], (readout_ids[1:] != readout_ids[:-1]).nonzero()[0], [len(readout_ids) - 1]))
        counts = bounds[1:] - bounds[:-1]
        if int(readout_ids[0]) == self._open_readout:
            change[min(self._open_hits, MAX_HITS_PER_READOUT)] -= 1
            counts[0] += self._open_hits
        np.add.at(change, np.minimum(counts, MAX_HITS_PER_READOUT), 1)
        self._open_readout, self._open_hits = int(readout_ids[-1]), int(counts[-1])
        return change


PixelCounts = npt.NDArray[np.uint32]


class PixelSpectra:
    """Spectra of the pixels of `chips` chips; `step` bins of those counted make one of `binning`.

    A chip of AstroPix 4 with hits takes 0.11 MB, one of AstroPix 3 0.31 MB.
    """

    def __init__(self, chips: int, pixels: int, counted: TotBinning, step: int, binning: TotBinning) -> None:
        self._pixels = pixels
        self._coarse = np.minimum(np.arange(counted.bins + 1) // step, binning.bins)
        self._coarse[-1] = binning.bins
        self._counts = np.zeros((0, pixels, binning.bins + 1), np.uint32)
        self._places = np.full(chips, -1, np.intp)

    def count(self, chips: npt.NDArray[np.intp], pixels: npt.NDArray[np.intp], bins: npt.NDArray[np.intp]) -> None:
        """Count hits (n,): number of the chip, flat index of the pixel among those of all chips, bin of the ToT."""
        places = self._places[chips]
        if len(places) and int(places.min()) < 0:
            self._make_room(np.unique(chips[places < 0]))
            places = self._places[chips]
        bins_of_pixel = self._counts.shape[2]
        count(self._counts, ((places - chips) * self._pixels + pixels) * bins_of_pixel + self._coarse[bins])

    def _make_room(self, chips: npt.NDArray[np.intp]) -> None:
        had = len(self._counts)
        self._places[chips] = had + np.arange(len(chips))
        more = np.zeros((len(chips), *self._counts.shape[1:]), np.uint32)
        self._counts = np.concatenate((self._counts, more))

    def spectrum(self, chip: int, pixel: int) -> PixelCounts:
        """Of one pixel, by its number in its chip; a copy."""
        place = int(self._places[chip])
        if place < 0:
            return np.zeros(self._counts.shape[2], np.uint32)
        spectrum: PixelCounts = self._counts[place, pixel].copy()
        return spectrum

    def coarse(self, spectrum: npt.NDArray[np.integer]) -> PixelCounts:
        """A spectrum in the bins that are counted, in those of a pixel."""
        return np.bincount(self._coarse, spectrum, self._counts.shape[2]).astype(np.uint32)


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
