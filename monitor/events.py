"""What comes out of a stream: one typed object for each message, with what its numbering said."""

from dataclasses import dataclass
from typing import ClassVar

from monitor.continuity import HitArray, HitsStep, SequenceStep
from protocol.ledger import Ledger
from protocol.wire.alarms import Alarm
from protocol.wire.messages import Header, LogLine, RunEvent, Stat, Topic


@dataclass(frozen=True, slots=True, eq=False)
class _Message:
    """A message of a stream. `header`: as it came; `sequence`: what its number said."""

    topic: ClassVar[Topic]

    header: Header
    sequence: SequenceStep


@dataclass(frozen=True, slots=True, eq=False)
class HitBatch(_Message):
    """One message of hits, those received before left out.

    `hits`: structured array (n,) of the columns as published (`protocol.HIT_DTYPE`, perhaps more), read-only where
    nothing was left out; n may be 0. `step` says which readouts are new, and what is missing before them. `past`: it
    was asked for, because we came late or had missed it; its header is made up, but for run, readouts and columns.
    """

    topic: ClassVar[Topic] = Topic.HITS

    step: HitsStep
    past: bool = False

    @property
    def hits(self) -> HitArray:
        """The hits not seen before, in order."""
        return self.step.hits

    @property
    def run(self) -> int | None:
        """Number of the run."""
        return self.header.run

    @property
    def pass_(self) -> int:
        """0 live; in a replay the pass through the files, from 1."""
        return self.header.pass_

    @property
    def readouts(self) -> tuple[int, int]:
        """First and last readout (both included) that the message covers, also those without hits."""
        assert self.header.readouts is not None  # noqa: S101 - the client lets no other pass
        return self.header.readouts

    @property
    def epoch(self) -> int:
        """Number of the pass over a run that this client has seen, from 1; another one means: begin histograms anew."""
        return self.step.epoch


@dataclass(frozen=True, slots=True, eq=False)
class StatMessage(_Message):
    """The daemon's state; `ledger` is the one in it, read."""

    topic: ClassVar[Topic] = Topic.STAT

    stat: Stat
    ledger: Ledger | None


@dataclass(frozen=True, slots=True, eq=False)
class RunMessage(_Message):
    """Begin or end of a run, or a gap in it; `epoch` as in `HitBatch`. `ledger` is that of the record, read."""

    topic: ClassVar[Topic] = Topic.RUN

    body: RunEvent
    ledger: Ledger | None
    epoch: int


@dataclass(frozen=True, slots=True, eq=False)
class LogMessage(_Message):
    """A line that the operator should read."""

    topic: ClassVar[Topic] = Topic.LOG

    line: LogLine


@dataclass(frozen=True, slots=True, eq=False)
class RawMessage(_Message):
    """Readout records as in the file; only for who asked for that topic."""

    topic: ClassVar[Topic] = Topic.RAW

    payload: bytes


@dataclass(frozen=True, slots=True, eq=False)
class AlarmMessage(_Message):
    """All alarms there are, from a sanity checker's own stream; only for who asked for that topic."""

    topic: ClassVar[Topic] = Topic.ALARM

    alarms: tuple[Alarm, ...]


Event = HitBatch | StatMessage | RunMessage | LogMessage | RawMessage | AlarmMessage
