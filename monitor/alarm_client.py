"""What a running `apx-sanity` is asked and told: as docs/wire.md, "Control", says."""

import math
import time
import uuid
from typing import Any, Self

import zmq

from astropix_runtime.sockets.endpoints import forbidden, is_absent
from astropix_runtime.sockets.key_files import ClientKeys
from astropix_runtime.sockets.socket_directories import default_runtime_dir
from monitor.errors import AlarmServiceError
from monitor.receiving.curve import HandshakeWatch, secure_client
from protocol.errors import MessageError
from protocol.wire.messages import Request, decode_reply, encode_request


def default_control_endpoint(name: str) -> str:
    """`ipc://<runtime directory>/<name>.sanity.ipc`; the directory is that of the daemon of this user."""
    return f"ipc://{default_runtime_dir() / name}.sanity.ipc"


class RefusedError(AlarmServiceError):
    """A request was refused; `code` as in docs/wire.md."""

    def __init__(self, code: str, message: str) -> None:
        super().__init__(message)
        self.code = code


class AlarmControlClient:
    """Asks the `apx-sanity` at `endpoint`; a context manager. `keys`: for TCP, where it takes only keys.

    `AlarmServiceError` where nobody answers.
    """

    def __init__(self, endpoint: str, timeout_s: float = 10.0, keys: ClientKeys | None = None) -> None:
        self._endpoint = endpoint
        self._timeout_s = timeout_s
        self._context: zmq.Context[zmq.Socket[bytes]] = zmq.Context()
        self._socket = self._context.socket(zmq.DEALER)
        self._socket.setsockopt(zmq.LINGER, 0)
        self._handshakes = HandshakeWatch(self._socket, endpoint, keyed=keys is not None)
        try:
            secure_client(self._socket, endpoint, keys)
            self._socket.connect(endpoint)
        except zmq.ZMQError as error:
            self.close()
            raise AlarmServiceError(
                f"cannot connect to {endpoint!r}: {zmq.strerror(error.errno or 0)}; give ipc://PATH or tcp://HOST:PORT"
            ) from None
        except BaseException:
            self.close()
            raise

    def call(self, command: str, **args: Any) -> dict[str, Any]:
        """Result of a command; `RefusedError` where it is refused."""
        if why := forbidden(self._endpoint):
            raise AlarmServiceError(why)
        if is_absent(self._endpoint):
            raise AlarmServiceError(f"no apx-sanity is at {self._endpoint}; is it running, with that configuration?")
        request = Request(id=uuid.uuid4().hex, cmd=command, args=args)
        try:
            frame = encode_request(request)
        except (ValueError, OverflowError) as error:  # halves of characters, as they come from a command line
            raise RefusedError("bad_arguments", f"{command}: cannot be sent: {error}") from None
        self._socket.send(frame)
        while self._wait_for_reply():
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

    def _wait_for_reply(self) -> bool:
        """Whether one has come in time; `AlarmServiceError` as soon as it is clear that we are not let in."""
        deadline = time.monotonic() + self._timeout_s
        poller = zmq.Poller()
        poller.register(self._socket, zmq.POLLIN)
        poller.register(self._handshakes.events, zmq.POLLIN)
        while (left_s := deadline - time.monotonic()) > 0:
            came = dict(poller.poll(math.ceil(left_s * 1000)))
            if self._socket in came:
                return True
            self._handshakes.take()
            if why := self._handshakes.refusal:
                raise AlarmServiceError(f"the apx-sanity at {self._endpoint} refuses this client: {why}")
            if why := self._handshakes.no_answer:
                raise AlarmServiceError(f"no apx-sanity answers at {self._endpoint}: {why}")
        return False

    def close(self) -> None:
        """Close the socket."""
        self._socket.close()
        self._handshakes.close()
        self._context.term()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()
