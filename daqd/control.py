"""The control socket: requests in, replies out (docs/wire.md, "Control")."""

import asyncio
import contextlib
import logging
import math
import time
import uuid
from collections.abc import Awaitable, Callable
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import zmq
import zmq.asyncio

from astropix_runtime.sockets.allowed_clients import ServerKeys
from astropix_runtime.sockets.endpoints import forbidden, is_absent, is_tcp
from astropix_runtime.sockets.handshake import HANDSHAKE_EVENTS, Handshakes
from astropix_runtime.sockets.key_files import ClientKeys
from astropix_runtime.storage.process_lock import ProcessLock, lock_socket
from daqd.errors import DaqError, RunControlError
from daqd.sockets.curve import Gatekeeper, checked_pair, secure_client, secure_server
from daqd.sockets.endpoint_holder import in_the_way
from daqd.sockets.peer_probe import who_is_at
from protocol.errors import KeyFileError, MessageError
from protocol.wire.messages import (
    MAX_CONTROL_BYTES,
    Reply,
    Request,
    decode_reply,
    decode_request,
    encode_reply,
    encode_request,
)

log = logging.getLogger(__name__)

_PROBE_S = 2.0
"""Who breaks off handshakes has so long to say who it is."""

Obey = Callable[[str, dict[str, Any]], Awaitable[dict[str, Any]]]


class ControlError(DaqError, OSError):
    """The control socket cannot be opened, or nobody answers there."""


class ControlAddressError(ControlError, ValueError):
    """Nothing can be at such an address."""


class ControlServer:
    """Answers requests at `endpoint`, each in a task of its own, so that a slow command does not keep `status` waiting.

    The directory of an ipc socket is made for this user only; a lock beside the socket keeps a second daemon away. A
    TCP socket takes only clients with a key that is allowed: without `keys`, it is not opened.
    """

    def __init__(self, endpoint: str, obey: Obey, keys: ServerKeys | None = None) -> None:
        self.endpoint = endpoint
        self._obey = obey
        self._keys = keys
        self._gatekeeper: Gatekeeper | None = None
        self._context: zmq.asyncio.Context = zmq.asyncio.Context()
        self._socket: zmq.asyncio.Socket | None = None
        self._lock: ProcessLock | None = None
        self._task: asyncio.Task[None] | None = None
        self._answering: set[asyncio.Task[None]] = set()

    def open(self) -> None:
        """Take the socket, so that nobody else can; `ControlError` where it cannot be had. Requests wait there."""
        if self.endpoint.startswith("ipc://"):
            self._lock = _claim_socket(Path(self.endpoint.removeprefix("ipc://")))
        elif self._keys is None:
            raise ControlError(f"{self.endpoint} takes commands only with keys: name them in [security]")
        self._socket = self._context.socket(zmq.ROUTER)
        self._socket.set(zmq.LINGER, 500)
        self._socket.set(zmq.MAXMSGSIZE, MAX_CONTROL_BYTES)
        if self._keys is not None and is_tcp(self.endpoint):
            self._gatekeeper = secure_server(self._socket, self._keys, "the control socket")
        try:
            self._socket.bind(self.endpoint)
        except zmq.ZMQError as error:
            raise ControlError(
                f"cannot listen at {self.endpoint}: {zmq.strerror(error.errno or 0)}{in_the_way(self.endpoint)}; "
                "end that, or choose another control.endpoint"
            ) from error
        if is_tcp(self.endpoint):
            self.endpoint = self._socket.getsockopt_string(zmq.LAST_ENDPOINT)

    async def start(self) -> None:
        """Begin to answer."""
        if self._socket is None:
            self.open()
        assert self._socket is not None  # noqa: S101 - just opened
        self._task = asyncio.create_task(self._serve(self._socket), name="control")

    async def _serve(self, server: zmq.asyncio.Socket) -> None:
        while True:
            client, *frames = await server.recv_multipart()
            task = asyncio.create_task(self._answer(server, client, frames))
            self._answering.add(task)
            task.add_done_callback(self._answering.discard)

    async def _answer(self, server: zmq.asyncio.Socket, client: bytes, frames: list[bytes]) -> None:
        delimiter = frames[:-1]  # a REQ socket puts an empty frame before the request, a DEALER does not
        reply = await self._reply_to(frames[-1] if frames else b"")
        with contextlib.suppress(zmq.ZMQError):  # the client may be gone
            await server.send_multipart([client, *delimiter, reply])

    async def _reply_to(self, frame: bytes) -> bytes:
        try:
            request = decode_request(frame)
        except MessageError as error:
            return encode_reply(Reply.refuse("", "bad_request", str(error)))
        try:
            return encode_reply(Reply(id=request.id, ok=True, result=await self._obey(request.cmd, request.args)))
        except RunControlError as error:
            return encode_reply(Reply.refuse(request.id, error.code, str(error)))
        except Exception as error:  # a fault of ours must not take the daemon from the operator
            log.exception("command %s failed", request.cmd)
            return encode_reply(Reply.refuse(request.id, "internal", f"{type(error).__name__}: {error}"))

    async def close(self) -> None:
        """Stop answering; replies under way are sent."""
        if self._answering:
            await asyncio.wait(self._answering, timeout=1.0)
        if self._task is not None:
            self._task.cancel()
            await asyncio.gather(self._task, return_exceptions=True)
        if self._socket is not None:
            self._socket.close()
        if self._gatekeeper is not None:
            self._gatekeeper.close()
        self._context.term()
        if self._lock is not None:
            _release_socket(self.endpoint, self._lock)


