"""The seams between the emulated boards and what their chips send: bytes (GECCO), or frames (A-STEP)."""

from abc import ABC, abstractmethod
from collections.abc import Iterator
from dataclasses import dataclass
from enum import Enum, auto

import numpy as np
import numpy.typing as npt

from protocol.layer_scan import FrameLayout


class HitDelivery(Enum):
    """How bytes of a source get into the FIFO of the board."""

    SPI = auto()
    """At the pace of SPI, in its words, as on a real board."""
    FLOOD = auto()
    """As fast as they are read: the FIFO is all but full whenever it is looked at. No real board does that."""
    READOUTS = auto()
    """Whole readouts at once, as they are, whatever the size of the FIFO: recorded ones, or those of a test."""


class HitSource(ABC):
    """What the chips send. Time is what the board has spent taking data, not the time of day."""

    @property
    @abstractmethod
    def exhausted(self) -> bool:
        """Whether nothing will come any more."""

    @property
    @abstractmethod
    def counters(self) -> dict[str, int]:
        """What the source counts, for the status."""


class ByteSource(HitSource):
    """Bytes that come from the chips."""

    delivery = HitDelivery.SPI

    @abstractmethod
    def take(self, elapsed_s: float, room: int, waiting: int) -> bytes:
        """What the chips send now: at most `room` bytes, but for readouts, which come whole.

        `elapsed_s`: seconds of taking data so far. `waiting`: bytes in the FIFO that the host has not read.
        """

    def abandon(self) -> bytes:
        """The rest of a hit of which the first bytes were taken: it will not be sent any more."""
        return b""


@dataclass(frozen=True)
class SentFrames:
    """Consecutive frames, or other pieces that stay whole. `data`: their bytes; `ends` (n,): where in it each ends.

    `layers` (n,): from 0. `good`: how many frames of the right length are among the bytes, per layer; `wrong`: how many
    of a wrong length the firmware has dropped. `arrival_ns` (n,): when the chips sent them, where that is known.
    """

    data: bytes
    ends: npt.NDArray[np.int64]
    layers: npt.NDArray[np.int64]
    good: tuple[int, ...]
    wrong: tuple[int, ...]
    arrival_ns: npt.NDArray[np.int64] | None = None

    def __len__(self) -> int:
        return len(self.ends)

    def piece(self, index: int) -> bytes:
        """The bytes of one of them."""
        return self.data[int(self.ends[index - 1]) if index else 0 : int(self.ends[index])]

    def only(self, kept: npt.NDArray[np.bool_]) -> "SentFrames":
        """Those that are `kept`; wrong frames are nobody's, and stay counted."""
        if kept.all():
            return self
        pieces = [self.piece(index) for index in np.flatnonzero(kept).tolist()]
        ends = np.cumsum([len(piece) for piece in pieces], dtype=np.int64)
        good = tuple(np.bincount(self.layers[kept], minlength=len(self.good)).tolist())
        arrival_ns = None if self.arrival_ns is None else self.arrival_ns[kept]
        return SentFrames(b"".join(pieces), ends, self.layers[kept], good, self.wrong, arrival_ns)


class FrameSource(HitSource):
    """Frames that come from the layers.

    `chip_version`: of the chips; `hit_bytes`: of a hit of theirs.
    """

    chip_version: int
    hit_bytes: int
    as_recorded = False
    """Whether it gives readouts, whose ends are where a host has cut them."""

    @abstractmethod
    def take(self, elapsed_s: float, room: int, layout: FrameLayout, waiting: int = 0) -> Iterator[SentFrames]:
        """What the layers send now.

        `elapsed_s`: seconds of taking data so far. `room`: bytes the FIFO has room for; more may be given, and is lost
        there. `waiting`: bytes in the FIFO that the host has not read.
        """
