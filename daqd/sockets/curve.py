"""Keys at the server's side: who may connect to a TCP socket of ours, and who was refused (docs/wire.md, "Keys")."""

import contextlib
import logging
import socket as sockets
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import zmq
from zmq.utils.monitor import parse_monitor_message

from astropix_runtime.sockets.allowed_clients import (
    HANDSHAKE_MS,
    ZAP_DOMAIN,
    ZAP_ENDPOINT,
    AllowedClients,
    ServerKeys,
    judge,
    read_server_keys,
)
from astropix_runtime.sockets.handshake import OTHER_MECHANISM
from astropix_runtime.sockets.key_files import ClientKeys, KeyPair
from astropix_runtime.sockets.refusals import Refusals
from daqd.errors import ConfigError
from protocol.errors import KeyFileError

log = logging.getLogger(__name__)

_CRYPTOGRAPHIC = 0x11000001
_PROTOCOL_FAILURES = {OTHER_MECHANISM: "it shows no key", _CRYPTOGRAPHIC: "it takes us for another server"}
_JOIN_S = 5.0

_EVENTS = (
    zmq.EVENT_ACCEPTED
    | zmq.EVENT_DISCONNECTED
    | zmq.EVENT_HANDSHAKE_FAILED_NO_DETAIL
    | zmq.EVENT_HANDSHAKE_FAILED_PROTOCOL
)


def load_server_keys(server_key: Path | str, client_keys: Path | str, where: str = "[security]") -> ServerKeys:
    """The keys in these places, all of them looked at; `ConfigError` with every mistake, beginning with `where`."""
    keys, mistakes = read_server_keys(server_key, client_keys)
    if keys is not None:
        try:
            checked_pair(keys.own, f"{server_key}: ")
        except KeyFileError as error:
            mistakes.append(f"server_key: {error}")
    if keys is None or mistakes:
        raise ConfigError(mistakes, where)
    return keys


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
        self._questions.bind(ZAP_ENDPOINT)
        endpoint = f"inproc://gatekeeper-{id(self)}"
        socket.monitor(endpoint, _EVENTS)
        self._events.connect(endpoint)
        socket.setsockopt(zmq.HANDSHAKE_IVL, HANDSHAKE_MS)
        socket.setsockopt(zmq.CURVE_SERVER, 1)
        socket.setsockopt(zmq.CURVE_SECRETKEY, keys.own.secret.encode())
        socket.setsockopt(zmq.ZAP_DOMAIN, ZAP_DOMAIN)
        # Without this, who knows the server's key is let in when nobody is there to be asked.
        socket.setsockopt(zmq.ZAP_ENFORCE_DOMAIN, 1)
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
        verdict = judge(question, self._allowed)
        if verdict.key:
            self._refusals.note(verdict.address, f"its key {verdict.key} is not among the client_keys")
        return verdict.reply

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
