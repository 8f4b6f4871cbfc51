"""The client of a stream: connects, stays connected, yields hits and everything else that is published."""

import contextlib
import logging
import math
import socket
import time
from collections.abc import Iterable, Iterator
from pathlib import Path
from types import TracebackType
from typing import Self

import zmq

from astropix_runtime.sockets.handshake import HandshakeWatch
from astropix_runtime.sockets.key_files import ClientKeys, KeyPair, PublicKey
from astropix_runtime.sockets.request_client import secure_client
from monitor.continuity import HitArray
from monitor.errors import EndpointError
from monitor.events import Event, HitBatch
from monitor.keys import client_keys
from monitor.receiving.history import run_hits
from monitor.receiving.history_link import HistoryLink, catch_up_endpoint
from monitor.receiving.joining import HistoryJoin
from monitor.receiving.reader import MessageReader, RunFollower, StreamCounters
from protocol.wire.messages import Topic

log = logging.getLogger(__name__)

DEFAULT_ENDPOINT = "tcp://127.0.0.1:5556"
DEFAULT_ALARM_ENDPOINT = "tcp://127.0.0.1:5558"
"""Where a sanity checker publishes; with the topic `alarm` alone, a client of that has `AlarmMessage` events."""

DEFAULT_TOPICS = (Topic.HITS, Topic.STAT, Topic.RUN, Topic.LOG)

MAX_FRAME_BYTES = 64 << 20
"""A frame that is longer is no message of ours; ZeroMQ then drops the connection and makes another."""

_JOINING = frozenset({Topic.HITS, Topic.STAT, Topic.RUN})
"""What has to be heard of to join history and stream."""

_TURN_MS = 1000
"""No wait is longer: a signal that comes just before one begins has its handler called only after it."""

_TRY_AGAIN_S = 1.0
"""Where the server refuses us, ZeroMQ gives up for good; but our key may be allowed tomorrow."""


