"""The daemon's end of a child's standard input."""

import os
import sys
import threading
from contextlib import suppress


class ChildInput:
    """Lines to a child, from any thread; whoever sends never waits.

    A child that does not read misses lines: it gets each one whole or not at all. `reading` is the child's end, to be
    closed here by `hand_over` once the child has it. The child's input ends with `close`.
    """

    def __init__(self) -> None:
        self.reading, self._writing = os.pipe()
        if sys.platform != "win32":  # pipes of Windows always block; the child has a thread there that reads
            os.set_blocking(self._writing, False)
        self._lock = threading.Lock()
        self._closed = False
        self._rest = b""
        """Of a line that has begun and found no more room."""

    def hand_over(self) -> None:
        """The child has its end, or will never have it."""
        os.close(self.reading)

    def send(self, line: bytes) -> None:
        """Send a line, newline included, if there is room for it and somebody to read it."""
        with self._lock, suppress(BlockingIOError, BrokenPipeError):
            if self._closed:
                return
            if self._rest:
                self._rest = self._rest[os.write(self._writing, self._rest) :]
            if not self._rest:
                self._rest = line[os.write(self._writing, line) :]

    def close(self) -> None:
        """Nothing more will come. May be called twice."""
        with self._lock:
            if not self._closed:
                self._closed = True
                os.close(self._writing)
