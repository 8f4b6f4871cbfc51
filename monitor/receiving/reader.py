"""From frames to events, in two steps. Socket-free, so that files and tests can feed them too.

`MessageReader` validates a message and notes its number. `RunFollower` compares hits and run messages with what came
before of their run, and leaves out hits received before. Between the two, `HistoryJoin` puts them into order.
"""

from collections import Counter
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from typing import Any, Self

import numpy as np

from monitor.continuity import HitArray, Publisher, RunPass, RunTracker, SequenceStep, SequenceTracker
from monitor.detector import missing_column
from monitor.events import AlarmMessage, HitBatch, LogMessage, RawMessage, RunMessage, StatMessage
from protocol.errors import MessageError
from protocol.hit import HIT_DTYPE
from protocol.ledger import Ledger
from protocol.wire.alarms import Alarms
from protocol.wire.catch_up import MAX_READOUT_ID
from protocol.wire.messages import Header, LogLine, Message, RunEvent, Stat, Topic, decode_message


@dataclass(frozen=True, slots=True)
class StreamCounters:
    """What a client has received and missed since it began; a snapshot.

    `messages`: valid ones, by topic; `malformed`: those that were not. `hits`, `readouts`: received, each counted
    once. `missed_messages`, `gaps`: by topic, messages left out in the numbering and in how many places.
    `missed_readouts`: readouts that never came; `duplicate_hits`: hits that came again and were left out;
    `repeated_messages`: messages whose number had been seen. `restarts`: publishers that took over from another.
    `joined_at`: first readout received of the present run, 0 if followed from its begin, None before any hits.
    `past_hits`, `past_readouts`: those of the received that were asked for afterwards (`history=True`);
    `past_failures`: how often asking failed.
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

    @classmethod
    def of(cls, reader: "MessageReader", runs: "RunFollower", past_failures: int = 0) -> Self:
        """What these two have counted by now."""
        return cls(
            messages=dict(reader.messages),
            malformed=reader.malformed,
            hits=runs.received_hits,
            readouts=runs.readouts,
            missed_messages=dict(reader.sequence.missed),
            gaps=dict(reader.sequence.gaps),
            missed_readouts=runs.missed_readouts,
            duplicate_hits=runs.duplicates,
            repeated_messages=reader.sequence.repeated,
            restarts=reader.sequence.restarts,
            joined_at=runs.joined_at,
            past_hits=runs.past_hits,
            past_readouts=runs.past_readouts,
            past_failures=past_failures,
        )

    def to_dict(self) -> dict[str, Any]:
        """As JSON can carry it."""
        return asdict(self)


@dataclass(frozen=True, slots=True, eq=False)
class ReceivedHits:
    """Valid hits, perhaps received before. `past`: they were asked for. `size_bytes`: on the wire."""

    header: Header
    key: RunPass
    sequence: SequenceStep
    hits: HitArray
    size_bytes: int = 0
    past: bool = False

    @property
    def readouts(self) -> tuple[int, int]:
        """First and last readout (both included) that the hits are of."""
        assert self.header.readouts is not None  # noqa: S101 - `checked_hits` lets no other pass
        return self.header.readouts


@dataclass(frozen=True, slots=True, eq=False)
class ReceivedRun:
    """A valid message of a run's begin, gap or end, perhaps received before. `ledger`: that of the record, read."""

    header: Header
    key: RunPass
    sequence: SequenceStep
    body: RunEvent
    ledger: Ledger | None
    size_bytes: int = 0


OtherMessage = StatMessage | LogMessage | RawMessage | AlarmMessage
Received = ReceivedHits | ReceivedRun | OtherMessage


