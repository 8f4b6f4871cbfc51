"""A server for requests: commands in, replies out (docs/wire.md, "Control")."""

import asyncio
import contextlib
import logging
from collections.abc import Awaitable, Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import zmq
import zmq.asyncio

from astropix_runtime.errors import RefusedError
from astropix_runtime.sockets.key_files import ServerKeys
from astropix_runtime.sockets.listening_socket import ListeningSocket, Purpose, lock_socket
from protocol.errors import MessageError
from protocol.wire.messages import MAX_CONTROL_BYTES, Reply, Request, decode_request, encode_reply

log = logging.getLogger(__name__)

Handler = Callable[[str, dict[str, Any]], dict[str, Any]]
"""Takes a command and its arguments, returns the result; `RefusedError` where it refuses."""

AsyncHandler = Callable[[str, dict[str, Any]], Awaitable[dict[str, Any]]]

_MAX_AT_ONCE = 20
_LINGER_MS = 500
_END_S = 1.0


@dataclass(frozen=True)
class RequestPurpose(Purpose):
    """What a server for requests is for. `harm`: what others could do who could write to the socket's directory.

    `end_other`: what to do where another process has the socket.
    """

    harm: str
    end_other: str


class RequestServer:
    """Has the socket at `endpoint` from its creation on, where requests wait until they are answered.

    The directory of an ipc socket is made for this user only; a lock beside the socket keeps another server away. A TCP
    socket with `keys` takes only clients with an allowed key. The error that `purpose` names where the socket cannot be
    had. Requests are answered in the running event loop after `start`, or by calls of `answer`.
    """

    def __init__(self, endpoint: str, purpose: RequestPurpose, keys: ServerKeys | None = None) -> None:
        self._path = Path(endpoint.removeprefix("ipc://")) if endpoint.startswith("ipc://") else None
        self._lock = None
        if self._path is not None:
            what = f"{purpose.name} {self._path}"
            self._lock = lock_socket(self._path, what, purpose.failure, purpose.harm, purpose.end_other)
        options: dict[int, int] = {zmq.LINGER: _LINGER_MS, zmq.MAXMSGSIZE: MAX_CONTROL_BYTES}
        try:
            self._listening = ListeningSocket(zmq.ROUTER, endpoint, purpose, options, keys)
        except BaseException:
            self._release()
            raise
        self.endpoint = self._listening.endpoint
        self._socket = self._listening.socket
        self._serving: asyncio.Task[None] | None = None
        self._in_loop: zmq.asyncio.Socket | None = None
        self._answering: set[asyncio.Task[None]] = set()

    def start(self, handler: AsyncHandler) -> None:
        """Begin to answer, each request in a task of its own, so that a slow command does not hold up the others."""
        self._in_loop = zmq.asyncio.Socket(self._socket)
        self._serving = asyncio.create_task(self._serve(self._in_loop, handler), name="requests")

    async def _serve(self, socket: zmq.asyncio.Socket, handler: AsyncHandler) -> None:
        while True:
            envelope, request = self._decoded(await socket.recv_multipart())
            if request is not None:
                task = asyncio.create_task(self._handle(envelope, request, handler))
                self._answering.add(task)
                task.add_done_callback(self._answering.discard)

    async def _handle(self, envelope: list[bytes], request: Request, handler: AsyncHandler) -> None:
        try:
            outcome: dict[str, Any] | Exception = await handler(request.cmd, request.args)
        except Exception as error:
            outcome = error
        self._reply(envelope, request, outcome)

    def answer(self, handler: Handler) -> None:
        """Answer what has come; never waits for more. Whatever else `handler` raises is for the caller."""
        for envelope, request in self._requests():
            try:
                outcome: dict[str, Any] | Exception = handler(request.cmd, request.args)
            except RefusedError as error:
                outcome = error
            self._reply(envelope, request, outcome)

    def _requests(self) -> Iterator[tuple[list[bytes], Request]]:
        """The requests that have come, each with the frames that its reply begins with."""
        for _ in range(_MAX_AT_ONCE):
            try:
                envelope, request = self._decoded(self._socket.recv_multipart(zmq.NOBLOCK))
            except zmq.Again:
                return
            if request is not None:
                yield envelope, request

    def _decoded(self, frames: list[bytes]) -> tuple[list[bytes], Request | None]:
        """The frames that the reply begins with, and the request; None for an invalid one, which is refused here."""
        *envelope, frame = frames  # a REQ socket puts an empty frame before the request, a DEALER does not
        try:
            return envelope, decode_request(frame)
        except MessageError as error:
            self._send(envelope, Reply.refuse("", "bad_request", str(error)))
            return envelope, None

    def _reply(self, envelope: list[bytes], request: Request, outcome: dict[str, Any] | Exception) -> None:
        try:
            if isinstance(outcome, Exception):
                raise outcome
            self._send(envelope, Reply(id=request.id, ok=True, result=outcome))
        except RefusedError as error:
            self._send(envelope, Reply.refuse(request.id, error.code, str(error)))
        except Exception as error:  # a fault of ours must not take the server from the operator
            log.exception("command %s failed", request.cmd)
            self._send(envelope, Reply.refuse(request.id, "internal", f"{type(error).__name__}: {error}"))

    def _send(self, envelope: list[bytes], reply: Reply) -> None:
        frames = [*envelope, encode_reply(reply)]
        if self._in_loop is not None:
            # Through the object that receives: a request that comes while ZeroMQ sends is announced only to it. With
            # NOBLOCK the future is done; it has an exception if the client is gone.
            sent = self._in_loop.send_multipart(frames, zmq.NOBLOCK)
            if isinstance(sent, asyncio.Future):
                sent.exception()
            return
        with contextlib.suppress(zmq.ZMQError):  # the client may be gone
            self._socket.send_multipart(frames, zmq.NOBLOCK)

    async def stop(self) -> None:
        """Stop answering in the event loop; commands under way are given a second. Then close."""
        if self._answering:
            await asyncio.wait(self._answering, timeout=_END_S)
        if self._serving is not None:
            self._serving.cancel()
            await asyncio.gather(self._serving, return_exceptions=True)
            with contextlib.suppress(NotImplementedError):  # where it is not the loop that watches the socket
                asyncio.get_running_loop().remove_reader(self._socket.FD)
        self.close()

    def close(self) -> None:
        """Close the socket, and remove it from its directory."""
        self._listening.close()
        self._release()

    def _release(self) -> None:
        if self._path is not None and self._lock is not None:
            # ZeroMQ leaves it behind; nobody else can have made it anew while we have the lock.
            self._path.unlink(missing_ok=True)
            self._lock.release()
