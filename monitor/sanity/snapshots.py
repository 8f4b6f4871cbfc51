"""Snapshots of a stream for the checks: what it has shown so far."""

import time
from collections import deque
from collections.abc import Callable

from monitor.continuity import HitArray
from monitor.detector import Geometry
from monitor.events import Event, HitBatch, RunMessage, StatMessage
from monitor.receiving.reader import StreamCounters
from monitor.sanity.check import CheckInput, HitCounts
from monitor.sanity.frame_counts import FrameTally
from monitor.state.detector_state import DetectorState
from protocol.hit import HIT_DTYPE, join_tables
from protocol.ledger import Ledger
from protocol.readout_description import ReadoutDescription
from protocol.units import NS_PER_S

MAX_HITS = 100_000
"""Hits since the last snapshot that are kept one by one."""


class Snapshots:
    """Follows a stream, and takes a snapshot of it on demand.

    `clock`: monotonic seconds. `description`: how the readouts are decoded; None: as the run's record says.
    """

    def __init__(
        self,
        geometry: Geometry | None = None,
        clock: Callable[[], float] = time.monotonic,
        description: ReadoutDescription | None = None,
    ) -> None:
        self._state = DetectorState(geometry, clock=clock)
        self._clock = clock
        self._new: deque[HitArray] = deque()
        self._new_hits = 0
        self._ledger: Ledger | None = None
        self._epoch = 0
        self._described = description
        self._frames = FrameTally()
        self._stat_at: float | None = None
        self._hits_at: float | None = None

    def feed(self, event: Event) -> None:
        """Take in what has come."""
        self._state.feed(event)
        if self._state.epoch != self._epoch:
            self._epoch = self._state.epoch
            self._ledger = None
            self._frames = FrameTally()
            self._forget_hits()
        if isinstance(event, HitBatch) and len(event.hits):
            self._hits_at = self._clock()
            self._keep(event.hits)
        elif isinstance(event, StatMessage):
            self._stat_at = self._clock()
            self._ledger = event.ledger or self._ledger
        elif isinstance(event, RunMessage):
            self._ledger = event.ledger or self._ledger

    def _description(self) -> ReadoutDescription:
        record = self._state.record
        if self._described is not None or record is None:
            return self._described or ReadoutDescription()
        return record.description

    def _keep(self, hits: HitArray) -> None:
        if self._new and self._new[-1].dtype != hits.dtype:
            self._forget_hits()
        self._new.append(hits[-MAX_HITS:])
        self._new_hits += len(self._new[-1])
        while self._new_hits - len(self._new[0]) >= MAX_HITS:
            self._new_hits -= len(self._new.popleft())

    def _forget_hits(self) -> None:
        self._new.clear()
        self._new_hits = 0

    def take(self, now_ns: int, counters: StreamCounters) -> CheckInput:
        """All there is to see now. The hits in it are not in the next one's."""
        state = self._state
        summary = state.summary(counters)
        hits = join_tables(list(self._new), self._new[0].dtype if self._new else HIT_DTYPE)[-MAX_HITS:]
        self._forget_hits()
        self._frames.add(hits, self._description())
        return CheckInput(
            now_ns=now_ns,
            live_s=self._live_s(),
            stat_age_s=self._age_s(self._stat_at),
            hits_age_s=self._age_s(self._hits_at),
            daq=summary.daq,
            run=summary.run,
            pass_=summary.pass_,
            ended=summary.ended,
            epoch=state.epoch,
            record=summary.record,
            chips=tuple(state.chips()),
            counts=HitCounts.of(state.histograms),
            recent=HitCounts.of(state.recent),
            series=state.series,
            hits=hits,
            ledger=self._ledger,
            stat=state.stat,
            counters=counters,
            frames=self._frames.counts,
            description=self._description(),
        )

    def _age_s(self, at: float | None) -> float | None:
        return None if at is None else max(self._clock() - at, 0.0)

    def _live_s(self) -> float:
        series, record = self._state.series, self._state.record
        if series.first_ns is None:
            return 0.0
        live_ns = series.last_ns - series.first_ns
        for gap in () if record is None else record.gaps:
            to_ns = series.last_ns if gap.to_ns is None else min(gap.to_ns, series.last_ns)
            live_ns -= max(to_ns - max(gap.from_ns, series.first_ns), 0)
        return max(live_ns, 0) / NS_PER_S
