"""The stream: one XPUB socket, numbered messages, counted drops (docs/wire.md)."""

import logging
import time
from collections.abc import Callable
from types import TracebackType
from typing import Any, Self

import zmq

from astropix_runtime.sockets.allowed_clients import ServerKeys
from astropix_runtime.sockets.endpoints import is_tcp
from daqd.errors import DaqError
from daqd.publishing.send_budget import SendBudget
from daqd.publishing.subscriptions import Subscriptions
from daqd.sockets.curve import Gatekeeper, secure_server
from daqd.sockets.endpoint_holder import bind_alone, in_the_way
from protocol.wire.messages import Topic, encode_frames

log = logging.getLogger(__name__)

_HEARTBEAT_MS = 5000
_RETRY_S = 0.0005
# Plain numbers: operations on flags are slow, and a hundred messages a second are sent.
_AT_ONCE, _MORE_AT_ONCE = int(zmq.NOBLOCK), int(zmq.NOBLOCK | zmq.SNDMORE)


def live_budget() -> SendBudget:
    """For a stream that is to stay up to date: a tenth of a second at once, a quarter of the time for long.

    Enough for whoever reads as fast as a busy computer lets it. The files are the queue meanwhile.
    """
    return SendBudget(longest_s=0.1, reserve_s=1.0, share=0.25)


class StreamError(DaqError, OSError):
    """The stream's socket cannot be opened."""


class Stream:
    """Publishes messages of the daemon `daq` at `endpoint`.

    `high_water`: messages that may wait for one subscriber. Where one has no room, a message waits as long as
    `send_budget` lets it; then it is sent to those who have room. ZeroMQ passes over the others from then on, without a
    word, until they have read some; their sequence numbers tell them what they missed. `dropped` counts the messages at
    which somebody began to miss: none of those after it, until he has room again and runs out of it once more.
    `keys`: without them, everybody who reaches the socket can read; `say` is told, from another thread, who was
    refused.

    `descriptor` can be polled, and is readable when `take_subscriptions` has something to do; what `send` has come
    across before is not told so: it has to be called now and then anyway.
    """

    def __init__(
        self,
        endpoint: str,
        daq: str,
        high_water: int,
        send_budget: SendBudget | None = None,
        clock_ns: Callable[[], int] = time.time_ns,
        keys: ServerKeys | None = None,
        say: Callable[[str], None] = log.warning,
    ) -> None:
        self._daq = daq
        self._clock_ns = clock_ns
        self._started_ns = clock_ns()
        self._sequence = dict.fromkeys(Topic, 0)
        self._subscriptions = Subscriptions(Topic.HITS.value.encode())
        self.send_budget = send_budget or live_budget()
        self.messages = 0
        self.dropped = 0
        self._gatekeeper: Gatekeeper | None = None
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
            if keys is not None and is_tcp(endpoint):
                self._gatekeeper = secure_server(self.socket, keys, "the stream", say)
            bind_alone(self.socket, endpoint)
        except zmq.ZMQError as error:
            self.close()
            raise StreamError(
                f"cannot publish at {endpoint}: {zmq.strerror(error.errno or 0)}{in_the_way(endpoint)}; end that, or "
                "choose another stream.bind"
            ) from error
        self.descriptor = int(self.socket.get(zmq.FD))
        self.endpoint: str = self.socket.getsockopt_string(zmq.LAST_ENDPOINT)

    @property
    def subscribers(self) -> int:
        """Connections that get hits."""
        return self._subscriptions.number

    @property
    def subscriptions(self) -> int:
        """How often hits were asked for since the stream began, also by those who have gone."""
        return self._subscriptions.requests

    @property
    def started_ns(self) -> int:
        """When this publisher began: `pub` of all its messages."""
        return self._started_ns

    @property
    def refused(self) -> int:
        """Connections that did not get in, without a key that is allowed."""
        return 0 if self._gatekeeper is None else self._gatekeeper.refused

    def send(self, topic: Topic, payload: bytes, **header: Any) -> None:
        """Publish one message; `header`: what the topic's header has beside what every header has."""
        frames = encode_frames(
            topic,
            payload,
            daq=self._daq,
            pub=self._started_ns,
            seq=self._sequence[topic],
            t=self._clock_ns(),
            **header,
        )
        self._sequence[topic] += 1
        self.messages += 1
        if not self._try_to_send(frames) and not self._send_within_budget(frames):
            self.dropped += 1
            self.socket.set(zmq.XPUB_NODROP, 0)
            self._try_to_send(frames)
            self.socket.set(zmq.XPUB_NODROP, 1)

    def _try_to_send(self, frames: list[bytes]) -> bool:
        """Send to all; to nobody where one has no room."""
        *before, last = frames
        try:
            for frame in before:
                self.socket.send(frame, _MORE_AT_ONCE)
            self.socket.send(last, _AT_ONCE, copy=False)
        except zmq.Again:
            return False
        return True

    def _send_within_budget(self, frames: list[bytes]) -> bool:
        began = time.monotonic()
        deadline = began + self.send_budget.left_s()
        sent = False
        while not sent and time.monotonic() < deadline:
            time.sleep(_RETRY_S)  # who has no room gives no event that could be waited for
            sent = self._try_to_send(frames)
        self.send_budget.use(time.monotonic() - began)
        return sent

    def take_subscriptions(self) -> None:
        """Note who came and went; whatever else subscribers say is ignored."""
        while True:
            try:
                said = self.socket.recv(zmq.NOBLOCK, copy=False)
            except zmq.Again:
                return
            self._subscriptions.note(said.bytes, _connection(said))

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
        if self._gatekeeper is not None:
            self._gatekeeper.close()
        self._context.term()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()


def _connection(said: zmq.Frame) -> int | None:
    """Descriptor of the connection that a message came from; None where ZeroMQ does not tell."""
    try:
        return int(said.get(zmq.SRCFD))
    except zmq.ZMQError:
        return None
