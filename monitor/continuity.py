"""What a stream of numbered messages says about its own completeness: gaps, repeats, restarts. Socket-free.

Two numberings are watched. Messages carry a sequence number per topic and the start time of their publisher: a
number left out is a message missed, another start time is another publisher. Messages of hits also say which
readouts they cover, and those go on from one message to the next within a run, whoever publishes them: so a publisher
that died and came back may send a stretch again, and each hit still comes out once.
"""

from bisect import bisect_left, bisect_right
from dataclasses import dataclass, field
from typing import Self

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


HitArray = npt.NDArray[np.void]


@dataclass(frozen=True, slots=True)
class Publisher:
    """Who published: the daemon's name, and when this publisher started (ns since the epoch)."""

    daq: str
    started_ns: int


@dataclass(frozen=True, slots=True)
class RunPass:
    """One pass over a run: `pass_` is 0 live, and counts from 1 in a replay. `run` is None where there is none.

    A live run goes on under another publisher. A replay does not: who replays the same files again begins with the
    same numbers, and means another pass; so there the publisher's start `replay_ns` is part of it.
    """

    daq: str
    run: int | None
    pass_: int
    replay_ns: int = 0

    @classmethod
    def of(cls, publisher: Publisher, run: int | None, pass_: int) -> Self:
        """The pass that a message of `publisher` belongs to."""
        return cls(publisher.daq, run, pass_, publisher.started_ns if pass_ else 0)


@dataclass(frozen=True, slots=True)
class SequenceStep:
    """What one message's sequence number said.

    `missed`: messages of its topic that did not come since the previous one; after a restart, those that the new
    publisher sent before this one. `repeated`: its number was seen already. `restarted`: the first message of a
    publisher that took over from another; `reconnected`: the first message of its topic from such a one.
    """

    missed: int = 0
    repeated: bool = False
    restarted: bool = False
    reconnected: bool = False


@dataclass(frozen=True, slots=True)
class HitsStep:
    """What one message of hits said, beside its sequence number.

    `hits`: those not seen before, in order (the array that came, not a copy, where all are new). `epoch` counts the
    passes over runs that this client has seen begin, from 1. `joined_at`: the first readout received of this pass.
    `new`: the readouts not seen before, also those without hits, in order; `new_readouts`: how many these are.
    `missed_readouts`: newly found missing just before this message; `recovered_readouts`: missing once, brought by
    this message.
    """

    hits: HitArray
    epoch: int
    joined_at: int
    new_readouts: int
    new: tuple[Range, ...] = ()
    duplicates: int = 0
    missed_readouts: int = 0
    recovered_readouts: int = 0


@dataclass(slots=True)
class SequenceTracker:
    """Sequence numbers of all topics of one stream."""

    publisher: Publisher | None = None
    restarts: int = 0
    missed: dict[str, int] = field(default_factory=dict)
    gaps: dict[str, int] = field(default_factory=dict)
    repeated: int = 0
    _expected: dict[str, int] = field(default_factory=dict)

    def observe(self, topic: str, publisher: Publisher, seq: int) -> SequenceStep:
        """Take in the next message's topic, publisher and sequence number.

        The first message of a topic from the first publisher defines where we joined: nothing is missing before it.
        A later publisher's messages count from 0, as we were listening when it began.
        """
        restarted = self.publisher is not None and publisher != self.publisher
        if restarted:
            self.restarts += 1
            self._expected.clear()
        self.publisher = publisher
        reconnected = self.restarts > 0 and topic not in self._expected
        expected = self._expected.get(topic, 0 if self.restarts else seq)
        if seq < expected:
            self.repeated += 1
            return SequenceStep(repeated=True)
        self._expected[topic] = seq + 1
        missed = seq - expected
        if missed:
            self.missed[topic] = self.missed.get(topic, 0) + missed
            self.gaps[topic] = self.gaps.get(topic, 0) + 1
        return SequenceStep(missed=missed, restarted=restarted, reconnected=reconnected)


@dataclass(frozen=True, slots=True)
class PassProgress:
    """How far a pass over a run has come.

    `expected`: the readout after the last one received; `hits`: how many were received, each counted once;
    `began_ns`: when the run began, None where that is not known.
    """

    expected: int = 0
    hits: int = 0
    began_ns: int | None = None


