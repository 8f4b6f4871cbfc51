"""The checks on a stream."""

from collections.abc import Iterator
from dataclasses import replace

from monitor.detector import Geometry
from monitor.events import Event, HitBatch, LogMessage, RunMessage, StatMessage
from monitor.sanity.check import CheckResult, Limits
from monitor.sanity.checks import event_checks
from monitor.sanity.checks.hit_checks import HitTally, check_ledger
from monitor.sanity.checks.order import ReadoutOrder
from monitor.sanity.checks.silence import Silence
from monitor.sanity.findings import Notice, Place
from protocol.wire.alarms import AlarmLevel
from protocol.wire.messages import Header

_LOG_LEVELS = {"warning": AlarmLevel.OK, "error": AlarmLevel.WARNING, "critical": AlarmLevel.CRITICAL}


class LiveChecks:
    """Checks the events of one stream, in the order in which they come.

    `now`: monotonic seconds, when we began to listen. `chips`: None takes the daemon's word for it. `runs_ended`: runs
    whose end has been seen.
    """

    def __init__(self, limits: Limits, now: float, chips: int | None = None) -> None:
        self._limits = limits
        self._chips = chips
        self._silence = Silence(limits, now)
        self._run = _RunOnStream(Place(), 0, limits)
        self._state: tuple[str, str] | None = None
        self._malformed = 0
        self.runs_ended = 0

    def feed(self, event: Event, now: float) -> Iterator[tuple[Place, Notice]]:
        """Notices of the next event."""
        self._silence.heard(event, now)
        place = Place(event.header.run, event.header.pass_)
        for notice in _check_sequence(event):
            yield place, notice
        match event:
            case HitBatch():
                yield from self._enter(event.epoch, event.header)
                for notice in self._run.add(event):
                    yield self._run.place, notice
            case RunMessage():
                yield from self._enter(event.epoch, event.header)
                if event.body.record.chips:
                    self._take_chips(event.body.record.chips)
                yield from self._check_run(event)
            case StatMessage():
                place = Place(event.header.run, event.stat.pass_)
                for notice in self._check_stat(event):
                    yield place, notice
            case LogMessage():
                level = _LOG_LEVELS.get(event.line.level)
                if level is not None:
                    text = event.line.text
                    yield place, Notice(event_checks.DAEMON_LOG, CheckResult(text, text, level=level))

    def _check_run(self, message: RunMessage) -> Iterator[tuple[Place, Notice]]:
        run, event = self._run, message.body.event
        for notice in _check_gaps(message):
            yield run.place, notice
        if event == "begin":
            run.begin_seen = run.begin_seen or not message.sequence.reconnected
        elif event == "end" and not run.ended:  # a restarted publisher may say it again
            run.ended = True
            self.runs_ended += 1
            for notice in run.end(message):
                yield run.place, notice

    def tick(self, now: float, malformed: int = 0, last_error: str = "") -> Iterator[tuple[Place, Notice]]:
        """Notices that the passing of time brings; `malformed`: messages so far that were none."""
        for notice in self._silence.check(now):
            yield self._run.place, notice
        if malformed > self._malformed:
            result = CheckResult("", f"the first: {last_error}", count=malformed - self._malformed)
            yield Place(), Notice(event_checks.MALFORMED, result)
            self._malformed = malformed

    def lasting(self, now: float) -> Iterator[Notice]:
        """What is wrong now, as long as it lasts: silence, no hits, the daemon's state."""
        yield from self._silence.lasting(now)
        if self._state is not None and (notice := _daemon_state(*self._state)) is not None:
            yield notice

    def settle(self, now: float) -> Iterator[tuple[Place, Notice]]:
        """Notices at the end."""
        yield from self._settle_run()
        for notice in self._silence.settle(now):
            yield self._run.place, notice

    def _settle_run(self) -> Iterator[tuple[Place, Notice]]:
        for notice in self._run.settle():
            yield self._run.place, notice

    def _take_chips(self, chips: int) -> None:
        if self._chips is None:
            geometry = self._limits.geometry
            self._limits = replace(self._limits, geometry=Geometry(min(chips, 32), geometry.rows, geometry.columns))
            self._run.tally.limits = self._limits

    def _enter(self, epoch: int, header: Header) -> Iterator[tuple[Place, Notice]]:
        if epoch == self._run.epoch:
            return
        yield from self._settle_run()
        self._run = _RunOnStream(Place(header.run, header.pass_), epoch, self._limits)

    def _check_stat(self, message: StatMessage) -> Iterator[Notice]:
        stat = message.stat
        if stat.chips:
            self._take_chips(stat.chips)
        if message.ledger is not None:
            yield from check_ledger(message.ledger, self._limits)
        changed = (stat.state, stat.reason) != self._state
        self._state = stat.state, stat.reason
        notice = _daemon_state(stat.state, stat.reason)
        if changed and notice is not None:
            yield replace(notice, result=replace(notice.result, subject=notice.result.text))


