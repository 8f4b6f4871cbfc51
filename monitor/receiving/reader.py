"""From frames to events: validates, numbers, de-duplicates. Socket-free, so that files and tests can feed it too."""

from collections import Counter
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from typing import Any

from monitor.continuity import HitArray, Publisher, RunPass, RunTracker, SequenceStep, SequenceTracker
from monitor.detector import missing_column
from monitor.events import AlarmMessage, Event, HitBatch, LogMessage, RawMessage, RunMessage, StatMessage
from protocol.errors import MessageError
from protocol.hit import HIT_DTYPE
from protocol.ledger import Ledger
from protocol.run_record import RunRecord
from protocol.wire.catch_up import MAX_READOUT_ID
from protocol.wire.messages import Header, Message, RunEvent, Topic, decode_message


@dataclass(frozen=True, slots=True)
class StreamCounters:
    """What a client has received and missed since it began; a snapshot.

    `messages`: valid ones, by topic; `malformed`: those that were not. `hits`, `readouts`: received, each counted
    once. `missed_messages`, `gaps`: by topic, messages left out in the numbering and in how many places.
    `missed_readouts`: readouts that never came; `duplicate_hits`: hits that came again and were left out;
    `repeated_messages`: messages whose number had been seen. `restarts`: publishers that took over from another.
    `joined_at`: first readout received of the present run, 0 if followed from its begin, None before any hits.
    `past_hits`, `past_readouts`: those of the received that were asked for afterwards (`history=True`);
    `past_failures`: how often that was in vain.
    """

    messages: Mapping[str, int] = field(default_factory=dict)
    malformed: int = 0
    hits: int = 0
    readouts: int = 0
    missed_messages: Mapping[str, int] = field(default_factory=dict)
    gaps: Mapping[str, int] = field(default_factory=dict)
    missed_readouts: int = 0
    duplicate_hits: int = 0
    repeated_messages: int = 0
    restarts: int = 0
    joined_at: int | None = None
    past_hits: int = 0
    past_readouts: int = 0
    past_failures: int = 0

    def to_dict(self) -> dict[str, Any]:
        """As JSON can carry it."""
        return asdict(self)


@dataclass(frozen=True, slots=True, eq=False)
class Received:
    """A valid message, and what its number said; not yet held against what came before of its run."""

    message: Message
    body: "_Body"
    key: RunPass
    sequence: SequenceStep

    @property
    def header(self) -> Header:
        """Of the message."""
        return self.message.header


