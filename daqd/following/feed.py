"""What the publisher is fed with: the events of runs, from files that grow or from finished ones."""

from abc import ABC, abstractmethod
from dataclasses import dataclass

from protocol.block import ReadoutBlock
from protocol.run_record import RunRecord


@dataclass(frozen=True)
class RunBegan:
    """A run begins; its record as it is now. `resumed`: the publisher was in the middle of it and goes on."""

    record: RunRecord
    pass_: int = 0
    resumed: bool = False


@dataclass(frozen=True)
class ReadoutsRead:
    """Readouts of the run, in order, none left out."""

    block: ReadoutBlock


@dataclass(frozen=True)
class RunInterrupted:
    """The board was lost for a while; the run's record as it is now, with the gap."""

    record: RunRecord


@dataclass(frozen=True)
class RunEnded:
    """Nothing more of the run will come."""

    record: RunRecord


@dataclass(frozen=True)
class Complaint:
    """Something the operator should read: part of a file could not be read."""

    text: str


FeedEvent = RunBegan | ReadoutsRead | RunInterrupted | RunEnded | Complaint


class Feed(ABC):
    """A source of runs, asked again and again by one thread."""

    @abstractmethod
    def poll(self) -> list[FeedEvent]:
        """What has come since the last call, at most a bounded amount; empty for nothing. Never waits."""

    @abstractmethod
    def wait_s(self) -> float | None:
        """Seconds until it is worth polling again: 0 for now, None if something else has to happen first."""

    @property
    @abstractmethod
    def exhausted(self) -> bool:
        """Nothing will ever come again."""

    @abstractmethod
    def close(self) -> None:
        """Close what is open; nothing more is asked for."""

    @property
    def lag_bytes(self) -> int:
        """What is on disk and has not been given out."""
        return 0