def _daemon_state(state: str, reason: str) -> Notice | None:
    if state not in ("error", "recovering"):
        return None
    level = None if state == "error" else AlarmLevel.WARNING
    return Notice(event_checks.DAEMON_STATE, CheckResult("", f"{state}: {reason or 'no reason given'}", level=level))


def _check_sequence(event: Event) -> Iterator[Notice]:
    step, seq = event.sequence, event.header.seq
    if step.restarted:
        yield Notice(event_checks.PUBLISHER_RESTART, CheckResult("", f"publisher {event.header.pub} took over"))
    if step.missed and step.reconnected:
        # No loss in itself: of hits, the readout ids tell whether any are missing.
        text = f"{event.topic} messages that a new publisher sent before we were connected again, up to {seq - 1}"
        result = CheckResult(f"{event.topic} again", text, level=AlarmLevel.OK, count=step.missed)
        yield Notice(event_checks.SEQUENCE_GAP, result)
    elif step.missed:
        text = f"{event.topic} messages before number {seq}"
        yield Notice(event_checks.SEQUENCE_GAP, CheckResult(event.topic, text, count=step.missed))


def _check_gaps(message: RunMessage) -> Iterator[Notice]:
    gaps = message.body.record.gaps
    if gaps:
        text = f"{len(gaps)} so far, the last: {gaps[-1].reason}"
        yield Notice(event_checks.RUN_GAPS, CheckResult("", text, count=len(gaps), cumulative=True))


class _RunOnStream:
    """What is followed through one pass over a run."""

    def __init__(self, place: Place, epoch: int, limits: Limits) -> None:
        self.place = place
        self.epoch = epoch
        self.limits = limits
        self.tally = HitTally(limits)
        self._order = ReadoutOrder(limits, complete=False)
        self.begin_seen = False
        self.ended = False
        self._joined_at: int | None = None
        self._missing = 0

    def add(self, batch: HitBatch) -> Iterator[Notice]:
        """Look at the next hits."""
        step = batch.step
        if self._joined_at is None and step.joined_at > 0:
            result = CheckResult("", f"from readout {step.joined_at} on", readout=step.joined_at)
            yield Notice(event_checks.JOINED_LATE, result)
        self._joined_at = step.joined_at
        if step.duplicates:
            yield Notice(event_checks.DUPLICATES, CheckResult("", "left out", count=step.duplicates))
        yield from self._check_missing(batch)
        yield from self.tally.add(batch.hits)
        hits, last = batch.hits, self._order.last_id
        if last is not None and batch.readouts[0] <= last:
            # What comes out of turn, because a restarted publisher brought what had been missing, is no disorder.
            hits = hits[hits["readout_id"] > last]
        yield from self._order.add(hits["readout_id"], hits["timestamp"])

    def _check_missing(self, batch: HitBatch) -> Iterator[Notice]:
        step = batch.step
        self._missing += step.missed_readouts - step.recovered_readouts
        readout = level = None
        if step.missed_readouts:
            readout = batch.readouts[0] - step.missed_readouts
            text = f"{self._missing} missing, the last of them before readout {batch.readouts[0]}"
        elif step.recovered_readouts:
            text = f"{self._missing} missing, others came later"
            level = None if self._missing else AlarmLevel.OK
        else:
            return
        result = CheckResult("", text, level=level, count=self._missing, cumulative=True, readout=readout)
        yield Notice(event_checks.MISSED_READOUTS, result)

    def end(self, message: RunMessage) -> Iterator[Notice]:
        """The run has ended: is all of it here?"""
        record, ledger = message.body.record, message.ledger
        if record.state in ("failed", "interrupted"):
            text = f"{record.state}: {record.end_reason or 'no reason given'}"
            yield Notice(event_checks.RUN_STATE, CheckResult("", text))
        if ledger is None:
            return
        yield from check_ledger(ledger, self.limits)
        from_its_begin = self._joined_at == 0 or (self._joined_at is None and self.begin_seen)
        if from_its_begin and not self._missing and ledger.hits != self.tally.hits:
            text = f"{self.tally.hits} hits received, {ledger.hits} decoded by the publisher"
            lost = abs(ledger.hits - self.tally.hits)
            yield Notice(event_checks.RUN_TOTALS, CheckResult("", text, count=lost, cumulative=True))

    def settle(self) -> Iterator[Notice]:
        """The run as a whole, as far as it was seen."""
        yield from self.tally.settle()
        yield from self._order.settle()
