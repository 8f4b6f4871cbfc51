"""What all boards behind a link have in common: the order of `open`, `configure` and `start`, failures, and the end."""

import logging
import time
from abc import abstractmethod
from collections import deque
from collections.abc import Callable, Collection, Generator
from contextlib import suppress
from typing import Any, ClassVar, TypeVar

from daqd.boards.board import Board, BoardStatus, RawReadout
from daqd.boards.dialogue import Dialogue
from daqd.configuration.config import BoardSection
from daqd.errors import BoardError
from protocol.chips.chip_setup import ChipSetup
from protocol.registers.steps import Pause, RegisterRequest
from protocol.text import counted

Result = TypeVar("Result")
Reading = Callable[[], Generator[Any, bytes, int]]
"""Begins a sequence of steps, in the board's own register protocol, that gives the value of a register."""


class ReadoutBuffer:
    """Readouts that came and nobody has taken yet, and counters of all that came. `now_ns`: ns since the epoch."""

    def __init__(self, now_ns: Callable[[], int]) -> None:
        self._now_ns = now_ns
        self._ready: deque[RawReadout] = deque()
        self.polls = 0
        self.readouts = 0
        self.read_bytes = 0
        self.short_readouts = 0

    def take_kept(self) -> RawReadout | None:
        """One readout that was read already; the board is not asked."""
        return self._ready.popleft() if self._ready else None

    @property
    def counters(self) -> dict[str, int]:
        """Questions and readouts so far, for the status."""
        names = ("polls", "readouts", "read_bytes", "short_readouts")
        return {name: getattr(self, name) for name in names}

    def _stamp(self, data: bytes) -> RawReadout:
        readout = RawReadout(data, self._now_ns())
        self.readouts += 1
        self.read_bytes += len(data)
        return readout


class LinkedBoard(Board):
    """A board behind the link of `dialogue`. A driver says what to send; the order is here.

    `clock` (seconds, monotonic) and `sleep` (seconds) are there for tests to bring their own.
    """

    kind: ClassVar[str]

    def __init__(
        self,
        dialogue: Dialogue,
        config: BoardSection,
        clock: Callable[[], float] = time.monotonic,
        sleep: Callable[[float], object] = time.sleep,
    ) -> None:
        self.readout_class = config.readout_class
        self.link = dialogue.link
        self.name = dialogue.name
        self._dialogue = dialogue
        self._clock = clock
        self._sleep = sleep
        self._poll_interval_s = config.poll_interval_ms / 1000
        self._log = logging.getLogger(type(self).__module__)
        self._setup: ChipSetup | None = None
        self._opened = False
        self._configured = False
        self._running = False
        self._stop_failed = False

    @abstractmethod
    def _begin(self) -> None:
        """See on the open link which firmware answers, and bring it into a known state."""

    @abstractmethod
    def _configure(self, setup: ChipSetup | None) -> None:
        """Bring the board, which does not run, into the state of `setup`."""

    @abstractmethod
    def _start(self) -> None:
        """Let the board, which is configured, send data."""

    @abstractmethod
    def _stop(self) -> None:
        """Stop the board, and see that it has stopped."""

    @abstractmethod
    def _safe_steps(self) -> Generator[RegisterRequest | Pause, bytes, None]:
        """Injection off, chips held: without a question, for a board that may not answer any more."""

    @property
    @abstractmethod
    def _idle(self) -> bool:
        """Whether the driver holds no readout and waits for none."""

    @property
    @abstractmethod
    def _counters(self) -> dict[str, int]:
        """What driver and board count."""

    @property
    @abstractmethod
    def firmware_name(self) -> str:
        """The firmware that answered at `open`, for people; empty before."""

    @abstractmethod
    def _register_readings(self) -> dict[str, Reading]:
        """How to read each register that can be read without taking data from the board, by the register's name."""

    def _take(self, reading: Reading) -> int:
        return self._dialogue.run(reading())

    def read_registers(self, names: Collection[str] | None = None) -> dict[str, int]:
        """Values of the registers `names`, or of all that can be read without taking data, on an open, idle board."""
        self._require(self._opened and not self._running, "open and stopped")
        readings = self._register_readings()
        return {name: self._take(readings[name]) for name in names or readings}

    def open(self) -> None:
        """Connect, and see that the right firmware answers."""
        if self._opened:
            return
        self.link.open()
        try:
            self._begin()
        except BaseException:
            self.link.close()
            raise
        self._opened = True

    def configure(self, setup: ChipSetup | None = None) -> None:
        """Bring chips and cards into the state of `setup`; None resets the chips and sets nothing.

        Ends a running readout first.
        """
        self._require(self._opened, "open")
        setup = None if setup is None else self.possible(setup)
        self.stop()
        self._configured = False
        self._configure(setup)
        self._setup = setup
        self._configured = True
        what = "chips reset" if setup is None else f"{counted(len(setup.chips), 'chip')} configured"
        self._log.info("%s: %s", self.name, what)

    def start(self) -> None:
        """Let the chips send data, from an empty FIFO on."""
        self._require(self._configured, "configured")
        if self._running:
            return
        self._start()
        self._running, self._stop_failed = True, False
        self._log.info("%s sends data", self.name)

    def stop(self) -> None:
        """Injection off, chips held; the board's FIFO keeps what it holds for `read_readout`."""
        if not self._running:
            return
        self._running = False
        try:
            self._stop()
        except BoardError:
            self._stop_failed = True
            self._make_safe()
            raise
        self._log.info("%s stopped", self.name)

    def status(self) -> BoardStatus:
        """What has been counted so far."""
        return BoardStatus(
            kind=self.kind,
            transport=self.link.name,
            connected=self._opened,
            running=self._running,
            exhausted=self.link.exhausted and self._idle,
            counters={**self._counters, **self.link.counters},
        )

    def _run(self, steps: Generator[RegisterRequest | Pause, bytes, Result]) -> Result:
        """Carry out `steps`; after a failure, whatever it is, the board is made safe."""
        try:
            return self._dialogue.run(steps)
        except BaseException:
            self._make_safe()
            raise

    def _make_safe(self) -> None:
        """The same as `stop`, as far as the board can be reached, and without asking it anything."""
        with suppress(BoardError):
            self._dialogue.run(self._safe_steps())

    def close(self) -> None:
        """Stop if running, disconnect."""
        with suppress(BoardError):
            self.stop()
        self.link.close()
        self._opened = self._configured = self._running = False

    def _require(self, condition: bool, state: str) -> None:
        if not condition:
            raise BoardError(f"{self.name} is not {state}: open(), configure() and start() come in that order")
