"""The control socket: requests in, replies out (docs/wire.md, "Control")."""

import asyncio
import contextlib
import logging
import os
import stat
import uuid
from collections.abc import Awaitable, Callable
from pathlib import Path
from types import TracebackType
from typing import IO, Any, Self

import zmq
import zmq.asyncio

from daqd.endpoint_holder import in_the_way
from daqd.errors import DaqError, RunControlError
from protocol.errors import MessageError
from protocol.messages import (
    MAX_CONTROL_BYTES,
    Reply,
    Request,
    decode_reply,
    decode_request,
    encode_reply,
    encode_request,
)

log = logging.getLogger(__name__)

Obey = Callable[[str, dict[str, Any]], Awaitable[dict[str, Any]]]


class ControlError(DaqError, OSError):
    """The control socket cannot be opened, or nobody answers there."""


class ControlServer:
    """Answers requests at `endpoint`, each in a task of its own, so that a slow command does not keep `status` waiting.

    The directory of an ipc socket is made for this user only; a lock beside the socket keeps a second daemon away.
    """

    def __init__(self, endpoint: str, obey: Obey) -> None:
        self.endpoint = endpoint
        self._obey = obey
        self._context: zmq.asyncio.Context = zmq.asyncio.Context()
        self._socket: zmq.asyncio.Socket | None = None
        self._lock: IO[str] | None = None
        self._task: asyncio.Task[None] | None = None
        self._answering: set[asyncio.Task[None]] = set()

    def open(self) -> None:
        """Take the socket, so that nobody else can; `ControlError` where it cannot be had. Requests wait there."""
        if self.endpoint.startswith("ipc://"):
            self._lock = _claim_socket(Path(self.endpoint.removeprefix("ipc://")))
        self._socket = self._context.socket(zmq.ROUTER)
        self._socket.set(zmq.LINGER, 500)
        self._socket.set(zmq.MAXMSGSIZE, MAX_CONTROL_BYTES)
        try:
            self._socket.bind(self.endpoint)
        except zmq.ZMQError as error:
            raise ControlError(
                f"cannot listen at {self.endpoint}: {zmq.strerror(error.errno or 0)}{in_the_way(self.endpoint)}; "
                "end that, or choose another control.endpoint"
            ) from error

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
        self._context.term()
        if self._lock is not None:
            _release_socket(self.endpoint, self._lock)


def _claim_socket(path: Path) -> IO[str]:
    """The lock of the socket, held as long as the file is open; `ControlError` where another daemon has it."""
    import fcntl

    try:
        path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        status = path.parent.stat()
        if status.st_uid != os.getuid() or stat.S_IMODE(status.st_mode) & 0o022:
            raise ControlError(
                f"{path.parent} belongs to somebody else or others may write to it, so others could command the board; "
                "chmod 700 it or choose another daq.runtime_dir"
            )
        lock = path.with_suffix(".lock").open("a+")
    except OSError as error:
        if isinstance(error, ControlError):
            raise
        raise ControlError(f"cannot use the runtime directory {path.parent}: {error.strerror or error}") from error
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError as error:
        lock.seek(0)
        holder = lock.read(32).strip()
        lock.close()
        if not isinstance(error, BlockingIOError):
            raise ControlError(
                f"cannot lock {lock.name}: {error.strerror or error}; choose a local daq.runtime_dir"
            ) from None
        who = f" (process {holder})" if holder.isdigit() else ""
        raise ControlError(
            f"another daemon is using {path}{who}; end it (daqctl shutdown), or give this one another daq.name"
        ) from None
    lock.truncate(0)
    lock.write(f"{os.getpid()}\n")
    lock.flush()
    return lock


def _release_socket(endpoint: str, lock: IO[str]) -> None:
    """Take the socket away, which ZeroMQ leaves behind, while nobody else can have made it anew."""
    Path(endpoint.removeprefix("ipc://")).unlink(missing_ok=True)
    lock.close()


class ControlClient:
    """Asks the daemon at `endpoint`; a context manager. One thread at a time."""

    def __init__(self, endpoint: str, timeout_s: float = 10.0) -> None:
        self._endpoint = endpoint
        self._timeout_s = timeout_s
        self._context: zmq.Context[zmq.Socket[bytes]] = zmq.Context()
        self._socket = self._context.socket(zmq.DEALER)
        self._socket.set(zmq.LINGER, 0)
        try:
            self._socket.connect(endpoint)
        except zmq.ZMQError as error:
            self.close()
            raise ControlError(
                f"cannot connect to {endpoint!r}: {zmq.strerror(error.errno or 0)}; give ipc://PATH or tcp://127.0.0.1:PORT"
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
        while self._socket.poll(int(self._timeout_s * 1000)):
            try:
                reply = decode_reply(self._socket.recv_multipart()[-1])
            except MessageError as error:
                raise ControlError(f"{self._endpoint} answers nonsense ({error}); is that a daqd?") from error
            if reply.id not in (request.id, ""):  # without an id: to a request that could not be read
                continue  # of a call before that was given up
            if reply.error is not None:
                raise RunControlError(reply.error.code, reply.error.message)
            return reply.result or {}
        raise ControlError(f"no daemon answers at {self._endpoint} within {self._timeout_s:g} s; is daqd running?")

    def _look_for_daemon(self) -> None:
        """ZeroMQ would wait for a socket that is not there: say so at once."""
        if self._endpoint.startswith("ipc://") and not Path(self._endpoint.removeprefix("ipc://")).exists():
            raise ControlError(f"no daemon is at {self._endpoint}; is daqd running, with that daq.name?")

    def close(self) -> None:
        """Close the socket."""
        self._socket.close()
        self._context.term()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()
