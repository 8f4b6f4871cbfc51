"""What all boards behind a link have in common: the order of `open`, `configure` and `start`, failures, and the end."""

from abc import abstractmethod
from collections.abc import Callable, Generator
from contextlib import suppress
from typing import TypeVar

from daqd.boards.board import Board
from daqd.boards.dialogue import Dialogue, RegisterFile, Request
from daqd.errors import BoardError
from daqd.transports.link import Link
from protocol.registers.steps import Pause

Result = TypeVar("Result")


class LinkedBoard(Board):
    """A board behind `link`; `name`: for people; `sleep` (seconds), `registers`: as of `Dialogue`."""

    def __init__(self, link: Link, name: str, sleep: Callable[[float], object], registers: RegisterFile) -> None:
        self.link = link
        self.name = name
        self._dialogue = Dialogue(link, name, sleep, registers)
        self._opened = False
        self._configured = False
        self._running = False

    @abstractmethod
    def _safe_steps(self) -> Generator[Request | Pause, bytes, None]:
        """Injection off, chips held: without a question, for a board that may not answer any more."""

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
