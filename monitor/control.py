"""Commands to a daemon (docs/wire.md, "Control"), for who was allowed to give them."""

import asyncio
import contextlib
import uuid
from typing import Any

import zmq
import zmq.asyncio

from astropix_runtime.sockets.endpoints import forbidden, is_absent
from astropix_runtime.sockets.key_files import ClientKeys
from monitor.errors import MonitorError
from monitor.receiving.curve import secure_client
from protocol.errors import MessageError
from protocol.wire.messages import MAX_CONTROL_BYTES, Request, decode_reply, encode_request

_TIMEOUT_S = 65.0
"""`stop` takes as long as what was read needs to reach the disk."""


class ControlRefusal(MonitorError):  # noqa: N818 - it is an answer
    """The daemon refuses a command, or does not answer."""


class Controller:
    """Asks the daemon at `endpoint`, `ipc://PATH` or `tcp://HOST:PORT` with `keys`. A connection for each command."""

    def __init__(self, endpoint: str, keys: ClientKeys | None = None, timeout_s: float = _TIMEOUT_S) -> None:
        self.endpoint = endpoint
        self._keys = keys
        self._timeout_s = timeout_s

    async def call(self, command: str, **args: Any) -> dict[str, Any]:
        """Result of a command; `ControlRefusal`."""
        if why := forbidden(self.endpoint):
            raise ControlRefusal(why)
        if is_absent(self.endpoint):
            raise ControlRefusal(f"no daemon is at {self.endpoint}; is daqd running?")
        request = Request(id=uuid.uuid4().hex, cmd=command, args=args)
        try:
            frame = encode_request(request)
        except (ValueError, OverflowError) as error:  # halves of characters, as JSON can carry them
            raise ControlRefusal(f"{command}: cannot be sent: {error}") from None
        context = zmq.asyncio.Context()
        socket = context.socket(zmq.DEALER)
        try:
            socket.set(zmq.LINGER, 0)
            socket.set(zmq.MAXMSGSIZE, MAX_CONTROL_BYTES)
            secure_client(socket, self.endpoint, self._keys)
            socket.connect(self.endpoint)
            await socket.send(frame)
            async with asyncio.timeout(self._timeout_s):
                return await _result(socket, request)
        except TimeoutError:
            raise ControlRefusal(f"no daemon answers at {self.endpoint} within {self._timeout_s:g} s") from None
        except zmq.ZMQError as error:
            raise ControlRefusal(f"cannot ask {self.endpoint}: {zmq.strerror(error.errno or 0)}") from None
        finally:
            socket.close()
            with contextlib.suppress(zmq.ZMQError):
                context.term()


async def _result(socket: zmq.asyncio.Socket, request: Request) -> dict[str, Any]:
    while True:
        try:
            reply = decode_reply((await socket.recv_multipart())[-1])
        except MessageError as error:
            raise ControlRefusal(f"the daemon answers nonsense: {error}") from None
        if not reply.answers(request):
            continue
        if reply.error is not None:
            raise ControlRefusal(reply.error.message)
        return reply.result or {}
