"""The detector as a stream shows it: histograms, rates, last state, run, log. Fed with events; prints nothing."""

import time
from collections import deque
from collections.abc import Callable
from typing import Any

from monitor.detector import ChipPlace, Geometry
from monitor.events import Event, HitBatch, LogMessage, RunMessage, StatMessage
from monitor.receiving.reader import StreamCounters
from monitor.state.histograms import HitHistograms
from monitor.state.meters import RateMeter, ReadoutBytes
from monitor.state.monitor_state import SILENT_S, ChipState, LogEntry, MonitorState, MonitorSummary
from monitor.state.readout_times import ReadoutTimes
from monitor.state.recent import RecentHistograms
from monitor.state.sorted_hits import TotBinning
from monitor.state.time_series import SPANS, RunSeries
from protocol.run_record import RunRecord
from protocol.units import NS_PER_S
from protocol.wire.messages import Header, Stat

LOG_LINES = 200

_ON_ITS_WAY_NS = NS_PER_S // 2
"""What was read so shortly before a state was sent may come after it."""


class DetectorState:
    """What a stream has shown of the detector since the begin of the run. Constant memory.

    `histograms`: since the begin of the run, or since a reset; `recent`: of the last minute. `series`: rates against
    time, since the begin of the run. `revision` grows with everything that changes any of it.
    `clock`: monotonic seconds, for how long ago something was. Not thread-safe.
    """

    def __init__(
        self,
        geometry: Geometry | None = None,
        binning: TotBinning | None = None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self.histograms = HitHistograms(geometry, binning)
        self.recent = RecentHistograms(geometry, binning)
        self.series = RunSeries()
        self.revision = 0
        self._times = ReadoutTimes()
        self._readout_bytes = ReadoutBytes()
        self._in_the_past = False
        self._hits_of_pass = 0
        self._clock = clock
        self._hit_rate = RateMeter()
        self._readout_rate = RateMeter()
        self._epoch = 0
        self._run: int | None = None
        self._pass = 0
        self._ended = False
        self._record: RunRecord | None = None
        self._stat: Stat | None = None
        self._stat_arrived = 0.0
        self._header: Header | None = None
        self._arrived = 0.0
        self._log: deque[LogEntry] = deque(maxlen=LOG_LINES)

    @property
    def stat(self) -> Stat | None:
        """The last state that was published."""
        return self._stat

    @property
    def record(self) -> RunRecord | None:
        """Of the run, as of its begin, its last gap or its end."""
        return self._record

    @property
    def epoch(self) -> int:
        """Number of the pass over a run that the histograms are of; see `HitBatch.epoch`."""
        return self._epoch

    def feed(self, event: Event) -> None:
        """Take in what has come from the stream."""
        self.revision += 1
        self._header = event.header
        self._arrived = self._clock()
        match event:
            case HitBatch():
                self._enter(event.epoch, event.header)
                self._take_hits(event)
            case RunMessage():
                self._enter(event.epoch, event.header)
                self._take_run(event)
            case StatMessage():
                self._stat, self._stat_arrived = event.stat, self._arrived
                self._readout_bytes.take(event.stat)
                self._take_time(event)
            case LogMessage():
                self._log.append(LogEntry(t=event.header.t, level=event.line.level, text=event.line.text))

    def _enter(self, epoch: int, header: Header) -> None:
        if epoch == self._epoch:
            return
        self._epoch = epoch
        self._run, self._pass = header.run, header.pass_
        self._record, self._ended = None, False
        self._hits_of_pass = 0
        self.histograms.reset()
        self.recent.forget()
        self.series.reset()
        self._times = ReadoutTimes()

    def _take_hits(self, batch: HitBatch) -> None:
        hits = self.histograms.sort(batch.hits)
        self.histograms.count(hits, batch.step.new_readouts)
        self.recent.expect(hits.kind)
        for stretch in self._times.stretches(batch.hits, batch.step.new):
            self.series.add(stretch)
            self.recent.take(stretch, hits if stretch.hits is batch.hits else self.recent.sort(stretch.hits))
        self._in_the_past = batch.past
        self._hits_of_pass += len(batch.hits)
        if not batch.past:
            self._hit_rate.add(batch.header.t, len(batch.hits))
            self._readout_rate.add(batch.header.t, batch.step.new_readouts)

    def _take_run(self, message: RunMessage) -> None:
        record = self._record = message.body.record
        self._ended = message.body.event == "end"
        if self._pass:
            return  # a replay is not at the time of its hits
        self.series.leave_out(record.gaps)
        if message.body.event == "begin":
            self._times.begin(record.begin_ns)
            self.series.begin(record.begin_ns)
            self.recent.begin(record.begin_ns)
        if record.end_ns is not None:
            self._pass_until(record.end_ns)

    def _take_time(self, message: StatMessage) -> None:
        """A detector that has no hits sends none: time goes on all the same."""
        stat, ledger = message.stat, message.ledger
        if ledger is not None and stat.run == self._run and self._hits_of_pass >= ledger.hits:
            self._in_the_past = False  # a board that has fallen silent sends no live hits that would say so
        live = not self._pass and stat.state in ("running", "recovering") and stat.run == self._run
        if live and not self._ended and not self._in_the_past and not stat.publisher.lag_bytes:
            self._pass_until(message.header.t - _ON_ITS_WAY_NS)

    def _pass_until(self, now_ns: int) -> None:
        self.series.pass_until(now_ns)
        self.recent.pass_until(now_ns)

    def reset(self) -> None:
        """Empty the histograms, and go on."""
        self.revision += 1
        self.histograms.reset()
        self.recent.reset()

    def chips(self) -> list[ChipPlace]:
        """Chips to show, in order: those the daemon has told of (else the first), and all that had hits."""
        histograms = self.histograms
        geometry, kind = histograms.geometry, histograms.kind
        told = 1 if self._stat is None or self._stat.chips is None else self._stat.chips
        layers = 1 if self._record is None or self._record.layers is None else self._record.layers
        # The firmware numbers its layers from 1.
        known = range(1, layers + 1) if kind.layered else (None,)
        places = {ChipPlace(layer, chip) for layer in known for chip in range(min(told, geometry.chips))}
        places.update(geometry.place(kind, slot) for slot in histograms.chip_hits.nonzero()[0].tolist())
        return sorted(places, key=geometry.slot)

    def age_s(self) -> float | None:
        """Time since the last message; None before the first."""
        return None if self._header is None else max(self._clock() - self._arrived, 0.0)

    def _stat_age_s(self) -> float | None:
        return None if self._stat is None else max(self._clock() - self._stat_arrived, 0.0)

    def _state_name(self, stat_age_s: float | None) -> str:
        if self._stat is None or stat_age_s is None:
            return "waiting"
        return "silent" if stat_age_s >= SILENT_S else self._stat.state

    def summary(self, counters: StreamCounters) -> MonitorSummary:
        """Everything but the histograms, as it is now."""
        return MonitorSummary(**self._summary(counters))

    def _summary(self, counters: StreamCounters) -> dict[str, Any]:
        age_s, stat_age_s = self.age_s(), self._stat_age_s()
        now_ns = 0 if self._header is None else self._header.t + round((age_s or 0.0) * NS_PER_S)
        histograms = self.histograms
        return {
            "daq": "" if self._header is None else self._header.daq,
            "age_s": age_s,
            "stat_age_s": stat_age_s,
            "state": self._state_name(stat_age_s),
            "run": self._run,
            "pass_": self._pass,
            "ended": self._ended,
            "record": self._record,
            "stat": self._stat,
            "hits": histograms.hits,
            "readouts": histograms.readouts,
            "outside": histograms.outside,
            "tot_invalid": histograms.tot_invalid,
            "unpaired": histograms.unpaired,
            "recent_s": self.recent.seconds,
            "recent_hits": self.recent.hits,
            "recent_readouts": self.recent.readouts,
            "hits_hz": self._hit_rate.per_second(now_ns),
            "readouts_hz": self._readout_rate.per_second(now_ns),
            "readout_bytes": self._readout_bytes.of_run,
            "readout_bytes_now": self._readout_bytes.now,
            "counters": counters.to_dict(),
            "log": tuple(self._log),
        }

    def snapshot(self, counters: StreamCounters) -> MonitorState:
        """Everything, as it is now; an independent copy."""
        histograms = self.histograms
        slots = [(place, histograms.geometry.slot(place)) for place in self.chips()]
        filled = histograms.hits_per_readout.nonzero()[0]
        detector_tot = histograms.detector_tot
        return MonitorState(
            **self._summary(counters),
            rows=histograms.rows,
            columns=histograms.columns,
            tot_bin_us=histograms.binning.width_us,
            tot=detector_tot[:-1].tolist(),
            tot_overflow=int(detector_tot[-1]),
            chips=[
                ChipState(
                    layer=place.layer,
                    chip=place.chip,
                    hits=int(histograms.chip_hits[slot]),
                    recent_hits=int(self.recent.chip_hits[slot]),
                    hit_map=histograms.hit_map[slot].tolist(),
                    tot=histograms.tot[slot, :-1].tolist(),
                    tot_overflow=int(histograms.tot[slot, -1]),
                )
                for place, slot in slots
            ],
            hits_per_readout=histograms.hits_per_readout[: int(filled[-1]) + 1 if len(filled) else 0].tolist(),
            series={span: self.series.state(span) for span in SPANS},
        )
