"""The seam between the emulated board and what its chips have to say."""

from abc import ABC, abstractmethod


class ByteSource(ABC):
    """Bytes that come from the chips. Time is what the board has spent taking data, not the time of day."""

    @abstractmethod
    def take(self, elapsed_s: float, room: int, waiting: int) -> bytes:
        """What the chips send now.

        `elapsed_s`: seconds of taking data so far. `room`: bytes the FIFO has room for; more may be returned, and is
        lost there. `waiting`: bytes in the FIFO that the host has not read.
        """

    @property
    @abstractmethod
    def exhausted(self) -> bool:
        """Whether nothing will come any more."""

    @property
    @abstractmethod
    def counters(self) -> dict[str, int]:
        """What the source counts, for the status."""
