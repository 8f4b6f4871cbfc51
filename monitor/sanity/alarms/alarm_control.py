"""The control socket of a running `apx-sanity`, from both sides. Requests and replies as in docs/wire.md, "Control"."""

import contextlib
import math
import os
import stat
import time
import uuid
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import IO, Any, Self

import zmq

from monitor.errors import AlarmServiceError
from protocol.errors import MessageError
from protocol.storage import file_lock
from protocol.wire.messages import (
    MAX_CONTROL_BYTES,
    Reply,
    Request,
    decode_reply,
    decode_request,
    encode_reply,
    encode_request,
)

_MOST_AT_ONCE = 20


class RefusedError(AlarmServiceError):
    """A request was refused; `code` as in docs/wire.md."""

    def __init__(self, code: str, message: str) -> None:
        super().__init__(message)
        self.code = code


Command = Callable[[dict[str, Any]], dict[str, Any]]


class AlarmControl:
    """Answers requests at `endpoint` with `commands`, whenever `serve` is called.

    A command gets the arguments and returns the result, or raises `RefusedError`. `AlarmServiceError` where the socket
    cannot be had. The directory of an ipc socket is made for this user only.
    """

    def __init__(
        self, context: "zmq.Context[zmq.Socket[bytes]]", endpoint: str, commands: Mapping[str, Command]
    ) -> None:
        self._commands = commands
        self._path = Path(endpoint.removeprefix("ipc://")) if endpoint.startswith("ipc://") else None
        self._lock: IO[str] | None = None if self._path is None else _claim(self._path)
        self._socket: zmq.Socket[bytes] = context.socket(zmq.ROUTER)
        self._socket.setsockopt(zmq.LINGER, 200)
        self._socket.setsockopt(zmq.MAXMSGSIZE, MAX_CONTROL_BYTES)
        try:
            self._socket.bind(endpoint)
        except zmq.ZMQError as error:
            self.close()
            raise AlarmServiceError(
                f"cannot listen at {endpoint}: {zmq.strerror(error.errno or 0)}; "
                "is another apx-sanity running? Else choose another control.endpoint"
            ) from None
        self.endpoint = self._socket.getsockopt_string(zmq.LAST_ENDPOINT)

    def serve(self) -> None:
        """Answer what has come; never waits."""
        for _ in range(_MOST_AT_ONCE):
            try:
                client, *frames = self._socket.recv_multipart(zmq.NOBLOCK)
            except zmq.Again:
                return
            reply = encode_reply(self._answer(frames[-1] if frames else b""))
            # A REQ socket puts an empty frame before the request, a DEALER does not. The client may be gone.
            with contextlib.suppress(zmq.ZMQError):
                self._socket.send_multipart([client, *frames[:-1], reply], zmq.NOBLOCK)

    def _answer(self, frame: bytes) -> Reply:
        try:
            request = decode_request(frame)
        except MessageError as error:
            return Reply.refuse("", "bad_request", str(error))
        command = self._commands.get(request.cmd)
        if command is None:
            known = ", ".join(self._commands)
            return Reply.refuse(request.id, "unknown_command", f"no command {request.cmd[:40]!r}: known are {known}")
        try:
            return Reply(id=request.id, ok=True, result=command(request.args))
        except RefusedError as error:
            return Reply.refuse(request.id, error.code, str(error))

    def close(self) -> None:
        """Close the socket, and take it away."""
        self._socket.close()
        if self._path is not None and self._lock is not None:
            self._path.unlink(missing_ok=True)
            self._lock.close()


def _claim(path: Path) -> IO[str]:
    """The lock beside an ipc socket, so that nobody takes it from another who is using it."""
    try:
        path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        status = path.parent.stat()
        if hasattr(os, "getuid") and (status.st_uid != os.getuid() or stat.S_IMODE(status.st_mode) & 0o022):
            raise AlarmServiceError(
                f"{path.parent} belongs to somebody else or others may write to it, so others could silence alarms; "
                "chmod 700 it or choose another control.endpoint"
            )
        lock = path.with_suffix(".lock").open("a+")
    except AlarmServiceError:
        raise
    except OSError as error:
        raise AlarmServiceError(f"cannot use the directory {path.parent}: {error.strerror or error}") from None
    if not file_lock.try_lock(lock.fileno()):
        lock.close()
        who = file_lock.holder(path.with_suffix(".lock"))
        raise AlarmServiceError(f"another apx-sanity is using {path} ({who}): end it, or give this one another name")
    file_lock.sign(lock.fileno())
    return lock


class AlarmControlClient:
    """Asks the `apx-sanity` at `endpoint`; a context manager. `AlarmServiceError` where nobody answers."""

    def __init__(self, endpoint: str, timeout_s: float = 10.0) -> None:
        self._endpoint = endpoint
        self._timeout_s = timeout_s
        self._context: zmq.Context[zmq.Socket[bytes]] = zmq.Context()
        self._socket = self._context.socket(zmq.DEALER)
        self._socket.setsockopt(zmq.LINGER, 0)
        try:
            self._socket.connect(endpoint)
        except zmq.ZMQError as error:
            self.close()
            raise AlarmServiceError(
                f"cannot connect to {endpoint!r}: {zmq.strerror(error.errno or 0)}; give ipc://PATH or tcp://127.0.0.1:PORT"
            ) from None

    def call(self, command: str, **args: Any) -> dict[str, Any]:
        """Result of a command; `RefusedError` where it is refused."""
        path = self._endpoint.removeprefix("ipc://")
        if path != self._endpoint and not Path(path).exists():
            raise AlarmServiceError(f"no apx-sanity is at {self._endpoint}; is it running, with that configuration?")
        request = Request(id=uuid.uuid4().hex, cmd=command, args=args)
        self._socket.send(encode_request(request))
        deadline = time.monotonic() + self._timeout_s
        while (left_s := deadline - time.monotonic()) > 0 and self._socket.poll(math.ceil(left_s * 1000)):
            try:
                reply = decode_reply(self._socket.recv_multipart()[-1])
            except MessageError as error:
                raise AlarmServiceError(
                    f"{self._endpoint} answers nonsense ({error}); is that an apx-sanity?"
                ) from None
            if not reply.answers(request):
                continue
            if reply.error is not None:
                raise RefusedError(reply.error.code, reply.error.message)
            return reply.result or {}
        raise AlarmServiceError(f"no apx-sanity answers at {self._endpoint} within {self._timeout_s:g} s")

    def close(self) -> None:
        """Close the socket."""
        self._socket.close()
        self._context.term()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()
