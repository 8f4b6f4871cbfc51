"""When the readouts of a run were made, also those without hits. The same for any batching of the same hits."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from monitor.continuity import HitArray, Range
from protocol.units import NS_PER_S

LONGEST_S = 43_260
"""Of one stretch: 12 h and a minute; what lies before is left out."""

_LATEST_NS = 1 << 62
_MAX_OPEN = 64

Counts = npt.NDArray[np.int64]


@dataclass(frozen=True, slots=True, eq=False)
class Stretch:
    """Readouts one after the other, second by second: k seconds from `first_s` on (since the epoch).

    Second i has the hits `hits[edges[i]:edges[i + 1]]`, which came in `readouts[i]` readouts, those without hits
    included. `known[i]`: whether we were there; where readouts were missed, the seconds between are not known.
    `first_ns`, `last_ns`: where the stretch begins and ends. `late`: it is older than what came before, and was missed
    then. `set_back`: the clock was set back just before, so what lies after `first_ns` is no longer to come.
    """

    hits: HitArray
    first_ns: int
    last_ns: int
    edges: Counts
    readouts: Counts
    known: npt.NDArray[np.bool_]
    late: bool = False
    set_back: bool = False

    @property
    def first_s(self) -> int:
        """The first second."""
        return self.first_ns // NS_PER_S

    @property
    def hits_each(self) -> Counts:
        """Hits of each second, shape (k,)."""
        return self.edges[1:] - self.edges[:-1]

    @property
    def seconds(self) -> Counts:
        """All seconds, shape (k,)."""
        return self.first_s + np.arange(len(self.readouts))


class ReadoutTimes:
    """Follows the readouts of one run.

    Only hits carry a time, that of their readout. Readouts without hits lie evenly between those with hits around
    them; those after the last hit wait for the next.
    """

    def __init__(self) -> None:
        self._id = -1
        self._time_ns: int | None = None
        self._open: list[Range] = []

    def begin(self, begin_ns: int) -> None:
        """The run began then: what is before its first hits is known, if no readouts are missing."""
        if self._time_ns is None:
            self._time_ns = begin_ns

    def stretches(self, hits: HitArray, new: Sequence[Range]) -> Iterator[Stretch]:
        """`hits` that came in the readouts `new` (not seen before), and in those before that were still open.

        All of them are to be taken before the next call.
        """
        if not len(hits):
            self._cover(new)
            return
        ids = hits["readout_id"].astype(np.int64)
        if (ids[1:] < ids[:-1]).any():
            order = np.argsort(ids, kind="stable")
            hits, ids = hits[order], ids[order]
        late = int(np.searchsorted(ids, self._id))
        if late:
            before = [(start, min(end, self._id)) for start, end in new if start < self._id]
            new = [(max(start, self._id), end) for start, end in new if end > self._id]
            yield from _Readouts(hits[:late], ids[:late]).late(before)
            hits, ids = hits[late:], ids[late:]
        self._cover(new)
        if len(hits):
            yield from self._follow(_Readouts(hits, ids))

    def _cover(self, new: Sequence[Range]) -> None:
        for start, end in new:
            if self._open and self._open[-1][1] == start:
                self._open[-1] = (self._open[-1][0], end)
            else:
                self._open.append((start, end))
            if len(self._open) > 1 and start < self._open[-2][1]:
                self._open.sort()
        del self._open[:-_MAX_OPEN]

    def _follow(self, readouts: "_Readouts") -> Iterator[Stretch]:
        covered = _Covered(self._open)
        if self._id < 0 and (not self._open or self._open[0][0] > 0):
            self._time_ns = None  # what was between the begin and us is not known
        for part in readouts.between_jumps(self._time_ns):
            set_back = self._time_ns is not None and int(part.times_ns[0]) < self._time_ns
            time_ns = None if set_back else self._time_ns
            yield part.stretch(covered, self._id, time_ns, set_back=set_back)
            self._id, self._time_ns = int(part.ids[-1]), int(part.times_ns[-1])
        self._open = [(max(start, self._id + 1), end) for start, end in self._open if end > self._id + 1]


class _Covered:
    """How many readouts of some ranges there are up to an id."""

    def __init__(self, ranges: Sequence[Range]) -> None:
        edges = np.array(ranges, np.int64).reshape(-1, 2)
        self._starts, ends = edges[:, 0], edges[:, 1]
        self._lengths = ends - self._starts
        self._before = np.concatenate(([0], np.cumsum(self._lengths)))

    @property
    def total(self) -> int:
        """All of them."""
        return int(self._before[-1])

    def up_to(self, ids: Counts) -> Counts:
        """Readouts of the ranges whose id is not above each of `ids`."""
        if not len(self._starts):
            return np.zeros(len(ids), np.int64)
        at = np.maximum(np.searchsorted(self._starts, ids, side="right") - 1, 0)
        counts: Counts = self._before[at] + np.clip(ids + 1 - self._starts[at], 0, self._lengths[at])
        return counts


class _Readouts:
    """Readouts that have hits, in order: `ids`, `times_ns`, and where the hits of each begin and end (`bounds`)."""

    def __init__(self, hits: HitArray, hit_ids: Counts) -> None:
        lasts = (hit_ids[1:] != hit_ids[:-1]).nonzero()[0]
        self.hits = hits
        self.bounds: Counts = np.concatenate(([-1], lasts, [len(hits) - 1])) + 1
        starts = self.bounds[:-1]
        self.ids: Counts = hit_ids[starts]
        self.times_ns: Counts = np.minimum(hits["timestamp"][starts], _LATEST_NS).astype(np.int64)

    def _part(self, start: int, stop: int) -> "_Readouts":
        part = object.__new__(_Readouts)
        part.hits, part.bounds = self.hits, self.bounds[start : stop + 1]
        part.ids, part.times_ns = self.ids[start:stop], self.times_ns[start:stop]
        return part

    def between_jumps(self, before_ns: int | None) -> Iterator["_Readouts"]:
        """Parts in which the time does not go backwards; `before_ns`: of the readout before."""
        back = (self.times_ns[1:] < self.times_ns[:-1]).nonzero()[0] + 1
        if not len(back):
            yield self
            return
        for start, stop in zip([0, *back.tolist()], [*back.tolist(), len(self.ids)], strict=True):
            yield self._part(start, stop)

    def late(self, ranges: Sequence[Range]) -> Iterator[Stretch]:
        """Stretches of readouts that had been missed, which cover `ranges`."""
        covered, before = _Covered(ranges), -1
        for part in self.between_jumps(None):
            yield part.stretch(covered, before, None, late=True)
            before = int(part.ids[-1])

    def stretch(
        self, covered: _Covered, id_before: int, before_ns: int | None, *, late: bool = False, set_back: bool = False
    ) -> Stretch:
        """These, after the readout `id_before` at `before_ns`; None: readouts since that one lie where these begin."""
        times_ns, ids = self.times_ns, self.ids
        first_ns, last_ns = int(times_ns[0]) if before_ns is None else before_ns, int(times_ns[-1])
        first_s, last_s = first_ns // NS_PER_S, last_ns // NS_PER_S
        cut = last_s - first_s >= LONGEST_S
        if cut:
            first_s = last_s - LONGEST_S + 1
        earlier_ids = np.concatenate(([id_before], ids[:-1]))
        earlier_ns = np.concatenate(([first_ns], times_ns[:-1]))
        counted = covered.up_to(np.concatenate(([id_before], ids)))
        known = np.ones(last_s - first_s + 1, np.bool_)
        holes = counted[1:] - counted[:-1] < ids - earlier_ids
        holes[0] &= before_ns is not None
        for hole in holes.nonzero()[0].tolist():
            from_s, to_s = int(earlier_ns[hole]) // NS_PER_S, int(times_ns[hole]) // NS_PER_S
            known[max(from_s + 1 - first_s, 0) : max(to_s - first_s, 0)] = False
        hit_edges, count_edges = self.bounds[[0, -1]], counted[[0, -1]]
        if last_s > first_s:
            edges_ns = np.arange(first_s if cut else first_s + 1, last_s + 1) * NS_PER_S
            at = np.searchsorted(times_ns, edges_ns)
            # Differences first: they are exact, and so the same whatever else came in the same batch.
            share = (edges_ns - earlier_ns[at]) / (times_ns[at] - earlier_ns[at])
            passed = np.maximum(np.ceil(share * (ids[at] - earlier_ids[at])).astype(np.int64) - 1, 0)
            kept = slice(0, 0 if cut else 1)
            count_edges = np.concatenate((count_edges[kept], covered.up_to(earlier_ids[at] + passed), count_edges[1:]))
            hit_edges = np.concatenate((hit_edges[kept], self.bounds[at], hit_edges[1:]))
        first_ns = max(first_ns, first_s * NS_PER_S)
        counts = count_edges[1:] - count_edges[:-1]
        return Stretch(self.hits, first_ns, last_ns, hit_edges, counts, known, late=late, set_back=set_back)
