"""What all boards behind a link have in common: the order of `open`, `configure` and `start`, failures, and the end."""

from abc import abstractmethod
from collections.abc import Callable, Collection, Generator
from contextlib import suppress
from typing import Any, TypeVar

from daqd.boards.board import Board
from daqd.boards.dialogue import Dialogue, RegisterFile, Request
from daqd.errors import BoardError
from daqd.transports.link import Link
from protocol.registers.steps import Pause

Result = TypeVar("Result")
Reading = Callable[[], Generator[Any, bytes, int]]
"""Begins a sequence of steps, in the board's own register protocol, that gives the value of a register."""


class LinkedBoard(Board):
    """A board behind `link`; `name`: for people; `sleep` (seconds), `registers`: as of `Dialogue`."""

    def __init__(self, link: Link, name: str, sleep: Callable[[float], object], registers: RegisterFile) -> None:
        self.link = link
        self.name = name
        self._dialogue = Dialogue(link, name, sleep, registers)
        self._opened = False
        self._configured = False
        self._running = False
        self._stop_failed = False

    @abstractmethod
    def _safe_steps(self) -> Generator[Request | Pause, bytes, None]:
        """Injection off, chips held: without a question, for a board that may not answer any more."""

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

    def _run(self, steps: Generator[Request | Pause, bytes, Result]) -> Result:
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