class StreamReader:
    """Takes messages as they come from one publisher and its successors, gives events.

    `read` returns None for what is no message: it is counted as malformed and otherwise ignored. A hits message that
    contradicts itself (hits outside its readouts, missing columns, not as many as announced) is malformed too.
    """

    def __init__(self) -> None:
        self.runs = RunTracker()
        self._sequence = SequenceTracker()
        self._past_hits = 0
        self._past_readouts = 0
        self._messages: Counter[str] = Counter()
        self._malformed = 0
        self._hits = 0
        self.last_error = ""

    @property
    def counters(self) -> StreamCounters:
        """What has been received and missed so far."""
        return StreamCounters(
            messages=dict(self._messages),
            malformed=self._malformed,
            hits=self._hits,
            readouts=self.runs.readouts,
            missed_messages=dict(self._sequence.missed),
            gaps=dict(self._sequence.gaps),
            missed_readouts=self.runs.missed_readouts,
            duplicate_hits=self.runs.duplicates,
            repeated_messages=self._sequence.repeated,
            restarts=self._sequence.restarts,
            joined_at=self.runs.joined_at,
            past_hits=self._past_hits,
            past_readouts=self._past_readouts,
        )

    def read(self, frames: list[bytes]) -> Event | None:
        """The event that the frames of one message are; None, counted, for nonsense."""
        received = self.receive(frames)
        return None if received is None else self.event(received)

    def receive(self, frames: list[bytes]) -> Received | None:
        """The first half of `read`: what has come, its number noted."""
        try:
            message = decode_message(frames)
            body = _Body(message)
        except MessageError as error:
            self._malformed += 1
            self.last_error = str(error)
            return None
        header = message.header
        publisher = Publisher(header.daq, header.pub)
        step = self._sequence.observe(message.topic.value, publisher, header.seq)
        self._messages[message.topic.value] += 1
        return Received(message, body, RunPass.of(publisher, header.run, header.pass_), step)

    def event(self, received: Received) -> Event:
        """The second half: the event, and of hits those not received before. In the order of receiving."""
        header, body, key, step = received.header, received.body, received.key, received.sequence
        if body.hits is not None and header.readouts is not None:
            gap = step.missed > 0 and not step.reconnected
            hits_step = self.runs.hits(key, *header.readouts, body.hits, gap=gap)
            self._hits += len(hits_step.hits)
            return HitBatch(header, step, hits_step)
        if body.stat is not None:
            return StatMessage(header, step, body.stat, body.ledger)
        if body.run is not None:
            epoch = self.runs.run_event(key, body.run.record.begin_ns, begins=body.run.event == "begin")
            return RunMessage(header, step, body.run, body.ledger, epoch)
        if body.line is not None:
            return LogMessage(header, step, body.line)
        if body.alarms is not None:
            return AlarmMessage(header, step, body.alarms.alarms)
        return RawMessage(header, step, received.message.payload)

    def past_hits(self, key: RunPass, header: Header, hits: HitArray) -> HitBatch:
        """Hits of the readouts that `header` names, asked for afterwards; `MessageError` where they cannot be these."""
        hits = _checked(hits, header)
        assert header.readouts is not None  # noqa: S101 - just checked
        step = self.runs.hits(key, *header.readouts, hits)
        self._hits += len(step.hits)
        self._past_hits += len(step.hits)
        self._past_readouts += step.new_readouts
        return HitBatch(header, SequenceStep(), step, past=True)

    def past_begin(self, key: RunPass, header: Header, record: RunRecord) -> RunMessage:
        """The begin of a run that we have come too late for."""
        epoch = self.runs.run_event(key, record.begin_ns, begins=True)
        return RunMessage(header, SequenceStep(), RunEvent(event="begin", record=record), None, epoch)

    def past_end(self, key: RunPass, header: Header, record: RunRecord, ledger: Ledger) -> RunMessage:
        """The end of a run that was told before we came; `ledger`: of all of it."""
        epoch = self.runs.run_event(key, record.begin_ns, begins=False)
        record = record.model_copy(update={"ledger": ledger.to_dict()})
        return RunMessage(header, SequenceStep(), RunEvent(event="end", record=record), ledger, epoch)


class _Body:
    """A message's payload, read in whole before it is counted as received; `MessageError` where it is nonsense."""

    def __init__(self, message: Message) -> None:
        topic = message.topic
        self.hits = _checked(message.hits(), message.header) if topic is Topic.HITS else None
        self.stat = message.stat() if topic is Topic.STAT else None
        self.run = message.run() if topic is Topic.RUN else None
        self.line = message.log() if topic is Topic.LOG else None
        self.alarms = message.alarms() if topic is Topic.ALARM else None
        counts = self.stat.ledger if self.stat else self.run.record.ledger if self.run else None
        try:
            self.ledger = None if counts is None else Ledger.from_dict(counts)
        except (ValueError, TypeError) as error:
            raise MessageError(f"{topic} message: {error}") from None


def _checked(hits: HitArray, header: Header) -> HitArray:
    """`hits`, if they can be what `header` says they are; else `MessageError`."""
    if header.readouts is None:
        raise MessageError("hits message: readouts are needed")
    first, last = header.readouts
    if not 0 <= first <= last <= MAX_READOUT_ID:
        raise MessageError(f"hits message: readouts {first} to {last} cannot be")
    if hits.dtype != HIT_DTYPE and (missing := missing_column(hits.dtype)):
        raise MessageError(f"hits message: no column {missing}")
    # The end of a run may add a hit to a readout before `first`, but nothing comes from a readout not yet consumed.
    if len(hits) and int(hits["readout_id"].max()) > last:
        raise MessageError(f"hits message: a hit of readout {int(hits['readout_id'].max())}, beyond the last, {last}")
    return hits
