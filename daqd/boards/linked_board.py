"""What all boards behind a link have in common: the order of `open`, `configure` and `start`, failures, and the end."""

from abc import abstractmethod
from collections.abc import Callable, Collection, Generator, Mapping
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

    @property
    @abstractmethod
    def firmware_name(self) -> str:
        """The firmware that answered at `open`, for people; empty before."""

    @abstractmethod
    def _register_requests(self) -> dict[str, Request]:
        """A request for each register that can be read without taking data from the board, by the register's name."""

    def read_registers(self, names: Collection[str] | None = None) -> dict[str, int]:
        """Values of the registers `names`, or of all that can be read without taking data, on an open, idle board."""
        self._require(self._opened and not self._running, "open and stopped")
        requests = self._register_requests()
        return self._dialogue.run(_values({name: requests[name] for name in names or requests}))

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


def _values(requests: Mapping[str, Request]) -> Generator[Request | Pause, bytes, dict[str, int]]:
    values = {}
    for name, request in requests.items():
        answer = yield request
        values[name] = int.from_bytes(answer, "little")
    return values
