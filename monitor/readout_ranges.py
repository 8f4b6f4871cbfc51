"""Which readouts of a run have been received: a sorted list of ranges."""

from bisect import bisect_left, bisect_right

import numpy as np
import numpy.typing as npt

Range = tuple[int, int]
"""Readout ids from the first to before the second."""


class ReadoutRanges:
    """A set of readout ids, kept as disjoint ranges in order; `limit` bounds their number.

    Losses make holes between ranges. Only those above `anchor`, the first id that was ever added, are missing: what
    lies below was before our time, and may still come. Past `limit` ranges the oldest hole is given up: its readouts
    count as received, and as `given_up` where they were missing, so that a client which loses something every
    second stays small.
    """

    def __init__(self, limit: int = 256) -> None:
        self._starts: list[int] = []
        self._ends: list[int] = []
        self._limit = max(limit, 2)
        self.anchor: int | None = None
        self.given_up = 0

    def __len__(self) -> int:
        """Number of ranges."""
        return len(self._starts)

    @property
    def first(self) -> int | None:
        """The lowest id from which on nothing but holes above `anchor` is missing; None before anything came."""
        return self._starts[self._anchored()] if self._starts else None

    @property
    def last(self) -> int | None:
        """The highest id received; None before anything came."""
        return self._ends[-1] - 1 if self._ends else None

    @property
    def missing(self) -> int:
        """Ids between `first` and `last` that have not been received, those given up included."""
        if len(self._starts) < 2:
            return self.given_up
        base = self._anchored()
        return sum(self._starts[base + 1 :]) - sum(self._ends[base:-1]) + self.given_up

    def _anchored(self) -> int:
        return bisect_right(self._starts, self._starts[0] if self.anchor is None else self.anchor) - 1

    def add(self, first: int, last: int) -> list[Range]:
        """Add the ids `first`…`last` (both included); returns the ranges among them that were new, in order."""
        if self.anchor is None:
            self.anchor = first
        end = last + 1
        low = bisect_left(self._ends, first)
        high = bisect_right(self._starts, end)
        new: list[Range] = []
        cursor = first
        for start, stop in zip(self._starts[low:high], self._ends[low:high], strict=True):
            if cursor < min(start, end):
                new.append((cursor, min(start, end)))
            cursor = max(cursor, stop)
        if cursor < end:
            new.append((cursor, end))
        if low < high:
            first = min(first, self._starts[low])
            end = max(end, self._ends[high - 1])
        self._starts[low:high] = [first]
        self._ends[low:high] = [end]
        if len(self._starts) > self._limit:
            if self._anchored() == 0:
                self.given_up += self._starts[1] - self._ends[0]
            del self._starts[1], self._ends[0]
        return new


def inside(ranges: list[Range], readout_ids: npt.NDArray[np.integer]) -> npt.NDArray[np.bool_]:
    """For each of `readout_ids` (n,): is it in one of `ranges` (disjoint, in order)? Shape (n,), bool."""
    edges = np.array(ranges, np.int64).reshape(-1)
    inside_one: npt.NDArray[np.bool_] = (np.searchsorted(edges, readout_ids, side="right") & 1).astype(np.bool_)
    return inside_one