class StreamClient:
    """Subscribes to the stream of a daemon or a replay; a context manager and an iterable.

    ::

        with StreamClient("tcp://127.0.0.1:5556") as client:
            for batch in client:              # waits for ever; ends when interrupt() is called
                print(batch.run, batch.hits["tot_us"])

    `endpoint`: where to connect to, `tcp://host:port` or `ipc://path`; it need not be there yet, and is connected to
    again whenever it comes back. `topics`: what to subscribe to. `high_water`: messages that may wait here before the
    publisher drops what this client is too slow for (and the numbering tells). `gather_s`: when messages come after a
    wait, let more of them gather so long before they are read: ten times less work for who looks a few times a second.
    `history`: whatever this client comes too late for, or misses, of the runs that are taken while it listens is asked
    for where the daemon keeps it, and comes in its place: hits in the order of readouts, none twice. Without an answer
    the stream goes on after some seconds, with its gap. Of a replay that has come to its end and stays, all of its last
    run comes. `catch_up`: where to ask; by default, where the daemon says.
    `server_key`, `key`: the server's public key and this client's own pair, or the files that they are in, for a server
    that takes only keys.

    Raises `EndpointError` for an address that cannot be one, `KeysError` for keys that cannot be used; the iteration
    itself never raises for what is received. A server that refuses the client is asked again every second; meanwhile
    `refusal` says why, and where the client waits for ever, so does the log; `no_answer`, where something takes
    connections and no server is there.
    Not thread-safe, but for `interrupt()`.
    """

    def __init__(
        self,
        endpoint: str = DEFAULT_ENDPOINT,
        topics: Iterable[Topic | str] = DEFAULT_TOPICS,
        *,
        high_water: int = 1000,
        gather_s: float = 0.0,
        history: bool = False,
        catch_up: str | None = None,
        server_key: Path | str | PublicKey | None = None,
        key: Path | str | KeyPair | None = None,
    ) -> None:
        self._keys = keys = client_keys(server_key, key, endpoint)
        self.endpoint = endpoint
        self._topics = frozenset(map(Topic, topics))
        self._obstacle_logged = ""
        self._try_again_at = math.inf
        self._gather_ms = round(gather_s * 1000)
        # A message goes from the socket to the reader, the join and the follower; without history, nothing waits.
        self._reader = MessageReader()
        self._runs = RunFollower()
        self._join = HistoryJoin(self._runs, catch_up if history else "")
        self._catch_up = catch_up
        self._wake_receiver, self._wake_sender = socket.socketpair()
        self._wake_receiver.setblocking(False)
        self._wake_sender.setblocking(False)
        self._interrupted = False
        self._context = zmq.Context(io_threads=1)
        self._socket = self._context.socket(zmq.SUB)
        self._handshakes = HandshakeWatch(self._socket, endpoint, keyed=keys is not None)
        self._link = HistoryLink(self._context, keys)
        try:
            self._connect(endpoint, self._topics | _JOINING if history else self._topics, high_water, keys)
        except zmq.ZMQError as error:
            self.close()
            raise EndpointError(
                f"cannot connect to {endpoint!r}: {zmq.strerror(error.errno or 0)}; give tcp://host:port or ipc://path"
            ) from None
        except BaseException:
            self.close()
            raise
        self._poller = zmq.Poller()
        self._poller.register(self._socket, zmq.POLLIN)
        self._poller.register(self._handshakes.events, zmq.POLLIN)
        self._poller.register(self._wake_receiver, zmq.POLLIN)
        self._poller.register(self._link.socket, zmq.POLLIN)
        self._wake_poller = zmq.Poller()
        self._wake_poller.register(self._wake_receiver, zmq.POLLIN)

    def _connect(self, endpoint: str, topics: Iterable[Topic], high_water: int, keys: ClientKeys | None) -> None:
        options = {
            zmq.LINGER: 0,
            zmq.RCVHWM: high_water,
            zmq.MAXMSGSIZE: MAX_FRAME_BYTES,
            # No growing intervals: a publisher that comes back goes on at once, and ten attempts a second cost nothing.
            zmq.RECONNECT_IVL: 100,
            zmq.RECONNECT_IVL_MAX: 0,
            # A peer that vanished without a word (power, cable) is noticed and connected to again.
            zmq.HEARTBEAT_IVL: 2000,
            zmq.HEARTBEAT_TIMEOUT: 10_000,
            zmq.TCP_KEEPALIVE: 1,
            zmq.TCP_KEEPALIVE_IDLE: 30,
        }
        for option, value in options.items():
            self._socket.setsockopt(option, value)
        for topic in topics:
            self._socket.setsockopt(zmq.SUBSCRIBE, topic.value.encode())
        secure_client(self._socket, keys)
        self._socket.connect(endpoint)

    @property
    def counters(self) -> StreamCounters:
        """What has been received and missed so far."""
        return StreamCounters.of(self._reader, self._runs, self._join.failures)

    @property
    def fetching(self) -> bool:
        """Whether what was missed is being asked for, or has come and was not taken (`history`)."""
        return self._join.fetching

    def history(self, run: int, first: int = 0, last: int | None = None, timeout_s: float = 10.0) -> Iterator[HitArray]:
        """The hits of any run that the daemon has on disk, beside the stream; see `run_hits`."""
        endpoint = self._catch_up or self._link.endpoint or catch_up_endpoint(self.endpoint, None)
        return run_hits(endpoint, run, first, last, timeout_s=timeout_s, keys=self._keys)

    @property
    def interrupted(self) -> bool:
        """Whether `interrupt()` was called, or the client is closed."""
        return self._interrupted

    @property
    def last_error(self) -> str:
        """Why nothing comes, or what was wrong with the last malformed message; empty: nothing."""
        return self.obstacle or self._reader.last_error

    @property
    def refusal(self) -> str:
        """Why the server does not let this client in, one line; empty where it does, or nothing is known."""
        why = self._handshakes.refusal
        return f"the server at {self.endpoint} refuses this client: {why}" if why else ""

    @property
    def no_answer(self) -> str:
        """Why nobody is there though connections are taken, one line; empty where somebody is, or nothing is known."""
        why = self._handshakes.no_answer
        return f"nobody answers at {self.endpoint}: {why}" if why else ""

    @property
    def obstacle(self) -> str:
        """`refusal` or `no_answer`: why nothing will come as it is; empty where nothing is known."""
        return self.refusal or self.no_answer

    def events(self, timeout_s: float | None = None) -> Iterator[Event]:
        """Everything that arrives, in order. Ends when nothing has come for `timeout_s`, or after `interrupt()`.

        None waits for ever. Can be called again to go on.
        """
        while True:
            event = self.receive(timeout_s)
            if event is None:
                return
            yield event

    def receive(self, timeout_s: float | None = None) -> Event | None:
        """The next event; None when nothing has come for `timeout_s` (None: for ever), or after `interrupt()`."""
        deadline = None if timeout_s is None else time.monotonic() + timeout_s
        while not self._interrupted:
            event = self._event()
            if event is not None:
                return event
            left_ms = None if deadline is None else max(math.ceil((deadline - time.monotonic()) * 1000), 0)
            if self._take():
                if left_ms == 0:
                    return self._event()  # nothing that could be given out came in all that time
                continue
            turn_ms = _TURN_MS if left_ms is None else min(left_ms, _TURN_MS)
            join_ms = self._join_ms()
            came = dict(self._poller.poll(min(turn_ms, join_ms)))
            self._look_after_handshakes(log_obstacle=timeout_s is None)
            if not came and left_ms is not None and left_ms <= join_ms and left_ms == turn_ms:
                return None
            if self._socket in came and self._gather_ms and not self.fetching:
                self._wake_poller.poll(self._gather_ms)
        return None

    def _event(self) -> Event | None:
        """What can be given out now."""
        for event in self._join.events(time.monotonic()):
            if event.topic in self._topics:
                return event
        return None

    def _take(self) -> bool:
        """Read one message, of the stream or of history; whether there was one."""
        if self._look_after_history():
            return True
        try:
            frames = self._socket.recv_multipart(zmq.NOBLOCK)
        except zmq.Again:
            return False
        if self.obstacle:
            self._handshakes.take()  # what comes, comes after a handshake: that has to be known before it is given out
        received = self._reader.read(frames)
        if received is not None:
            self._join.take(received, time.monotonic())
        return True

    def _look_after_history(self) -> bool:
        """Ask for what is missing, take what has been answered; whether there was something."""
        join = self._join
        if not join.announced and not join.fetching:
            return False
        now = time.monotonic()
        if join.announced:
            self._link.connect(self._catch_up or catch_up_endpoint(self.endpoint, join.announced))
        reply = self._link.receive()
        if reply is not None:
            join.take_reply(reply, now)
        failures = join.failures
        request = join.request(now)
        if request is not None and not self._link.ask(*request):
            join.not_sent(now)
        if join.failures > failures:
            log.warning("what was missed cannot be had: %s", join.last_failure)
        return reply is not None or join.failures > failures

    def _join_ms(self) -> int:
        """How long nothing needs to be asked for."""
        wait_s = self._join.wait_s(time.monotonic())
        return _TURN_MS if wait_s is None else math.ceil(wait_s * 1000)

    def _look_after_handshakes(self, *, log_obstacle: bool) -> None:
        """See whether the server lets us in; where it does not, try again in a while."""
        self._handshakes.take()
        if log_obstacle and self.obstacle != self._obstacle_logged:
            self._obstacle_logged = self.obstacle
            if self._obstacle_logged:
                log.warning("%s", self._obstacle_logged)
        now = time.monotonic()
        if not self._handshakes.given_up:
            self._try_again_at = math.inf
        elif self._try_again_at == math.inf:
            self._try_again_at = now + _TRY_AGAIN_S
        elif now >= self._try_again_at:
            self._handshakes.given_up = False
            self._try_again_at = math.inf
            with contextlib.suppress(zmq.ZMQError):  # it may be as good as disconnected
                self._socket.disconnect(self.endpoint)
            self._socket.connect(self.endpoint)

    def __iter__(self) -> Iterator[HitBatch]:
        """The hits only: batches that bring hits or readouts not seen before. Waits for ever; see `interrupt`."""
        for event in self.events():
            if isinstance(event, HitBatch) and (len(event.hits) or event.step.new_readouts):
                yield event

    def interrupt(self) -> None:
        """End the iteration, now and for good. May be called from other threads and from signal handlers."""
        self._interrupted = True
        try:
            self._wake_sender.send(b"\0")
        except OSError:
            return  # already closed, or already full of wake-ups: either way nobody is left waiting

    def close(self) -> None:
        """Close the connection; never waits, may be called twice."""
        self._interrupted = True
        self._socket.close(linger=0)
        self._link.close()
        self._handshakes.close()
        self._context.term()
        self._wake_receiver.close()
        self._wake_sender.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()
