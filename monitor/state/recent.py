"""Histograms of the last minute: what comes is counted in, what is older is counted out again."""

from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt

from monitor.detector import Geometry
from monitor.state.histograms import MAX_HITS_PER_READOUT, Counts, HitHistograms, PixelCounts
from monitor.state.readout_times import Stretch
from monitor.state.sorted_hits import Indices, SortedHits, TotBinning
from protocol.units import NS_PER_S

SLOT_S = 5
SLOTS = 12

_MAX_CODES = 1 << 20
"""Hits of a slot that are kept one by one, before like ones are counted together."""

Codes = npt.NDArray[np.unsignedinteger]


@dataclass(slots=True)
class _Slot:
    """The hits of 5 seconds. A code is pixel and bin of a hit; `distinct` of them occur `times` each, `single` once."""

    hits: int = 0
    readouts: int = 0
    outside: int = 0
    unpaired: int = 0
    sizes: Counts = field(default_factory=lambda: np.zeros(MAX_HITS_PER_READOUT + 1, np.int64))
    distinct: Codes = field(default_factory=lambda: np.zeros(0, np.uint32))
    times: Codes = field(default_factory=lambda: np.zeros(0, np.uint8))
    single: list[Codes] = field(default_factory=list)
    singles: int = 0

    def add(self, codes: Codes) -> None:
        self.single.append(codes)
        self.singles += len(codes)
        if self.singles >= _MAX_CODES:
            self.pack()

    def pack(self) -> None:
        """Count like ones together: the memory is then bounded by the number of codes."""
        if not self.single:
            return
        distinct, times = np.unique(np.concatenate(self.single), return_counts=True)
        self.single, self.singles = [], 0
        if len(self.distinct):
            both = np.concatenate((self.distinct, distinct))
            weights = np.concatenate((self.times, times))
            distinct, places = np.unique(both, return_inverse=True)
            times = np.bincount(places, weights).astype(np.int64)
        self.distinct, self.times = distinct, times.astype(np.min_scalar_type(int(times.max())))

    def within(self, first: int, end: int) -> tuple[Codes, Counts]:
        """Codes from `first` to before `end`, and how often each is there; the same code may be there again."""
        low, high = np.searchsorted(self.distinct, np.array([first, end], self.distinct.dtype)).tolist()
        single = [codes[(codes >= first) & (codes < end)] for codes in self.single]
        codes = np.concatenate((self.distinct[low:high], *single))
        times = np.ones(len(codes), np.int64)
        times[: high - low] = self.times[low:high]
        return codes, times


