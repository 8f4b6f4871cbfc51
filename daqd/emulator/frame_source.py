"""The seam between the emulated A-STEP board and what its chips have to say."""

from abc import ABC, abstractmethod
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from protocol.layer_scan import FrameLayout


@dataclass(frozen=True)
class SentFrames:
    """Consecutive frames, or other pieces that stay whole. `data`: their bytes; `ends` (n,): where in it each ends.

    `layers` (n,): from 0. `good`, `wrong`: how many frames of the right and of a wrong length are among the bytes, per
    layer.
    """

    data: bytes
    ends: npt.NDArray[np.int64]
    layers: npt.NDArray[np.int64]
    good: tuple[int, ...]
    wrong: tuple[int, ...]

    def __len__(self) -> int:
        return len(self.ends)


class FrameSource(ABC):
    """Frames that come from the layers. Time is what the board has spent taking data, not the time of day.

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

    @property
    @abstractmethod
    def exhausted(self) -> bool:
        """Whether nothing will come any more."""

    @property
    @abstractmethod
    def counters(self) -> dict[str, int]:
        """What the source counts, for the status."""
