"""Bins of the time over threshold."""

from dataclasses import dataclass
from typing import Self

import numpy as np
import numpy.typing as npt

from monitor.detector import HitKind
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
