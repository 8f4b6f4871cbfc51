"""The stream: one XPUB socket, numbered messages, counted drops (docs/wire.md)."""

import time
from collections.abc import Callable
from types import TracebackType
from typing import Any, Self

import zmq

from daqd.errors import DaqError
from protocol.messages import Header, Message, Topic, encode_message

_HEARTBEAT_MS = 5000
_RETRY_S = 0.0005
_PATIENCE_WITH_STALLED_S = 0.02


class StreamError(DaqError, OSError):
    """The stream's socket cannot be opened."""


class Stream:
    """Publishes messages of the daemon `daq` at `endpoint`.

    `high_water`: messages that may wait for one subscriber; beyond, the subscriber misses messages until it has read
    some, and its sequence numbers tell it how many. `dropped` counts how often that began: ZeroMQ passes over a
    subscriber that has missed a message, without a word, as long as it does not read. A message sent with patience
    waits so long for room first.
    """

    def __init__(self, endpoint: str, daq: str, high_water: int, clock_ns: Callable[[], int] = time.time_ns) -> None:
        self._daq = daq
        self._clock_ns = clock_ns
        self._started_ns = clock_ns()
        self._sequence = dict.fromkeys(Topic, 0)
        self._subscriptions = dict.fromkeys(Topic, 0)
        self._stalled = False
        self.messages = 0
        self.dropped = 0
        self._context = zmq.Context()
        self.socket = self._context.socket(zmq.XPUB)
        try:
            self.socket.set(zmq.SNDHWM, high_water)
            self.socket.set(zmq.LINGER, 0)
            self.socket.set(zmq.XPUB_VERBOSER, 1)
            self.socket.set(zmq.XPUB_NODROP, 1)
            self.socket.set(zmq.HEARTBEAT_IVL, _HEARTBEAT_MS)
            self.socket.set(zmq.HEARTBEAT_TIMEOUT, 3 * _HEARTBEAT_MS)
            self.socket.set(zmq.MAXMSGSIZE, 1 << 16)  # subscribers have only subscriptions to say
            self.socket.bind(endpoint)
        except zmq.ZMQError as error:
            self.close()
            raise StreamError(
                f"cannot publish at {endpoint}: {zmq.strerror(error.errno or 0)}; is another daemon or replay there? "
                "Choose another stream.bind"
            ) from error
        self.endpoint: str = self.socket.getsockopt_string(zmq.LAST_ENDPOINT)

    @property
    def subscribers(self) -> int:
        """Connections that get hits."""
        return self._subscriptions[Topic.HITS]

    def send(self, topic: Topic, payload: bytes, *, patience_s: float = 0.0, **header: Any) -> None:
        """Publish one message; `header`: what the topic's header has beside what every header has."""
        message = Message.model_construct(
            topic=topic,
            header=Header(
                daq=self._daq,
                pub=self._started_ns,
                seq=self._sequence[topic],
                t=self._clock_ns(),
                **header,
            ),
            payload=payload,
        )
        self._sequence[topic] += 1
        self.messages += 1
        frames = encode_message(message)
        if not self._send_to_all(frames, patience_s):
            self.dropped += 1
            self.socket.set(zmq.XPUB_NODROP, 0)
            self.socket.send_multipart(frames, zmq.NOBLOCK, copy=False)
            self.socket.set(zmq.XPUB_NODROP, 1)

    def _send_to_all(self, frames: list[bytes], patience_s: float) -> bool:
        if self._stalled:  # somebody took no message in all the time there was; the others are not to wait for it
            patience_s = min(patience_s, _PATIENCE_WITH_STALLED_S)
        deadline: float | None = None
        while True:
            try:
                self.socket.send_multipart(frames, zmq.NOBLOCK, copy=False)
            except zmq.Again:
                now = time.monotonic()
                deadline = now + patience_s if deadline is None else deadline
                if now >= deadline:
                    self._stalled = True
                    return False
                time.sleep(_RETRY_S)  # a full subscriber gives no event that could be waited for
            else:
                self._stalled = False
                return True

    def take_subscriptions(self) -> None:
        """Note who came and went; whatever else subscribers say is ignored."""
        while True:
            try:
                said = self.socket.recv(zmq.NOBLOCK)
            except zmq.Again:
                return
            if said[:1] not in (b"\0", b"\1"):
                continue
            for topic in Topic:
                if topic.value.encode().startswith(said[1:]):
                    self._subscriptions[topic] = max(0, self._subscriptions[topic] + (1 if said[0] else -1))

    def wait_for_subscribers(self, number: int, timeout_s: float | None) -> bool:
        """Wait until so many get hits; False where they have not come in time."""
        deadline = None if timeout_s is None else time.monotonic() + timeout_s
        while self.subscribers < number:
            left = None if deadline is None else deadline - time.monotonic()
            if left is not None and left <= 0:
                return False
            self.socket.poll(None if left is None else max(1, int(left * 1000)))
            self.take_subscriptions()
        return True

    def close(self, linger_s: float = 0.0) -> None:
        """Close; what is not sent yet may take so long."""
        self.socket.close(linger=int(linger_s * 1000))
        self._context.term()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()
