"""ToT spectra of single pixels. Memory only for chips that have hits."""

import numpy as np
import numpy.typing as npt

from monitor.state.counting import count
from monitor.state.tot_binning import TotBinning

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
