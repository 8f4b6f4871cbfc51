"""Keys at the server's side: who may connect to a TCP socket of ours, and who was refused (docs/wire.md, "Keys")."""

import contextlib
import logging
import socket as sockets
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import zmq
from zmq.utils.monitor import parse_monitor_message

from daqd.errors import ConfigError
from daqd.sockets.refusals import Refusals
from protocol.errors import KeyFileError
from protocol.wire.handshake import OTHER_MECHANISM
from protocol.wire.key_files import ClientKeys, KeyPair, public_key_files, read_key_pair, read_public_key

log = logging.getLogger(__name__)

MAX_CLIENT_KEYS = 10_000

_DOMAIN = b"astropix-daq"
"""Has to be set: without a domain, ZeroMQ lets everybody in while nobody answers its questions."""

_ZAP_ENDPOINT = "inproc://zeromq.zap.01"
_ZAP_VERSION = b"1.0"
_CRYPTOGRAPHIC = 0x11000001
_PROTOCOL_FAILURES = {OTHER_MECHANISM: "it shows no key", _CRYPTOGRAPHIC: "it takes us for another server"}
_READ_AGAIN_S = 1.0
_SAME_TIME_NS = 100_000_000
"""File systems stamp changes with a clock that ticks a few hundred times a second."""

_JOIN_S = 5.0
_HANDSHAKE_MS = 5000
"""Who has not shown a key by then is cut off: he takes a connection from others."""

_EVENTS = (
    zmq.EVENT_ACCEPTED
    | zmq.EVENT_DISCONNECTED
    | zmq.EVENT_HANDSHAKE_FAILED_NO_DETAIL
    | zmq.EVENT_HANDSHAKE_FAILED_PROTOCOL
)


@dataclass(frozen=True)
class ServerKeys:
    """Who the server is, and where the public keys of the clients lie that may connect."""

    own: KeyPair
    client_keys: Path


def load_server_keys(server_key: Path | str, client_keys: Path | str, where: str = "[security]") -> ServerKeys:
    """The keys in these places, all of them looked at; `ConfigError` with every mistake, beginning with `where`."""
    mistakes: list[str] = []
    own: KeyPair | None = None
    try:
        own = checked_pair(read_key_pair(server_key), f"{server_key}: ")
    except KeyFileError as error:
        mistakes.append(f"server_key: {error}")
    try:
        files = public_key_files(client_keys)
    except KeyFileError as error:
        mistakes.append(f"client_keys: {error}")
        files = []
    if len(files) > MAX_CLIENT_KEYS:
        mistakes.append(f"client_keys: {client_keys}: has {len(files)} keys, at most {MAX_CLIENT_KEYS} are taken")
        files = []
    for path in files:
        try:
            read_public_key(path)
        except KeyFileError as error:
            mistakes.append(f"client_keys: {error}")
    if own is None or mistakes:
        raise ConfigError(mistakes, where)
    return ServerKeys(own, Path(client_keys).expanduser())


def checked_pair(keys: KeyPair, where: str = "") -> KeyPair:
    """`keys`, if the public one is that of the secret one; else `KeyFileError`."""
    if zmq.curve_public(keys.secret.encode()) != keys.public.encode():
        raise KeyFileError(f"{where}the secret key does not belong to the public key {keys.public}")
    return keys


def secure_client(socket: "zmq.Socket[Any]", keys: ClientKeys) -> None:
    """Have `socket` show these keys, and trust only that server; before it connects."""
    socket.setsockopt(zmq.CURVE_SERVERKEY, keys.server.public.encode())
    socket.setsockopt(zmq.CURVE_PUBLICKEY, keys.own.public.encode())
    socket.setsockopt(zmq.CURVE_SECRETKEY, keys.own.secret.encode())


def secure_server(
    socket: "zmq.Socket[Any]", keys: ServerKeys, what: str, say: Callable[[str], None] = log.warning
) -> "Gatekeeper":
    """Let only clients with an allowed key connect to `socket`; before it binds, one socket a context.

    `what`: the socket's name for people. `say`: is told who was refused, not too often, from another thread. The
    gatekeeper has to be closed after the socket, before the context.
    """
    return Gatekeeper(socket, keys, what, say)


