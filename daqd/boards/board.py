"""The seam between the acquisition and a board."""

from abc import ABC, abstractmethod
from dataclasses import dataclass
from typing import Any

from pydantic import BaseModel, ConfigDict

from protocol.chips.chip_setup import ChipSetup
from protocol.readout import AbstractAstroPixReadout
from protocol.readout_description import ReadoutDescription


@dataclass(frozen=True, slots=True)
class RawReadout:
    """One readout as the board sent it, padding included.

    `timestamp_ns`: host clock, ns since the epoch, taken once, right after the bytes were read.
    """

    data: bytes
    timestamp_ns: int


class BoardStatus(BaseModel):
    """What a board says of itself. `counters` are its own words for what it counts, since it was made; `readings`, of
    what it measures, with the unit at the end of the name.

    `warnings`: what is not as it should be, a line each, for as long as that lasts.
    `exhausted`: it is certain that no data will come any more (an emulated board at the end of its recording).
    """

    model_config = ConfigDict(frozen=True)

    kind: str
    transport: str
    connected: bool
    running: bool
    exhausted: bool
    counters: dict[str, int]
    readings: dict[str, float] = {}
    warnings: tuple[str, ...] = ()


class Board(ABC):
    """A board with its chips, from power-up to data: `open`, `configure`, `start`, `read_readout`…, `stop`, `close`.

    For one thread at a time; only `status` may be called from any thread. Everything that fails raises a `BoardError`
    and leaves the board as safe as it can be reached: `BoardLost` where the link is gone (then `close`, `open`,
    `configure`, `start` bring it back), others where the board is there and does not do what it should.
    """

    readout_class: type[AbstractAstroPixReadout]
    """How the readouts of this board are written to files and decoded."""

    @property
    @abstractmethod
    def description(self) -> ReadoutDescription:
        """What a decoder wants to know of these readouts, for file headers and run records."""

    @abstractmethod
    def open(self) -> None:
        """Connect and see that the right board answers; does nothing on an open board."""

    def possible(self, setup: ChipSetup) -> ChipSetup:
        """`setup` as this board, which is open, can be set to it: what is recorded as set was set.

        Sends nothing. `BoardSettingError` that names every setting that the board cannot be set to.
        """
        return setup

    @abstractmethod
    def configure(self, setup: ChipSetup | None = None) -> None:
        """Bring chips and cards into the state of `setup`, not sending data; None resets the chips and sets nothing.

        `start` may have to say all of it once more: a board keeps its `setup` until the next `configure`.
        """

    @abstractmethod
    def start(self) -> None:
        """Let the chips send data, from an empty FIFO on."""

    @abstractmethod
    def read_readout(self, timeout_s: float) -> RawReadout | None:
        """The next readout, or None where there was none within `timeout_s` seconds.

        Whatever bytes came are returned, also where they are fewer than a readout should have. After `stop` it gives
        what the board's FIFO still holds, then None; after a `stop` that failed, only what was read before, as the
        board may go on sending.
        """

    @abstractmethod
    def stop(self) -> None:
        """No new data; the board is left safe. Does nothing on a board that is not running."""

    @abstractmethod
    def close(self) -> None:
        """Stop if running, as far as the board can be reached, and disconnect; never raises."""

    def record(self) -> dict[str, Any]:
        """What is known of the board once it is configured, ready for JSON, for file headers and run records."""
        return {}

    @abstractmethod
    def status(self) -> BoardStatus:
        """How the board is, without asking it."""
