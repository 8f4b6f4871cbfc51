"""Finding the hits in a stretch of the stream, all at once.

The rules (docs/formats.md, "Decoding rules") are local: from the bytes around a possible first byte follow where its
hit would end and what it would be. So ends are computed for every *candidate* (possible first byte) in whole-array
steps, and what is left is the sequential part: from one hit, the next is the first candidate at or after its end.
Candidates that no earlier one can jump over are reached for certain; from them the chains are followed side by side.
"""

from dataclasses import dataclass
from enum import Enum
from functools import cached_property
from itertools import pairwise
from typing import Self

import numpy as np
import numpy.typing as npt

Positions = npt.NDArray[np.int64]
Flags = npt.NDArray[np.bool_]

_FEW = 32
"""Chains below which following them one by one is faster than whole-array steps."""

_SPARSE = 16
"""Bytes for each candidate above which looking candidates up is faster than counting them all along the stream."""


class Removed(Enum):
    """How well the decoder knows how many bytes 0xFF of a hit were removed with the padding at a readout's end."""

    BY_GROUPS = "groups"
    """Exactly: the board sent whole groups of 8 bytes, so the last one was completed with 0xFF."""
    BY_LENGTH = "length"
    """At most: the length of a full readout is known, but some of what is missing may have been padding."""
    UNKNOWN = "unknown"
    """Nothing for certain; whole groups of 8 bytes are likely."""


@dataclass(frozen=True)
class Spans:
    """Begun hits in order: bytes `start[i]` to `end[i]`, at most one of the flags each.

    No flag is set for a whole hit. `restored`: a hit that lost bytes 0xFF with the padding, as many as are missing from
    its size, before the byte at `gap[i]`. `dropped`: bytes were lost, no hit. `carried`: more bytes are needed (only
    the last one). Where nothing is restored, `gap[i]` is `end[i]`.
    """

    start: Positions
    end: Positions
    gap: Positions
    restored: Flags
    dropped: Flags
    carried: bool

    def __len__(self) -> int:
        return len(self.start)

    @classmethod
    def cut(cls, length: int, *, restored: bool) -> Self:
        """One span of `length` bytes from 0, whose rest is missing: restored, or dropped."""
        flag, end = np.full(1, restored), np.full(1, length)
        return cls(np.zeros(1, np.int64), end, end, flag, ~flag, False)

    @cached_property
    def intact(self) -> bool:
        """Whether nothing is restored and nothing dropped: but for a carried one, all are whole."""
        return not np.count_nonzero(self.restored) and not np.count_nonzero(self.dropped)

    @cached_property
    def inside(self) -> int:
        """Bytes in all of them."""
        return int((self.end - self.start).sum())

    def hits(self) -> Self:
        """Those that are hits: neither dropped nor carried."""
        if not self.carried and (self.intact or not self.dropped.any()):
            return self
        whole = ~self.dropped
        if self.carried:
            whole[-1] = False
        return self._only(whole)

    def lost(self) -> Self:
        """Those that are dropped."""
        return self._only(self.dropped)

    def _only(self, these: Flags) -> Self:
        return type(self)(
            self.start[these], self.end[these], self.gap[these], self.restored[these], self.dropped[these], False
        )

    @cached_property
    def ended(self) -> Flags:
        """Restored ones that lack their last bytes: a readout that begins at their end settled them."""
        ended: Flags = self.restored & (self.gap == self.end)
        return ended

    def first_after(self, bounds: Positions) -> Positions:
        """For each of `bounds`, the first of the hits that belongs to a readout that begins there or later.

        A hit belongs to the readout of its last byte; one that got its last bytes back, to the readout that told so.
        """
        return (self.end - (1 if self.intact else ~self.ended)).searchsorted(bounds)


