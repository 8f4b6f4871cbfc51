"""The cable between the host and an emulated board: pulled out and put back in, by hand or by the clock."""

import threading
import time
from collections.abc import Callable

from daqd.emulator.board_model import BoardModel


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
