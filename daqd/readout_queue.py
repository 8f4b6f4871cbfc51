"""The bounded queue between the reader and the writer."""

import threading
import time
from collections import deque

from daqd.boards.board import RawReadout


class ReadoutQueue:
    """Readouts in order, from one reader to one writer; bounded in bytes of their data.

    Nothing that was put is ever dropped: `put` takes the readout in any case and says whether there is room for
    another, so that the reader stops with nothing in its hands.
    """

    def __init__(self, limit_bytes: int) -> None:
        self.limit_bytes = limit_bytes
        self._readouts: deque[RawReadout] = deque()
        self._size_bytes = 0
        self._high_water_bytes = 0
        self._closed = False
        self._woken = False
        self._refusing = False
        self._change = threading.Condition()

    @property
    def size_bytes(self) -> int:
        """Data waiting now."""
        return self._size_bytes

    @property
    def high_water_bytes(self) -> int:
        """The most data that ever waited."""
        return self._high_water_bytes

    def put(self, readout: RawReadout) -> bool:
        """Append; False when the queue is now full and the next readout would have no place."""
        with self._change:
            self._readouts.append(readout)
            self._size_bytes += len(readout.data)
            self._high_water_bytes = max(self._high_water_bytes, self._size_bytes)
            self._change.notify()
            return self._size_bytes < self.limit_bytes and not self._refusing

    def take_all(self, timeout_s: float) -> list[RawReadout] | None:
        """Everything that waits, after waiting `timeout_s` at most for something; None once closed and empty."""
        deadline = time.monotonic() + timeout_s
        with self._change:
            while not (self._readouts or self._closed or self._woken):
                left = deadline - time.monotonic()
                if left <= 0 or not self._change.wait(left):
                    break
            self._woken = False
            if self._closed and not self._readouts:
                return None
            taken = list(self._readouts)
            self._readouts.clear()
            self._size_bytes = 0
            return taken

    def wake(self) -> None:
        """Let `take_all` return now."""
        with self._change:
            self._woken = True
            self._change.notify()

    def refuse(self) -> None:
        """From now on say that there is no room: what takes the readouts cannot keep them."""
        self._refusing = True

    @property
    def refusing(self) -> bool:
        """Whether that was said: there is no point in reading on."""
        return self._refusing

    def close(self) -> None:
        """No more readouts will come."""
        with self._change:
            self._closed = True
            self._change.notify()
