"""The control socket of a running `apx-sanity`, from its side. Requests and replies as in docs/wire.md, "Control"."""

import contextlib
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import zmq

from astropix_runtime.storage.process_lock import ProcessLock, lock_socket
from monitor.alarm_client import RefusedError
from monitor.errors import AlarmServiceError
from monitor.sanity.alarms.gatekeeper import Gatekeeper
from protocol.errors import MessageError
from protocol.wire.messages import (
    MAX_CONTROL_BYTES,
    Reply,
    decode_request,
    encode_reply,
)

_MOST_AT_ONCE = 20


Command = Callable[[dict[str, Any]], dict[str, Any]]


class AlarmControl:
    """Answers requests at `endpoint` with `commands`, whenever `serve` is called; of whom `gatekeeper` lets in.

    A command gets the arguments and returns the result, or raises `RefusedError`. `AlarmServiceError` where the socket
    cannot be had. The directory of an ipc socket is made for this user only.
    """

    def __init__(
        self,
        context: "zmq.Context[zmq.Socket[bytes]]",
        endpoint: str,
        commands: Mapping[str, Command],
        gatekeeper: Gatekeeper | None = None,
    ) -> None:
        self._commands = commands
        self._path = Path(endpoint.removeprefix("ipc://")) if endpoint.startswith("ipc://") else None
        self._lock: ProcessLock | None = None if self._path is None else _claim(self._path)
        self._socket: zmq.Socket[bytes] = context.socket(zmq.ROUTER)
        self._socket.setsockopt(zmq.LINGER, 200)
        self._socket.setsockopt(zmq.MAXMSGSIZE, MAX_CONTROL_BYTES)
        if gatekeeper is not None:
            gatekeeper.guard(self._socket, endpoint)
        try:
            self._socket.bind(endpoint)
        except zmq.ZMQError as error:
            self.close()
            raise AlarmServiceError(
                f"cannot listen at {endpoint}: {zmq.strerror(error.errno or 0)}; "
                "is another apx-sanity running? Else choose another control.endpoint"
            ) from None

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
            self._lock.release()


def _claim(path: Path) -> ProcessLock:
    """The lock beside an ipc socket, so that nobody takes it from another who is using it."""
    way_out = "end that apx-sanity, or give this one another sanity.name"
    return lock_socket(path, f"the control socket {path}", AlarmServiceError, "silence alarms", way_out)