class AllowedClients:
    """The public keys in a directory.

    It is read again when a client comes: at once where files came or went, once a second for what changed in a file.

    A file that cannot be read allows nobody, and `say` is told so once.
    """

    def __init__(
        self, directory: Path, say: Callable[[str], None], clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._directory = directory
        self._say = say
        self._clock = clock
        self._keys: set[str] = set()
        self._complaints: set[str] = set()
        self._changed_ns: int | None = None
        self._read_at = float("-inf")
        self._read()

    def __contains__(self, key: str) -> bool:
        changed_ns = self._last_change()
        if changed_ns is None or changed_ns != self._changed_ns or self._clock() >= self._read_at + _READ_AGAIN_S:
            self._read()
        return key in self._keys

    def _last_change(self) -> int | None:
        """When the directory was changed; None where that says nothing, as it can be changed once more at that time."""
        try:
            changed_ns = self._directory.stat().st_mtime_ns
        except OSError:
            return 0
        return None if abs(time.time_ns() - changed_ns) < _SAME_TIME_NS else changed_ns

    def _read(self) -> None:
        self._read_at = self._clock()
        self._changed_ns = self._last_change()
        self._keys, complaints = set[str](), set[str]()
        try:
            files = public_key_files(self._directory)[:MAX_CLIENT_KEYS]
        except KeyFileError as error:
            complaints.add(f"no client is allowed: {error}")
            files = []
        for path in files:
            try:
                self._keys.add(read_public_key(path).public)
            except KeyFileError as error:
                complaints.add(f"a client key is passed over: {error}")
        if not self._keys and not complaints:
            complaints.add(f"no public key is in {self._directory} yet: nobody can connect")
        for text in sorted(complaints - self._complaints):
            self._say(text)
        self._complaints = complaints


class Gatekeeper:
    """Answers ZeroMQ's questions about clients, and watches who breaks off, in a thread of its own.

    `refused`: connections that did not get in. What is no ZeroMQ at all is cut off without being counted.
    """

    def __init__(self, socket: "zmq.Socket[Any]", keys: ServerKeys, what: str, say: Callable[[str], None]) -> None:
        self._allowed = AllowedClients(keys.client_keys, lambda text: say(f"{what}: {text}"))
        self._refusals = Refusals(what, say)
        self._accepted: dict[int, str] = {}
        self._failed = ""
        self._wake, self._waker = sockets.socketpair()
        context = socket.context
        self._questions: zmq.Socket[bytes] = context.socket(zmq.REP, socket_class=zmq.Socket)
        self._events: zmq.Socket[bytes] = context.socket(zmq.PAIR, socket_class=zmq.Socket)
        for own in (self._questions, self._events):
            own.set(zmq.LINGER, 0)
            # Never full: ZeroMQ would wait for us with all its connections.
            own.set(zmq.RCVHWM, 0)
            own.set(zmq.SNDHWM, 0)
        self._questions.bind(_ZAP_ENDPOINT)
        endpoint = f"inproc://gatekeeper-{id(self)}"
        socket.monitor(endpoint, _EVENTS)
        self._events.connect(endpoint)
        socket.setsockopt(zmq.HANDSHAKE_IVL, _HANDSHAKE_MS)
        socket.setsockopt(zmq.CURVE_SERVER, 1)
        socket.setsockopt(zmq.CURVE_SECRETKEY, keys.own.secret.encode())
        socket.setsockopt(zmq.ZAP_DOMAIN, _DOMAIN)
        self._thread = threading.Thread(target=self._serve, name="gatekeeper")
        self._thread.start()

    @property
    def refused(self) -> int:
        """Connections that did not get in."""
        return self._refusals.number

    def _serve(self) -> None:
        poller = zmq.Poller()
        for each in (self._questions, self._events, self._wake):
            poller.register(each, zmq.POLLIN)
        while True:
            ready = dict(poller.poll())
            if self._wake.fileno() in ready:
                return
            try:
                if self._questions in ready:
                    self._questions.send_multipart(self._answer(self._questions.recv_multipart()))
                if self._events in ready:
                    self._watch(parse_monitor_message(self._events.recv_multipart()))
            except Exception:  # whoever answers no more lets nobody in any more
                log.exception("a fault in looking at a client's key")

    def _answer(self, question: list[bytes]) -> list[bytes]:
        """The reply to a question of ZeroMQ's authentication protocol (RFC 27)."""
        _, request_id, domain, address, _, mechanism, *credentials = question
        allowed = False
        if domain == _DOMAIN and mechanism == b"CURVE" and len(credentials) == 1:
            key = _z85(credentials[0])
            allowed = key in self._allowed
            if not allowed:
                self._refusals.note(address.decode(errors="replace"), f"its key {key} is not among the client_keys")
        status, reason = (b"200", b"") if allowed else (b"400", b"unknown key")
        return [_ZAP_VERSION, request_id, status, reason, b"", b""]

    def _watch(self, event: Any) -> None:
        """One event of the socket. A failure is followed by the end of its connection, which has the number of it."""
        kind, value = event["event"], event["value"]
        if kind == zmq.EVENT_ACCEPTED:
            self._accepted[value] = _peer(value)
        elif kind == zmq.EVENT_HANDSHAKE_FAILED_PROTOCOL:
            self._failed = _PROTOCOL_FAILURES.get(value, "it does not shake hands as a client with a key does")
        elif kind == zmq.EVENT_HANDSHAKE_FAILED_NO_DETAIL:
            self._failed = "it went away before it had shown a key"
        elif kind == zmq.EVENT_DISCONNECTED:
            address, reason = self._accepted.pop(value, ""), self._failed
            self._failed = ""
            if reason:
                self._refusals.note(address, reason)

    def close(self) -> None:
        """End the thread, close its sockets; nobody is let in any more."""
        with contextlib.suppress(OSError):
            self._waker.send(b"!")
        self._thread.join(_JOIN_S)
        self._questions.close()
        self._events.close()
        self._wake.close()
        self._waker.close()


def _z85(key: bytes) -> str:
    from zmq.utils import z85

    return z85.encode(key).decode()


def _peer(descriptor: int) -> str:
    """The address of the other end of a connection that may be gone by now; empty where it is."""
    try:
        connection = sockets.socket(fileno=descriptor)
    except OSError:
        return ""
    try:
        name = connection.getpeername()
    except OSError:
        return ""
    finally:
        connection.detach()  # it is not ours
    return str(name[0]) if isinstance(name, tuple) else ""
