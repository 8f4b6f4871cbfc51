"""The seam between an emulated board and what carries its bytes, and the cable between them."""

import threading
import time
from abc import ABC, abstractmethod
from collections.abc import Callable


class BoardModel(ABC):
    """A board at byte level. It speaks only when asked: what it has to say is the answer to what it is sent."""

    answering_until: float = 0.0
    """Until when, on the board's clock, the board is busy with its last answer; it is not complete before."""

    def connect_at(self, baud: int) -> None:  # noqa: B027 - most boards do not care
        """The board is on a UART at `baud` bits/s; 0: on a link as fast as it gets."""

    @abstractmethod
    def exchange(self, data: bytes) -> bytes:
        """Act on `data` from the host, in any pieces; returns the answers to the reads that it completed."""

    def fetched(self, count: int) -> None:  # noqa: B027 - not every board cares
        """Called when the host has taken `count` more bytes of the answers, or they were thrown away on their way."""

    @abstractmethod
    def power_up(self) -> None:
        """The state after power was switched on. What the chips see goes on where it was."""

    @property
    @abstractmethod
    def exhausted(self) -> bool:
        """Whether the board will never have data any more, and everything it had was read."""

    @property
    @abstractmethod
    def counters(self) -> dict[str, int]:
        """What the emulated board counts, for the status; the names begin with `emulator_`."""


class Cable:
    """Says whether the board is connected, and wakes whoever waits when it is not any more.

    Putting it back in starts the board from power-up. `every_s`: seconds from a connection being used to the cable
    being pulled out by itself, 0 for never; `for_s`: seconds until it is back. Any thread may use it. `clock`: seconds,
    monotonic.
    """

    def __init__(
        self,
        board: BoardModel,
        every_s: float = 0.0,
        for_s: float = 1.0,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._board = board
        self._every_s = every_s
        self._for_s = for_s
        self._clock = clock
        self._lock = threading.Lock()
        self._out = threading.Event()
        self._used_since: float | None = None
        self._back_at: float | None = None
        self.on_change: list[Callable[[], None]] = []
        """Called when it was pulled out or put back in by hand."""
        self.plug = 1
        """Number of the present connection, counted up with each: what was opened in an earlier one is gone."""

    @property
    def plugged(self) -> bool:
        """Whether it is in."""
        if self._every_s:
            self._obey_the_clock()
        return not self._out.is_set()

    def unplug(self) -> None:
        """Pull it out."""
        with self._lock:
            self._pull_out(None)
        self._tell()

    def plug_in(self) -> None:
        """Put it back in: the board starts from power-up."""
        with self._lock:
            self._put_in()
        self._tell()

    @property
    def moves_by_itself(self) -> bool:
        """Whether `plugged` may change without anybody doing anything."""
        return self._every_s > 0

    def wait(self, seconds: float) -> None:
        """Let time pass; ends early when the cable is pulled out by hand."""
        self._out.wait(seconds)

    def _tell(self) -> None:
        for tell in self.on_change:
            tell()

    def _obey_the_clock(self) -> None:
        with self._lock:
            now = self._clock()
            if self._out.is_set():
                if self._back_at is not None and now >= self._back_at:
                    self._put_in()
            elif self._used_since is None:
                self._used_since = now
            elif now - self._used_since >= self._every_s:
                self._pull_out(now + self._for_s)

    def _pull_out(self, back_at: float | None) -> None:
        self._back_at = back_at
        self._used_since = None
        self._out.set()

    def _put_in(self) -> None:
        if self._out.is_set():
            self._board.power_up()
            self.plug += 1
        self._used_since = self._back_at = None
        self._out.clear()