class RunTracker:
    """Readouts and hits of the run that is on the stream; one pass at a time, forgotten when the next one begins.

    A hit is known by `(readout_id, decoding_order)`. Per readout it is enough to know whether it has been received,
    except from the last one with hits on, to which the end of a run may still add one (a hit cut by the end of the
    run belongs to the last readout that had bytes): of that one the decoding orders are kept.
    """

    def __init__(self, range_limit: int = 256) -> None:
        self._range_limit = range_limit
        self._ranges = ReadoutRanges(range_limit)
        self._tail_readout = -1
        self._tail_orders: set[int] = set()
        self._began_ns: int | None = None
        self._begin_seen = False
        self._missed_before = 0
        self.key: RunPass | None = None
        self.epoch = 0
        self.duplicates = 0
        self.readouts = 0
        self._hits_of_pass = 0

    def progress(self, key: RunPass) -> PassProgress:
        """How far that pass has come; nothing of it is known unless it is the present one."""
        if key != self.key:
            return PassProgress()
        last = self._ranges.last
        return PassProgress(0 if last is None else last + 1, self._hits_of_pass, self._began_ns)

    @property
    def missed_readouts(self) -> int:
        """Readouts that were never received, over all passes seen; those that came later do not count."""
        return self._missed_before + self._ranges.missing

    @property
    def joined_at(self) -> int | None:
        """The first readout received of the present pass; 0 where it was followed from its begin."""
        return self._ranges.first

    def _begin_epoch(self, key: RunPass) -> None:
        self._missed_before += self._ranges.missing
        self._ranges = ReadoutRanges(self._range_limit)
        self._tail_readout = -1
        self._tail_orders.clear()
        self._began_ns, self._begin_seen = None, False
        self.key = key
        self.epoch += 1
        self._hits_of_pass = 0

    def run_event(self, key: RunPass, began_ns: int, *, begins: bool) -> int:
        """Take in what was said of a run that began at `began_ns`; returns the epoch it belongs to.

        `begins`: it begins now, so that its first hits are still to come.

        A restarted publisher announces the begin again: that is the same epoch, so that what follows is recognised
        as sent before. A run of the same number that began at another time is another run.
        """
        if key != self.key or self._began_ns not in (None, began_ns):
            self._begin_epoch(key)
        self._began_ns = began_ns
        self._begin_seen = self._begin_seen or begins
        return self.epoch

    def hits(self, key: RunPass, first: int, last: int, hits: HitArray, *, gap: bool = False) -> HitsStep:
        """Take in a message of hits that covers the readouts `first`…`last` (both included).

        `hits`: structured array with `readout_id`, none above `last`, and `decoding_order`. `gap`: messages of hits
        are known to be missing just before this one, so a pass whose begin was seen has lost its first readouts.
        """
        if key != self.key:
            self._begin_epoch(key)
        if gap and self._begin_seen and self._ranges.first is None and first > 0:
            self._ranges.add(-1, -1)  # an anchor before readout 0: what lies between is missing
        highest = self._ranges.last
        missing_before = self._ranges.missing
        new = self._ranges.add(first, last)
        ahead = highest is None or first > highest
        kept = hits if ahead else self._unseen(new, hits)
        self._remember_tail(kept)
        new_readouts = sum(end - start for start, end in new)
        duplicates = len(hits) - len(kept)
        newly_missing = self._ranges.missing - missing_before
        self.duplicates += duplicates
        self._hits_of_pass += len(kept)
        self.readouts += new_readouts
        return HitsStep(
            hits=kept,
            epoch=self.epoch,
            joined_at=max(self._ranges.first or 0, 0),
            new_readouts=new_readouts,
            new=tuple(new),
            duplicates=duplicates,
            missed_readouts=max(newly_missing, 0),
            recovered_readouts=max(-newly_missing, 0),
        )

    def _unseen(self, new: list[Range], hits: HitArray) -> HitArray:
        """Those of `hits` that were not received before, where only the ranges `new` of readouts were not."""
        readout_ids = hits["readout_id"]
        keep = inside(new, readout_ids) | (readout_ids > self._tail_readout)
        for index in np.flatnonzero(readout_ids == self._tail_readout):
            keep[index] = int(hits["decoding_order"][index]) not in self._tail_orders
        return hits if keep.all() else hits[keep]

    def _remember_tail(self, hits: HitArray) -> None:
        if not len(hits):
            return
        readout_ids = hits["readout_id"]
        tail = int(readout_ids.max())
        if tail > self._tail_readout:
            self._tail_readout = tail
            self._tail_orders.clear()
        if tail == self._tail_readout:
            self._tail_orders.update(hits["decoding_order"][readout_ids == tail].tolist())