class MessageReader:
    """Reads messages as they come from one publisher and its successors, and counts them.

    A message that contradicts itself (hits outside its readouts, missing columns, not as many as announced) is
    malformed; `last_error` says what was wrong with the last one of these.
    """

    def __init__(self) -> None:
        self.sequence = SequenceTracker()
        self.messages: Counter[str] = Counter()
        self.malformed = 0
        self.last_error = ""

    def read(self, frames: list[bytes]) -> Received | None:
        """The message that these frames are, with what its number says; None, counted, where it is malformed."""
        try:
            message = decode_message(frames)
            body = _body(message)
            ledger = _ledger(body, message.topic)
        except MessageError as error:
            self.malformed += 1
            self.last_error = str(error)
            return None
        header = message.header
        publisher = Publisher(header.daq, header.pub)
        step = self.sequence.observe(message.topic.value, publisher, header.seq)
        self.messages[message.topic.value] += 1
        match body:
            case np.ndarray():
                key = RunPass.of(publisher, header.run, header.pass_)
                return ReceivedHits(header, key, step, body, len(message.payload))
            case RunEvent():
                key = RunPass.of(publisher, header.run, header.pass_)
                return ReceivedRun(header, key, step, body, ledger, len(message.payload))
            case Stat():
                return StatMessage(header, step, body, ledger)
            case LogLine():
                return LogMessage(header, step, body)
            case Alarms():
                return AlarmMessage(header, step, body.alarms)
        return RawMessage(header, step, body)


def _body(message: Message) -> HitArray | Stat | RunEvent | LogLine | Alarms | bytes:
    """A message's payload, read in whole; `MessageError` where it is nonsense."""
    match message.topic:
        case Topic.HITS:
            return checked_hits(message.hits(), message.header)
        case Topic.STAT:
            return message.stat()
        case Topic.RUN:
            return message.run()
        case Topic.LOG:
            return message.log()
        case Topic.ALARM:
            return message.alarms()
        case Topic.RAW:
            return message.payload


def _ledger(body: object, topic: Topic) -> Ledger | None:
    counts = body.ledger if isinstance(body, Stat) else body.record.ledger if isinstance(body, RunEvent) else None
    try:
        return None if counts is None else Ledger.from_dict(counts)
    except (ValueError, TypeError) as error:
        raise MessageError(f"{topic} message: {error}") from None


def checked_hits(hits: HitArray, header: Header) -> HitArray:
    """`hits`, if they can be what `header` says they are; else `MessageError`."""
    if header.readouts is None:
        raise MessageError("hits message: readouts are needed")
    first, last = header.readouts
    if not 0 <= first <= last <= MAX_READOUT_ID:
        raise MessageError(f"hits message: readouts {first} to {last} cannot be")
    if hits.dtype != HIT_DTYPE and (missing := missing_column(hits.dtype)):
        raise MessageError(f"hits message: no column {missing}")
    # The end of a run may add a hit to a readout before `first`, but nothing comes from a readout not yet consumed.
    if len(hits) and (highest := int(hits["readout_id"].max())) > last:
        raise MessageError(f"hits message: a hit of readout {highest}, beyond the last, {last}")
    return hits


class RunFollower(RunTracker):
    """Follows the run that is on the stream, message by message, in the order of readouts; leaves out repeated hits.

    `received_hits`: so far; `past_hits`, `past_readouts`: those of them that were asked for.
    """

    def __init__(self) -> None:
        super().__init__()
        self.received_hits = 0
        self.past_hits = 0
        self.past_readouts = 0

    def event(self, received: ReceivedHits | ReceivedRun) -> HitBatch | RunMessage:
        """The next event."""
        step = received.sequence
        if isinstance(received, ReceivedRun):
            body = received.body
            epoch = self.run_event(received.key, body.record.begin_ns, begins=body.event == "begin")
            return RunMessage(received.header, step, body, received.ledger, epoch)
        gap = step.missed > 0 and not step.reconnected
        hits = self.hits(received.key, *received.readouts, received.hits, gap=gap)
        self.received_hits += len(hits.hits)
        if received.past:
            self.past_hits += len(hits.hits)
            self.past_readouts += hits.new_readouts
        return HitBatch(received.header, step, hits, received.past)
