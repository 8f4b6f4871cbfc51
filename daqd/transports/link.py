"""The seam between a board's driver and whatever carries its bytes."""

import time
from abc import ABC, abstractmethod
from collections.abc import Callable

from daqd.errors import BoardError, BoardLost, LinkTimeout


class Link(ABC):
    """A stream of bytes to a board and back. Made closed; `open` connects, also again after a loss.

    For one thread at a time. What fails raises a `BoardError`: `BoardLost` where the link is gone, `LinkTimeout` where
    it is there but silent.
    """

    name: str
    """What a person would call it: transport, and device where there is one."""

    why: str = ""
    """What the next `write` is for, in words. Nothing depends on it; traces show it."""

    register_name: Callable[[int], str] = hex
    """What a person would call the register at an address. Nothing depends on it; traces show it."""

    @abstractmethod
    def open(self) -> None:
        """Find the board and connect; nothing that an earlier connection left behind is read. `BoardLost` if absent."""

    @abstractmethod
    def write(self, data: bytes) -> None:
        """Send all of `data`."""

    @abstractmethod
    def read(self, length: int, timeout_s: float, under_way: int = 0) -> bytes:
        """Exactly `length` bytes.

        `under_way`: bytes of further answers that the board was already asked for; a link that fetches in large pieces
        may fetch them along, and gives them to the next calls.

        Raises `LinkTimeout` where fewer came within `timeout_s` seconds; what did come is in its `partial` and is not
        read again.
        """

    def pending(self) -> bytes:
        """What has arrived without having been read, as far as that can be known without waiting; it is read now."""
        return b""

    @abstractmethod
    def close(self) -> None:
        """Disconnect; never raises, and does nothing on a closed link."""

    @property
    def exhausted(self) -> bool:
        """True once it is certain that no data will come any more, as after a recording has been played."""
        return False

    @property
    def counters(self) -> dict[str, int]:
        """What the link itself counts, for the status."""
        return {}


DRAIN_TIMEOUT_S = 2.0
"""An answer that an earlier connection asked for has come to its end by then."""


class BufferedLink(Link):
    """Keeps what was received until somebody reads it. Others implement `_receive`.

    What came before the link was lost is still given, as an answer in part; the next read reports the loss.
    `clock`: seconds, monotonic.
    """

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._received = bytearray()
        self._lost: BoardLost | None = None

    @abstractmethod
    def _receive(self, missing: int, under_way: int, wait_s: float) -> bool:
        """Append to `_received` what the board has sent: best `missing` bytes, at most those and `under_way`.

        Waits up to about `wait_s` seconds for it. Returns whether there was any. Raises `BoardLost`.
        """

    def read(self, length: int, timeout_s: float, under_way: int = 0) -> bytes:
        """Exactly `length` bytes."""
        received = self._received
        if len(received) < length:
            try:
                self._fetch(length, self._clock() + timeout_s, under_way)
            except BoardLost as error:
                if not received:
                    raise
                self._lost = error
            if len(received) < length:
                partial = bytes(received)
                received.clear()
                raise LinkTimeout(f"{self.name}: {len(partial)} of {length} bytes within {timeout_s:g} s", partial)
        data = bytes(memoryview(received)[:length])
        del received[:length]
        return data

    def pending(self) -> bytes:
        """What has been received without having been read."""
        data = bytes(self._received)
        self._received.clear()
        return data

    def _fetch(self, length: int, deadline: float, under_way: int) -> None:
        """Receive until there are `length` bytes, or nothing comes until `deadline`."""
        if self._lost is not None:
            raise self._lost
        left = deadline - self._clock()
        while (missing := length - len(self._received)) > 0:
            came = self._receive(missing, under_way, max(left, 0.0))
            left = deadline - self._clock()
            if left <= 0 and not came:
                return

    def _begin_anew(self, quiet_s: float) -> None:
        """Forget what an earlier connection left, also what the board still sends for it: until `quiet_s` of silence.

        Raises `BoardError` where it does not end, `BoardLost`.
        """
        self._lost = None
        self._received.clear()
        deadline = self._clock() + DRAIN_TIMEOUT_S
        while self._receive(1 << 16, 0, quiet_s):
            if self._clock() > deadline:
                raise BoardError(f"{self.name} sends without being asked: power the board off and on")
        self._received.clear()
