"""The stream: one XPUB socket, numbered messages, counted drops (docs/wire.md)."""

import logging
import time
from collections.abc import Callable
from types import TracebackType
from typing import Any, Self

import zmq

from astropix_runtime.sockets.key_files import ServerKeys
from astropix_runtime.sockets.listening_socket import ListeningSocket, Purpose
from daqd.errors import DaqError
from daqd.publishing.send_budget import SendBudget
from daqd.publishing.subscriptions import Subscriptions
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


_PURPOSE = Purpose("the stream", "publish", "end that, or choose another stream.bind", StreamError)


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
        options: dict[int, int] = {
            zmq.SNDHWM: high_water,
            zmq.LINGER: 0,
            zmq.XPUB_VERBOSER: 1,
            zmq.XPUB_NODROP: 1,
            zmq.HEARTBEAT_IVL: _HEARTBEAT_MS,
            zmq.HEARTBEAT_TIMEOUT: 3 * _HEARTBEAT_MS,
            zmq.MAXMSGSIZE: 1 << 16,  # subscribers have only subscriptions to say
        }
        self._listening = ListeningSocket(zmq.XPUB, endpoint, _PURPOSE, options, keys, say)
        self.endpoint = self._listening.endpoint
        self.socket = self._listening.socket
        self.descriptor = int(self.socket.get(zmq.FD))

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
        return self._listening.refused

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
        self._listening.close(int(linger_s * 1000))

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
