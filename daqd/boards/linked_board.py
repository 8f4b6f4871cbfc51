"""What all boards behind a link have in common: the order of `open`, `configure` and `start`, and the end."""

from contextlib import suppress

from daqd.boards.board import Board
from daqd.errors import BoardError
from daqd.transports.link import Link


class LinkedBoard(Board):
    """A board behind `link`; `name`: for people."""

    def __init__(self, link: Link, name: str) -> None:
        self.link = link
        self.name = name
        self._opened = False
        self._configured = False
        self._running = False

    def close(self) -> None:
        """Stop if running, disconnect."""
        with suppress(BoardError):
            self.stop()
        self.link.close()
        self._opened = self._configured = self._running = False

    def _require(self, condition: bool, state: str) -> None:
        if not condition:
            raise BoardError(f"{self.name} is not {state}: open(), configure() and start() come in that order")
