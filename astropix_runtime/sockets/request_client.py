"""A client for requests, blocking or in an event loop (docs/wire.md, "Control")."""

import math
import time
import uuid
from dataclasses import dataclass
from types import TracebackType
from typing import Any, Self

import zmq

from astropix_runtime.errors import AddressError, KeyFileError, RefusedError, UnreachableError
from astropix_runtime.sockets.endpoints import forbidden, is_absent, is_tcp
from astropix_runtime.sockets.handshake import Handshakes, HandshakeWatch
from astropix_runtime.sockets.key_files import ClientKeys, checked_pair
from protocol.errors import MessageError
from protocol.wire.messages import MAX_CONTROL_BYTES, Request, decode_reply, encode_request


@dataclass(frozen=True)
class RequestedService:
    """Who answers requests, in the words of error messages: the `name` it has, and `what` it is, like "a daqd".

    `if_absent`: a question for the person where no socket is there; `if_silent`: where nobody answers.
    """

    name: str
    what: str
    if_absent: str
    if_silent: str = ""


class Exchange:
    """One request to `service` at `endpoint`, and what comes back for it: bytes and errors, no sockets.

    `frame` is to be sent. `RefusedError` where the arguments cannot be sent.
    """

    def __init__(self, service: RequestedService, endpoint: str, command: str, args: dict[str, Any]) -> None:
        self._service = service
        self._endpoint = endpoint
        self._request = Request(id=uuid.uuid4().hex, cmd=command, args=args)
        try:
            self.frame = encode_request(self._request)
        except (ValueError, OverflowError) as error:  # halves of characters, as they come from a command line
            raise RefusedError("bad_arguments", f"{command}: cannot be sent: {error}") from None

    def result(self, frame: bytes) -> dict[str, Any] | None:
        """The result, from a frame that was received; None where that is the reply to a request given up before.

        `RefusedError`; `UnreachableError` where the frame is no reply at all.
        """
        try:
            reply = decode_reply(frame)
        except MessageError as error:
            raise UnreachableError(
                f"{self._endpoint} answers nonsense ({error}); is that {self._service.what}?"
            ) from None
        if not reply.answers(self._request):
            return None
        if reply.error is not None:
            raise RefusedError(reply.error.code, reply.error.message)
        return reply.result or {}

    def check(self, handshakes: Handshakes) -> None:
        """`UnreachableError` as soon as it is clear that the server does not let us in, or is not there."""
        if why := handshakes.refusal:
            raise UnreachableError(f"the {self._service.name} at {self._endpoint} refuses this client: {why}")
        if why := handshakes.no_answer:
            raise UnreachableError(f"no {self._service.name} answers at {self._endpoint}: {why}")

    def timed_out(self, timeout_s: float) -> UnreachableError:
        """The error where nothing has come in time."""
        where = f"{self._endpoint} within {timeout_s:g} s"
        return UnreachableError(f"no {self._service.name} answers at {where}{self._service.if_silent}")


class RequestClient:
    """Asks `service` at `endpoint`, one request at a time, from one thread; a context manager. `keys`: for TCP only.

    Raises `AddressError` where nothing can be at `endpoint`, `UnreachableError` where the keys cannot be used.
    """

    def __init__(
        self, endpoint: str, service: RequestedService, timeout_s: float = 10.0, keys: ClientKeys | None = None
    ) -> None:
        if keys is not None and not is_tcp(endpoint):
            raise UnreachableError(f"{endpoint} takes no keys: they are for tcp://ADDRESS:PORT")
        if keys is not None:
            try:
                checked_pair(keys.own)
            except KeyFileError as error:
                raise UnreachableError(str(error)) from None
        self._endpoint = endpoint
        self._service = service
        self._timeout_s = timeout_s
        self._context: zmq.Context[zmq.Socket[bytes]] = zmq.Context()
        self._socket = self._context.socket(zmq.DEALER)
        self._handshakes = HandshakeWatch(self._socket, endpoint, keyed=keys is not None)
        try:
            self._socket.setsockopt(zmq.LINGER, 0)
            self._socket.setsockopt(zmq.MAXMSGSIZE, MAX_CONTROL_BYTES)
            secure_client(self._socket, keys)
            self._socket.connect(endpoint)
        except zmq.ZMQError as error:
            self.close()
            raise AddressError(
                f"cannot connect to {endpoint!r}: {zmq.strerror(error.errno or 0)}; give ipc://PATH or tcp://HOST:PORT"
            ) from None

    def call(self, command: str, **args: Any) -> dict[str, Any]:
        """Result of a command; `RefusedError` where it is refused, `UnreachableError` where nobody answers in time."""
        exchange, poller = self._send(command, args), zmq.Poller()
        self._register(poller)
        deadline = time.monotonic() + self._timeout_s
        while (left_s := deadline - time.monotonic()) > 0:
            poller.poll(math.ceil(left_s * 1000))
            result = self._receive(exchange, probe=True)
            if result is not None:
                return result
        raise exchange.timed_out(self._timeout_s)

    async def call_async(self, command: str, **args: Any) -> dict[str, Any]:
        """The same as `call`, without blocking the event loop: who breaks off handshakes is not examined."""
        # Only here: it loads asyncio, which programs without an event loop do not need.
        from zmq.asyncio import Poller

        exchange, poller = self._send(command, args), Poller()
        self._register(poller)
        deadline = time.monotonic() + self._timeout_s
        while (left_s := deadline - time.monotonic()) > 0:
            await poller.poll(math.ceil(left_s * 1000))
            result = self._receive(exchange, probe=False)
            if result is not None:
                return result
        raise exchange.timed_out(self._timeout_s)

    def _send(self, command: str, args: dict[str, Any]) -> Exchange:
        # ZeroMQ would wait for a socket that is not there.
        if why := forbidden(self._endpoint):
            raise UnreachableError(why)
        if is_absent(self._endpoint):
            raise UnreachableError(f"no {self._service.name} is at {self._endpoint}; {self._service.if_absent}")
        exchange = Exchange(self._service, self._endpoint, command, args)
        self._socket.send(exchange.frame)
        return exchange

    def _register(self, poller: zmq.Poller) -> None:
        poller.register(self._socket, zmq.POLLIN)
        poller.register(self._handshakes.events, zmq.POLLIN)

    def _receive(self, exchange: Exchange, *, probe: bool) -> dict[str, Any] | None:
        """The result, if it has come."""
        while True:
            try:
                frames = self._socket.recv_multipart(zmq.NOBLOCK)
            except zmq.Again:
                break
            result = exchange.result(frames[-1])
            if result is not None:
                return result
        self._handshakes.take(probe=probe)
        exchange.check(self._handshakes)
        return None

    def close(self) -> None:
        """Close the connection; never waits."""
        self._socket.close()
        self._handshakes.close()
        self._context.term()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()


def secure_client(socket: "zmq.Socket[Any]", keys: ClientKeys | None) -> None:
    """Have `socket` show these keys, and trust only that server; before it connects. None: without keys."""
    if keys is not None:
        socket.setsockopt(zmq.CURVE_SERVERKEY, keys.server.public.encode())
        socket.setsockopt(zmq.CURVE_PUBLICKEY, keys.own.public.encode())
        socket.setsockopt(zmq.CURVE_SECRETKEY, keys.own.secret.encode())
