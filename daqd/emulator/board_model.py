"""What every emulated board is to the link that carries its bytes."""

from abc import ABC, abstractmethod


class BoardModel(ABC):
    """A board at byte level. It speaks only when asked: what it has to say is the answer to what it is sent."""

    answering_until: float = 0.0
    """Until when, on the board's clock, the board is busy with its last answer; it is not complete before."""

    def connect_at(self, baud: int) -> None:  # noqa: B027 - most boards do not care
        """The board is on a UART at `baud` bits/s; 0: on a link as fast as it gets."""

    @abstractmethod
    def exchange(self, data: bytes) -> bytes:
        """Act on `data` from the host, in any pieces; returns the answers to the reads that it completed."""

    def fetched(self, count: int) -> None:  # noqa: B027 - not every board cares
        """Called when the host has taken `count` more bytes of the answers, or they were thrown away on their way."""

    @abstractmethod
    def power_up(self) -> None:
        """The state after power was switched on. What the chips see goes on where it was."""

    @property
    @abstractmethod
    def exhausted(self) -> bool:
        """Whether the board will never have data any more, and everything it had was read."""

    @property
    @abstractmethod
    def counters(self) -> dict[str, int]:
        """What the emulated board counts, for the status; the names begin with `emulator_`."""
