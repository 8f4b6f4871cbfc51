"""Where hits go in histograms: sorted once for all that count them."""

from dataclasses import dataclass
from typing import Self

import numpy as np
import numpy.typing as npt

from monitor.continuity import HitArray
from monitor.detector import Geometry, HitKind
from monitor.state.pairing import pair_rows_with_columns
from monitor.state.tot_binning import TotBinning

Indices = npt.NDArray[np.intp]


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