class Scanner:
    """Finds hits of `size` bytes that begin with one of `first_bytes` (bool, 256).

    `idle_byte` and `padding_byte` may stand between hits. `removed` says what `stripped` of `scan` means.
    """

    def __init__(
        self, size: int, first_bytes: Flags, idle_byte: int, padding_byte: int, removed: Removed = Removed.UNKNOWN
    ) -> None:
        self.size = size
        self._first = first_bytes.tobytes()
        self._idle = idle_byte
        self._removed = removed
        self._settling = first_bytes.copy()
        self._settling[idle_byte] = True
        self._after_hit = self._settling.copy()
        self._after_hit[padding_byte] = True
        self._sensible = frozenset(self._after_hit.nonzero()[0].tolist())

    def scan(self, stream: npt.NDArray[np.uint8], starts: Positions, stripped: Positions) -> Spans:
        """Begun hits in `stream`, bytes carried over first; `starts`: where non-empty readouts begin, ascending.

        Bytes before `starts[0]` were carried over: they begin with a first byte and are shorter than a hit.
        `stripped`, one for each start: how many bytes 0xFF of a hit may have been removed before it; `size` or more
        where any number may.
        """
        length = len(stream)
        # Translating bytes is several times faster than looking each up in an array.
        candidate = np.frombuffer(stream.tobytes().translate(self._first), np.bool_)
        at = candidate.nonzero()[0]
        if not len(at):
            nothing = np.zeros(0, np.bool_)
            return Spans(at, at, at, nothing, nothing, False)
        bounds = np.empty(len(starts) + 1, np.int64)
        bounds[:-1], bounds[-1] = starts, length
        end = at + self.size
        restored, gap = self._settle(stream, bounds, stripped, at, end)
        beyond = end > length
        end[beyond] = length
        dropped = np.zeros(len(at), np.bool_)
        reached = follow(self._next(candidate, at, end))
        start, stop = at[reached], end[reached]
        # Most candidates are bytes within hits: unless rule 4 concerns one that is reached, it changes nothing.
        if not self._followed(stream, bounds, stop).all():
            self._lose(stream, bounds, at, end, dropped)
            reached = follow(self._next(candidate, at, end))
            start, stop = at[reached], end[reached]
        restored = restored[reached]
        gap = stop if gap is end else np.where(restored, gap[reached], stop)
        return Spans(start, stop, gap, restored, dropped[reached], bool(beyond[reached[-1]]))

    def undisturbed(self, stream: bytes, bounds: list[int]) -> list[list[int]] | None:
        """Where the hits of each readout begin if all are whole, none is cut and something sensible follows each.

        None where there is another one, which is what rules are for. `bounds`: where readouts begin, and the end.
        """
        begins, sensible, size = stream.translate(self._first), self._sensible, self.size
        found: list[list[int]] = []
        for start, stop in pairwise(bounds):
            here: list[int] = []
            at = begins.find(1, start, stop)
            while at >= 0:
                end = at + size
                if end > stop or (end < stop and stream[end] not in sensible):
                    return None
                here.append(at)
                at = begins.find(1, end, stop)
            found.append(here)
        return found

    def _settle(
        self, stream: npt.NDArray[np.uint8], bounds: Positions, stripped: Positions, at: Positions, end: Positions
    ) -> tuple[Flags, Positions]:
        """Rule 1: hits that one of `bounds` cuts, and that lost bytes of 0xFF there: which, and where.

        Adapts `end`, which is also where they are for all if there are none.
        """
        restored = np.zeros(len(at), np.bool_)
        starts = bounds[:-1]
        first = at.searchsorted(starts - (self.size - 1))
        stop = at.searchsorted(starts)
        cuts = first < stop
        if not np.count_nonzero(cuts):
            return restored, end
        ended = self._settling.take(stream.take(starts))
        if self._removed is not Removed.UNKNOWN:
            ended &= stripped > 0
        partly = (stripped > 0) & (stripped < self.size - 1)
        doubtful = (cuts & (ended | partly)).nonzero()[0]
        if not len(doubtful):
            return restored, end
        gap = end.copy()
        # Backwards, so that of several readouts that could settle a hit the first one does.
        for index in doubtful[::-1].tolist():
            bound, limit, missing = int(starts[index]), int(bounds[index + 1]), int(stripped[index])
            for hit in range(first[index], stop[index]):
                hit_end = int(at[hit]) + self.size
                rest_end = self._rest_end(stream, bound, limit, hit_end, missing, bool(ended[index]))
                if rest_end < hit_end:
                    restored[hit], end[hit], gap[hit] = True, rest_end, bound
        return restored, gap

    def _rest_end(
        self, stream: npt.NDArray[np.uint8], bound: int, limit: int, hit_end: int, missing: int, ended: bool
    ) -> int:
        """Where a hit ends that `bound` cuts and that would end at `hit_end` if it had lost nothing.

        `limit`: where the next readout begins; `missing`: bytes 0xFF that may have been removed; `ended`: whether the
        byte at `bound` says that the hit has no rest.
        """
        unknown = self._removed is Removed.UNKNOWN
        rest_end = hit_end - missing
        completed = bound < rest_end < hit_end and self._is_rest(stream, bound, rest_end, limit)
        if completed and (not unknown or ended or not self._goes_on(stream, rest_end, limit, hit_end)):
            return rest_end
        if ended and not (unknown and not missing and self._is_rest(stream, bound, hit_end, limit)):
            return bound
        return hit_end

    def _goes_on(self, stream: npt.NDArray[np.uint8], rest_end: int, limit: int, hit_end: int) -> bool:
        """Whether the bytes from `rest_end`, where a hit might end, to `hit_end` may be its own all the same."""
        if hit_end < limit and not self._after_hit[stream[hit_end]]:
            return False
        return bool((stream[rest_end : min(hit_end, limit)] != self._idle).any())

    def _is_rest(self, stream: npt.NDArray[np.uint8], bound: int, rest_end: int, limit: int) -> bool:
        """Whether the bytes from `bound` to `rest_end` may be the rest of a hit."""
        if rest_end >= limit or not self._after_hit[stream[rest_end]]:
            return False
        if self._removed is Removed.BY_GROUPS or rest_end == bound + 1:
            return True
        return bool((stream[bound:rest_end] != self._idle).any())

    def _followed(self, stream: npt.NDArray[np.uint8], bounds: Positions, end: Positions) -> Flags:
        """Whether something sensible comes at each `end`: idle, padding, a first byte, or the end of a readout."""
        followed = self._after_hit.take(stream.take(end, mode="clip"))
        if not followed.all():
            others = np.flatnonzero(~followed)
            ends = end[others]
            followed[others] = bounds.take(bounds.searchsorted(ends), mode="clip") == ends
        return followed

    def _lose(
        self, stream: npt.NDArray[np.uint8], bounds: Positions, at: Positions, end: Positions, dropped: Flags
    ) -> None:
        """Rule 4: where nothing sensible follows a hit, but another hit begins within it, bytes were lost.

        Adapts `end` and `dropped`.
        """
        doubtful = np.flatnonzero(~self._followed(stream, bounds, end))
        limit = end[doubtful]
        readout_end = bounds[np.searchsorted(bounds, limit, side="right")]
        for step in range(1, self.size):
            inner = doubtful + step
            inside = inner < len(at)
            inside[inside] = at[inner[inside]] < limit[inside]
            if not inside.any():
                break
            doubtful, readout_end, limit, inner = doubtful[inside], readout_end[inside], limit[inside], inner[inside]
            inner_end = at[inner] + self.size
            sensible = (inner_end >= readout_end) | self._followed(stream, bounds, inner_end)
            taken = doubtful[sensible]
            dropped[taken] = True
            end[taken] = at[inner[sensible]]
            rest = ~sensible
            doubtful, readout_end, limit = doubtful[rest], readout_end[rest], limit[rest]

    @staticmethod
    def _next(candidate: Flags, at: Positions, end: Positions) -> Positions:
        """Index of the first candidate at or after each end."""
        if len(at) * _SPARSE < len(candidate):
            return at.searchsorted(end)
        up_to = candidate.cumsum(dtype=np.int32)
        return up_to.take(end - 1).astype(np.int64)


def follow(following: Positions) -> Positions:
    """Indices that the chain 0 → following[0] → … visits, ascending; each entry must be larger than its index."""
    count = len(following)
    if count <= _FEW:
        links: list[int] = following.tolist()
        chain, link = [], 0
        while link < count:
            chain.append(link)
            link = links[link]
        return np.array(chain)
    visited = np.empty(count, np.bool_)
    visited[0] = True
    # No candidate before this one leads past it: the chain cannot miss it.
    visited[1:] = np.maximum.accumulate(following[:-1]) <= np.arange(1, count)
    front = visited.nonzero()[0]
    while len(front) >= _FEW:
        front = following[front]
        front = front[front < count]
        front = front[~visited[front]]
        visited[front] = True
    for begin in front.tolist():
        link = int(following[begin])
        while link < count and not visited[link]:
            visited[link] = True
            link = int(following[link])
    return visited.nonzero()[0]


def ranges(start: Positions, stop: Positions) -> Positions:
    """All positions from each `start` to before its `stop`, in order."""
    lengths = stop - start
    before = np.cumsum(lengths) - lengths
    positions: Positions = np.arange(int(lengths.sum())) + np.repeat(start - before, lengths)
    return positions
