"""A link to an emulated board in this process."""

import time
from collections import deque
from collections.abc import Callable

from daqd.emulator.board_model import BoardModel, Cable
from daqd.emulator.stream_device import StreamDevice
from daqd.errors import BoardError, BoardLost, LinkTimeout
from daqd.transports.link import Link


class EmulatedLink(Link):
    """Carries bytes to `model` and its answers back, each `latency_s` seconds after the request for it.

    While `cable` is pulled out, from any thread, whatever is going on ends in `BoardLost`. When it is plugged in again,
    `open` finds the board, fresh from power-up.

    `clock` (seconds, monotonic) and `sleep` (seconds) are there for tests to bring their own.
    """

    def __init__(
        self,
        model: BoardModel,
        latency_s: float = 0.0,
        clock: Callable[[], float] = time.monotonic,
        sleep: Callable[[float], object] | None = None,
        cable: Cable | None = None,
    ) -> None:
        self.model = model
        self.name = "emulated"
        self.cable = cable or Cable(model)
        self._latency_s = latency_s
        self._clock = clock
        self._sleep = sleep or self.cable.wait
        self._answers: deque[tuple[float, bytes]] = deque()
        self._arrived = bytearray()
        self._plug = 0

    def open(self) -> None:
        """Connect; `BoardLost` while the cable is out."""
        if not self.cable.plugged:
            raise BoardLost("no emulated board: its cable is out; plug it in again")
        self.model.fetched(sum(len(answer) for _, answer in self._answers) + len(self._arrived))
        self._answers.clear()
        self._arrived.clear()
        self._plug = self.cable.plug

    def write(self, data: bytes) -> None:
        """Let the board act on `data`."""
        self._check()
        answer = self.model.exchange(data)
        if answer:
            self._answers.append((max(self._clock() + self._latency_s, self.model.answering_until), answer))

    def read(self, length: int, timeout_s: float, under_way: int = 0) -> bytes:
        """Exactly `length` bytes of the board's answers."""
        deadline = self._clock() + timeout_s
        while True:
            self._check()
            now = self._clock()
            if (
                not self._arrived
                and self._answers
                and len(self._answers[0][1]) == length
                and self._answers[0][0] <= now
            ):
                self.model.fetched(length)
                return self._answers.popleft()[1]
            while self._answers and self._answers[0][0] <= now:
                self._arrived += self._answers.popleft()[1]
            if len(self._arrived) >= length:
                data = bytes(self._arrived[:length])
                del self._arrived[:length]
                self.model.fetched(length)
                return data
            if now >= deadline:
                partial = bytes(self._arrived)
                self._arrived.clear()
                self.model.fetched(len(partial))
                raise LinkTimeout(f"emulated: {len(partial)} of {length} bytes within {timeout_s:g} s", partial)
            self._sleep(min(deadline, self._answers[0][0] if self._answers else deadline) - now)

    def pending(self) -> bytes:
        """What has arrived without having been read."""
        self._check()
        while self._answers and self._answers[0][0] <= self._clock():
            self._arrived += self._answers.popleft()[1]
        data = bytes(self._arrived)
        self._arrived.clear()
        self.model.fetched(len(data))
        return data

    def close(self) -> None:
        """Disconnect."""
        self._plug = 0

    def _check(self) -> None:
        if not self.cable.plugged:
            raise BoardLost("the emulated board is gone: its cable is out; plug it in again")
        if self._plug != self.cable.plug:
            raise BoardLost("the link to the emulated board is not open")

    @property
    def exhausted(self) -> bool:
        """Whether the board has nothing more to send, and nothing is on its way."""
        return self.model.exhausted and not self._answers and not self._arrived

    @property
    def counters(self) -> dict[str, int]:
        """What the emulated board counts."""
        return self.model.counters


class EmulatedDeviceLink(Link):
    """`link`, which leads to an emulated device that carries `board`: what the board counts is known here, too.

    `device`, where one has to be served, is from `open` to `close`.
    """

    def __init__(self, name: str, link: Link, board: BoardModel, device: StreamDevice | None = None) -> None:
        self.name = name
        self._link = link
        self._board = board
        self._device = device

    def open(self) -> None:
        """Find the device and connect."""
        try:
            if self._device is not None:
                self._device.start()
            self._link.open()
        except BaseException as error:
            self.close()
            if isinstance(error, OSError) and not isinstance(error, BoardError):
                raise BoardError(f"{self.name}: the emulated device cannot be served: {error}") from error
            raise

    def write(self, data: bytes) -> None:
        """Send all of `data`."""
        self._link.write(data)

    def read(self, length: int, timeout_s: float, under_way: int = 0) -> bytes:
        """Exactly `length` bytes."""
        return self._link.read(length, timeout_s, under_way)

    def pending(self) -> bytes:
        """What has arrived without having been read."""
        return self._link.pending()

    def close(self) -> None:
        """Disconnect."""
        self._link.close()
        if self._device is not None:
            self._device.close()

    @property
    def exhausted(self) -> bool:
        """Whether the board has nothing more to send."""
        return self._board.exhausted

    @property
    def counters(self) -> dict[str, int]:
        """What link and emulated board count."""
        return {**self._link.counters, **self._board.counters}
