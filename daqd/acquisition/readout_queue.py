"""The bounded queue between the reader and the writer."""

import math
import threading
import time
from abc import ABC, abstractmethod
from collections import deque

from daqd.boards.board import RawReadout

READOUT_COST_BYTES = 144
"""Memory that a waiting readout takes beside its data: 125 bytes for objects, time stamp and places, measured, and what
the allocator rounds up. Tiny readouts cost this and little else."""


def cost_bytes(readout: RawReadout) -> int:
    """Memory that a waiting readout takes."""
    return len(readout.data) + READOUT_COST_BYTES


class ReadoutQueue:
    """Readouts in order, from one reader to one writer; bounded in bytes of the memory that they take.

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
        self._enough_bytes: float = 1
        self._ripe_at = math.inf
        self._lock = threading.RLock()
        self._change = threading.Condition(self._lock)

    @property
    def size_bytes(self) -> int:
        """What waits now."""
        return self._size_bytes

    @property
    def high_water_bytes(self) -> int:
        """The most that ever waited."""
        return self._high_water_bytes

    def put(self, readout: RawReadout) -> bool:
        """Append; False when the queue is now full and the next readout would have no place."""
        with self._lock:
            self._readouts.append(readout)
            self._size_bytes += cost_bytes(readout)
            self._high_water_bytes = max(self._high_water_bytes, self._size_bytes)
            if self._size_bytes >= self._enough_bytes or time.monotonic() >= self._ripe_at:
                self._change.notify()
            return self._size_bytes < self.limit_bytes and not self._refusing

    def gather(self, seconds: float, enough_bytes: float, ripe_at: float = math.inf) -> bool:
        """Let readouts come for so long; True at once where there are `enough_bytes`, or it is closed or woken.

        True, too, with the first readout that comes at `ripe_at` (monotonic, in seconds) or later.
        """
        with self._lock:
            if self._size_bytes >= enough_bytes or self._closed or self._woken:
                return True
            self._enough_bytes, self._ripe_at = enough_bytes, ripe_at
            ended = self._change.wait(seconds)
            self._enough_bytes, self._ripe_at = 1, math.inf
            return ended

    def take(self, timeout_s: float, most_bytes: float = math.inf) -> list[RawReadout] | None:
        """What waits, after waiting `timeout_s` at most for something; None once closed and empty.

        Of more than `most_bytes`, the first so many, and at least one: the rest still counts as waiting.
        """
        deadline = time.monotonic() + timeout_s
        with self._lock:
            while not (self._readouts or self._closed or self._woken):
                left = deadline - time.monotonic()
                if left <= 0 or not self._change.wait(left):
                    break
            self._woken = False
            if self._closed and not self._readouts:
                return None
            if self._size_bytes <= most_bytes:
                taken = list(self._readouts)
                self._readouts.clear()
                self._size_bytes = 0
                return taken
            taken, size_bytes = [], 0
            while self._readouts and (not taken or size_bytes + cost_bytes(self._readouts[0]) <= most_bytes):
                taken.append(self._readouts.popleft())
                size_bytes += cost_bytes(taken[-1])
            self._size_bytes -= size_bytes
            return taken

    def wake(self) -> None:
        """Let `take` return now."""
        with self._lock:
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
        with self._lock:
            self._closed = True
            self._change.notify()


class Worker(ABC):
    """Does its work once, in a thread of its own, from `start` on."""

    def __init__(self, name: str) -> None:
        self._thread = threading.Thread(target=self._run, name=name)

    @abstractmethod
    def _run(self) -> None:
        """The work, in the thread."""

    def start(self) -> None:
        """Begin."""
        self._thread.start()

    def join(self, timeout_s: float) -> bool:
        """Wait for the end; False where it has not come in time."""
        self._thread.join(timeout_s)
        return not self._thread.is_alive()

    @property
    def is_alive(self) -> bool:
        """Whether it has begun and not ended."""
        return self._thread.is_alive()