class RecentHistograms(HitHistograms):
    """Histograms of the last minute, by the times of the readouts; otherwise as `HitHistograms`.

    It slides in steps of 5 s: at least the last 55 s, at most the last 60. What is filled without a time counts as
    now. Beside the maps and spectra, it keeps a number for each kind of hit (pixel and bin) of each 5 s.
    """

    def __init__(self, geometry: Geometry | None = None, binning: TotBinning | None = None) -> None:
        self._newest: int | None = None
        self._present = 0
        self._first_ns = 0
        self._last_ns = 0
        super().__init__(geometry, binning)

    def reset(self) -> None:
        """Forget everything but the kind of the hits, and what time it is."""
        super().reset()
        self._slots: dict[int, _Slot] = {}
        self._first_ns = self._last_ns
        self._bins = self.binning.bins + 2
        codes = (self.hit_map.size + len(self.hit_map)) * self._bins
        self._code_type = np.uint32 if codes < 1 << 32 else np.uint64

    @property
    def seconds(self) -> float:
        """How long a time the histograms are of: 60 at most."""
        if self._newest is None:
            return 0.0
        return (self._last_ns - max(self._first_ns, (self._newest - SLOTS + 1) * SLOT_S * NS_PER_S)) / NS_PER_S

    def forget(self) -> None:
        """Another run comes, perhaps at another time."""
        self._newest, self._last_ns = None, 0
        self.reset()

    def begin(self, begin_ns: int) -> None:
        """The run began then, and we were there."""
        if self._newest is None:
            self._go_to(begin_ns)
            self._first_ns = begin_ns

    def take(self, stretch: Stretch, hits: SortedHits) -> None:
        """Count `hits`, which are those of `stretch`, sorted."""
        self.expect(hits.kind)
        first, last = stretch.first_s // SLOT_S, stretch.last_ns // NS_PER_S // SLOT_S
        if stretch.set_back:
            self._set_back(stretch.first_ns)
        if self._newest is None:
            self._first_ns = stretch.first_ns
        self._go_to(stretch.last_ns)
        assert self._newest is not None  # noqa: S101 - time has just passed
        for slot in range(max(first, self._newest - SLOTS + 1), last + 1):
            start, stop = max(slot * SLOT_S - stretch.first_s, 0), (slot + 1) * SLOT_S - stretch.first_s
            edges = stretch.edges[start : stop + 1]
            self._present = slot
            self.count(hits.part(int(edges[0]), int(edges[-1])), int(stretch.readouts[start:stop].sum()))
        self._present = self._newest

    def pass_until(self, now_ns: int) -> None:
        """It is `now_ns`, or later: what is a minute older is counted out."""
        if self._newest is not None:
            self._go_to(now_ns)

    def _go_to(self, now_ns: int) -> None:
        slot = now_ns // NS_PER_S // SLOT_S
        self._last_ns = max(self._last_ns, now_ns)
        if self._newest is None or slot > self._newest:
            self._newest = self._present = slot
            for each in [each for each in self._slots if each <= slot - SLOTS]:
                self._remove(self._slots.pop(each))
            for old in self._slots.values():
                old.pack()

    def _set_back(self, to_ns: int) -> None:
        slot = to_ns // NS_PER_S // SLOT_S
        for each in [each for each in self._slots if each > slot]:
            self._remove(self._slots.pop(each))
        self._last_ns, self._first_ns = to_ns, min(self._first_ns, to_ns)
        self._newest = slot

    def count(self, hits: SortedHits, new_readouts: int) -> None:
        """Count `hits` of `new_readouts`, as of now."""
        super().count(hits, new_readouts)
        slot = self._slot()
        slot.hits += len(hits)
        slot.readouts += new_readouts
        slot.outside += hits.outside
        slot.unpaired += hits.unpaired
        if not len(hits.chips):
            return
        pixels, bins = hits.pixels, hits.bins
        if not hits.whole:
            pixels = np.where(pixels >= 0, pixels, self.hit_map.size + hits.chips)
            bins = np.where(bins >= 0, bins, self._bins - 1)
        slot.add((pixels * self._bins + bins).astype(self._code_type))

    def _slot(self) -> _Slot:
        return self._slots.setdefault(self._present, _Slot())

    def _count_sizes(self, change: Counts) -> None:
        self._slot().sizes += change
        super()._count_sizes(change)

    def _count_spectra(self, chips: Indices, pixels: Indices, bins: Indices) -> None:
        """The codes have them."""

    def pixel_tot(self, chip: int, row: int, column: int) -> PixelCounts:
        """ToT spectrum of a pixel; as in `HitHistograms`."""
        first = ((chip * self.rows + row) * self.columns + column) * self._bins
        spectrum = np.zeros(self._bins, np.int64)
        for slot in self._slots.values():
            codes, times = slot.within(first, first + self._bins)
            np.add.at(spectrum, codes.astype(np.int64) - first, times)
        return self._spectra.coarse(spectrum[:-1])

    def _remove(self, slot: _Slot) -> None:
        """Count it out."""
        slot.pack()
        self.hits -= slot.hits
        self.readouts -= slot.readouts
        self.outside -= slot.outside
        self.unpaired -= slot.unpaired
        super()._count_sizes(-slot.sizes)
        places, bins = np.divmod(slot.distinct.astype(np.int64), self._bins)
        times = slot.times.astype(np.int64)
        of_pixel = places < self.hit_map.size
        chips = np.where(of_pixel, places // (self.rows * self.columns), places - self.hit_map.size)
        np.subtract.at(self.chip_hits, chips, times)
        np.subtract.at(self.hit_map.reshape(-1), places[of_pixel], times[of_pixel])
        valid = bins <= self.binning.bins
        self.tot_invalid -= int(times[~valid].sum())
        flat = chips[valid] * self.tot.shape[1] + bins[valid]
        np.subtract.at(self.tot.reshape(-1), flat, times[valid])