def _claim_socket(path: Path) -> ProcessLock:
    """The lock of the socket, taken; `ControlError` where another daemon has it."""
    what, way_out = f"the control socket {path}", "end that daemon (daqctl shutdown), or give this one another daq.name"
    return lock_socket(path, what, ControlError, "command the board", way_out)


def _release_socket(endpoint: str, lock: ProcessLock) -> None:
    """Take the socket away, which ZeroMQ leaves behind, while nobody else can have made it anew."""
    Path(endpoint.removeprefix("ipc://")).unlink(missing_ok=True)
    lock.release()


class ControlClient:
    """Asks the daemon at `endpoint`; a context manager. One thread at a time. `keys`: for TCP, and only there.

    Raises `ControlAddressError` where nothing can be at `endpoint`, `ControlError` where the keys cannot be used.
    """

    def __init__(self, endpoint: str, timeout_s: float = 10.0, keys: ClientKeys | None = None) -> None:
        if keys is not None and not is_tcp(endpoint):
            raise ControlError(f"{endpoint} takes no keys: they are for tcp://ADDRESS:PORT")
        if keys is not None:
            try:
                checked_pair(keys.own)
            except KeyFileError as error:
                raise ControlError(str(error)) from None
        self._endpoint = endpoint
        self._timeout_s = timeout_s
        self._handshakes = Handshakes(keyed=keys is not None)
        self._context: zmq.Context[zmq.Socket[bytes]] = zmq.Context()
        self._socket = self._context.socket(zmq.DEALER)
        self._socket.set(zmq.LINGER, 0)
        self._monitor = self._context.socket(zmq.PAIR)
        self._monitor.set(zmq.LINGER, 0)
        self._monitor.set(zmq.RCVHWM, 0)  # never full: ZeroMQ would wait for us
        self._socket.monitor("inproc://handshakes", HANDSHAKE_EVENTS)
        self._monitor.connect("inproc://handshakes")
        try:
            if keys is not None:
                secure_client(self._socket, keys)
            self._socket.connect(endpoint)
        except zmq.ZMQError as error:
            self.close()
            raise ControlAddressError(
                f"cannot connect to {endpoint!r}: {zmq.strerror(error.errno or 0)}; give ipc://PATH or tcp://HOST:PORT"
            ) from None

    def call(self, command: str, **args: Any) -> dict[str, Any]:
        """Result of a command; `RunControlError` where it is refused, `ControlError` where nobody answers in time."""
        self._look_for_daemon()
        request = Request(id=uuid.uuid4().hex, cmd=command, args=args)
        try:
            frame = encode_request(request)
        except (ValueError, OverflowError) as error:
            raise RunControlError("bad_arguments", f"{command}: cannot be sent: {error}") from None
        self._socket.send(frame)
        while self._wait_for_reply():
            try:
                reply = decode_reply(self._socket.recv_multipart()[-1])
            except MessageError as error:
                raise ControlError(f"{self._endpoint} answers nonsense ({error}); is that a daqd?") from error
            if not reply.answers(request):
                continue
            if reply.error is not None:
                raise RunControlError(reply.error.code, reply.error.message)
            return reply.result or {}
        raise ControlError(f"no daemon answers at {self._endpoint} within {self._timeout_s:g} s; is daqd running?")

    def _wait_for_reply(self) -> bool:
        """Whether one has come in time; `ControlError` as soon as it is clear that the daemon does not let us in."""
        deadline = time.monotonic() + self._timeout_s
        poller = zmq.Poller()
        poller.register(self._socket, zmq.POLLIN)
        poller.register(self._monitor, zmq.POLLIN)
        while (left_s := deadline - time.monotonic()) > 0:
            ready = dict(poller.poll(math.ceil(left_s * 1000)))
            if self._socket in ready:
                return True
            if self._monitor in ready:
                self._handshakes.feed(self._monitor.recv_multipart()[0])
            if self._handshakes.unexplained:
                self._handshakes.explain(who_is_at(self._endpoint, _PROBE_S))
            if self._handshakes.refusal:
                raise ControlError(f"the daemon at {self._endpoint} refuses us: {self._handshakes.refusal}")
            if self._handshakes.no_answer:
                raise ControlError(f"no daemon answers at {self._endpoint}: {self._handshakes.no_answer}")
        return False

    def _look_for_daemon(self) -> None:
        """ZeroMQ would wait for a socket that is not there: say so at once."""
        if why := forbidden(self._endpoint):
            raise ControlError(why)
        if is_absent(self._endpoint):
            raise ControlError(f"no daemon is at {self._endpoint}; is daqd running, with that daq.name?")

    def close(self) -> None:
        """Close the socket."""
        self._socket.close()
        self._monitor.close()
        self._context.term()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()
