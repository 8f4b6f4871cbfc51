"""A plain subscriber: a SUB socket and nothing else."""

import threading
import time
from collections.abc import Callable, Iterable
from types import TracebackType
from typing import Self

import zmq

from protocol.wire.messages import Message, Topic, decode_message
from tests.daqd.waiting import DEADLINE_S


class Listener:
    """Subscribes to `topics` (empty strings: everything); a context manager."""

    def __init__(self, endpoint: str, topics: Iterable[str] = tuple(Topic), *, high_water: int = 0) -> None:
        self._context: zmq.Context[zmq.Socket[bytes]] = zmq.Context()
        self.socket = self._context.socket(zmq.SUB)
        self.socket.set(zmq.LINGER, 0)
        self.socket.set(zmq.RCVHWM, high_water)
        self.socket.set(zmq.RECONNECT_IVL, 20)
        if high_water:
            self.socket.set(zmq.RCVBUF, 4096)
        for topic in topics:
            self.socket.subscribe(topic)
        self.socket.connect(endpoint)

    def next(self, timeout_s: float = DEADLINE_S) -> Message:
        """The next message; fails where none comes in time."""
        assert self.socket.poll(round(timeout_s * 1000)), "no message came"
        return decode_message(self.socket.recv_multipart())

    def rest(self) -> list[Message]:
        """What has come and was not taken yet."""
        messages = []
        while self.socket.poll(0):
            messages.append(decode_message(self.socket.recv_multipart()))
        return messages

    def close(self) -> None:
        self.socket.close()
        self._context.term()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()


class Collector:
    """A `Listener` in a thread of its own, which takes everything at once."""

    def __init__(self, endpoint: str, topics: Iterable[str] = tuple(Topic), *, keep_payloads: bool = True) -> None:
        self.messages: list[Message] = []
        self._keep_payloads = keep_payloads
        self._listener = Listener(endpoint, topics)
        self._over = threading.Event()
        self._reading = threading.Event()
        self._reading.set()
        self._thread = threading.Thread(target=self._collect, name="collector")
        self._thread.start()

    def _collect(self) -> None:
        # A socket that is not asked now and then does not say its subscriptions again to a publisher that came back.
        while not self._over.is_set():
            if self._reading.wait(0.02) and self._listener.socket.poll(20):
                message = decode_message(self._listener.socket.recv_multipart())
                self.messages.append(message if self._keep_payloads else message.model_copy(update={"payload": b""}))
        self._listener.close()

    def pause(self) -> threading.Event:
        """Take nothing until the event that is returned is set."""
        self._reading.clear()
        return self._reading

    @property
    def received(self) -> int:
        return len(self.messages)

    def wait_for(self, enough: Callable[[list[Message]], bool]) -> list[Message]:
        """The messages, when there are enough of them."""
        deadline = time.monotonic() + DEADLINE_S
        while not enough(self.messages):
            assert time.monotonic() < deadline, f"not enough in {len(self.messages)} messages"
            assert self._thread.is_alive()
            time.sleep(0.002)
        return list(self.messages)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._over.set()
        self._thread.join(DEADLINE_S)
