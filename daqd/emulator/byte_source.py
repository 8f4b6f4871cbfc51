"""The seam between the emulated board and what its chips have to say."""

from abc import ABC, abstractmethod
from enum import Enum, auto


class Delivery(Enum):
    """How bytes of a source get into the FIFO of the board."""

    SPI = auto()
    """At the pace of SPI, in its words, as on a real board."""
    FLOOD = auto()
    """As fast as they are read: the FIFO is all but full whenever it is looked at. No real board does that."""
    READOUTS = auto()
    """Whole readouts at once, as they are, whatever the size of the FIFO: recorded ones, or those of a test."""


class ByteSource(ABC):
    """Bytes that come from the chips. Time is what the board has spent taking data, not the time of day."""

    delivery = Delivery.SPI

    @abstractmethod
    def take(self, elapsed_s: float, room: int, waiting: int) -> bytes:
        """What the chips send now: at most `room` bytes, but for readouts, which come whole.

        `elapsed_s`: seconds of taking data so far. `waiting`: bytes in the FIFO that the host has not read.
        """

    def abandon(self) -> bytes:
        """The rest of a hit of which the first bytes were taken: it will not be sent any more."""
        return b""

    @property
    @abstractmethod
    def exhausted(self) -> bool:
        """Whether nothing will come any more."""

    @property
    @abstractmethod
    def counters(self) -> dict[str, int]:
        """What the source counts, for the status."""
