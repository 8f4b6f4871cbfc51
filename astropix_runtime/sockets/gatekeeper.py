"""Who may connect to a server with keys, and who was refused (docs/wire.md, "Keys")."""

import contextlib
import logging
import socket as sockets
import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import zmq
from zmq.utils.monitor import parse_monitor_message

from astropix_runtime.errors import KeyFileError
from astropix_runtime.sockets.key_files import (
    MAX_CLIENT_KEYS,
    ServerKeys,
    key_text,
    public_key_files,
    read_public_key,
)

log = logging.getLogger(__name__)

_HANDSHAKE_MS = 5000
"""Who has not shown a key by then is cut off: he takes a connection from others."""

_ZAP_DOMAIN = b"astropix-daq"
"""Has to be set: without a domain, ZeroMQ lets everybody in while nobody answers its questions."""

_ZAP_ENDPOINT = "inproc://zeromq.zap.01"
_ZAP_VERSION = b"1.0"
_READ_AGAIN_S = 1.0
_SAME_TIME_NS = 100_000_000
"""File systems stamp changes with a clock that ticks a few hundred times a second."""

_REPEAT_S = 60.0
_MAX_ADDRESSES = 64
_JOIN_S = 5.0

_CRYPTOGRAPHIC = 0x11000001
_PROTOCOL_FAILURES = {
    zmq.PROTOCOL_ERROR_ZMTP_MECHANISM_MISMATCH.value: "it shows no key",
    _CRYPTOGRAPHIC: "it takes us for another server",
}
_EVENTS = (
    zmq.EVENT_ACCEPTED
    | zmq.EVENT_DISCONNECTED
    | zmq.EVENT_HANDSHAKE_FAILED_NO_DETAIL
    | zmq.EVENT_HANDSHAKE_FAILED_PROTOCOL
)


class AllowedClients:
    """The public keys in a directory.

    It is read again when a client comes: at once where files came or went, once a second for what changed in a file.

    A file that cannot be read allows nobody, and `say` gets one line about it, once.
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


@dataclass(frozen=True, slots=True)
class Admission:
    """The answer to ZeroMQ, `reply`; who was refused, as `address` and `key`, both empty where nobody was."""

    reply: list[bytes]
    address: str = ""
    key: str = ""


def admit(question: Sequence[bytes], allowed: AllowedClients) -> Admission:
    """The answer to a question of ZeroMQ's authentication protocol (RFC 27): only an allowed key is let in."""
    _, request_id, domain, address, _, mechanism, *credentials = question
    refused = ""
    if domain == _ZAP_DOMAIN and mechanism == b"CURVE" and len(credentials) == 1:
        key = key_text(credentials[0])
        if key in allowed:
            return Admission([_ZAP_VERSION, request_id, b"200", b"", b"", b""])
        refused = key
    reply = [_ZAP_VERSION, request_id, b"400", b"unknown key", b"", b""]
    return Admission(reply, address.decode(errors="replace") if refused else "", refused)


@dataclass
class _Refused:
    reported_at: float
    since: int = 0


class Refusals:
    """Tells `say` who was refused at `what`: the same address for the same reason once a minute, with the number.

    At most 64 lines a minute in all, so that they cannot fill a log. `number`: all that were refused.
    """

    def __init__(self, what: str, say: Callable[[str], None], clock: Callable[[], float] = time.monotonic) -> None:
        self._what = what
        self._say = say
        self._clock = clock
        self._peers: dict[tuple[str, str], _Refused] = {}
        self.number = 0

    def note(self, address: str, reason: str) -> None:
        """A client was refused; `address`: empty where it is not known."""
        self.number += 1
        now = self._clock()
        peer = self._peers.get((address, reason))
        if peer is not None and now < peer.reported_at + _REPEAT_S:
            peer.since += 1
            return
        if peer is None and not self._has_room(now):
            return
        more = f" ({peer.since} times more since it was last said)" if peer is not None and peer.since else ""
        self._peers[address, reason] = _Refused(now)
        self._say(f"{self._what} refused {address or 'somebody who is gone already'}: {reason}{more}")

    def _has_room(self, now: float) -> bool:
        """Whether there is room for another one, after those have gone who were not refused again."""
        if len(self._peers) >= _MAX_ADDRESSES:
            self._peers = {key: peer for key, peer in self._peers.items() if now < peer.reported_at + _REPEAT_S}
        return len(self._peers) < _MAX_ADDRESSES


class Gatekeeper:
    """Lets only clients with an allowed key connect to `socket`, and watches who breaks off, in a thread of its own.

    To be made before `socket` is bound, one for each context; to be closed after the socket, before the context.
    `what`: the socket's name for people. `say` gets lines about who was refused, not too often, from the thread. What
    does not speak ZeroMQ at all is cut off without being counted.
    """

    def __init__(
        self, socket: "zmq.Socket[Any]", keys: ServerKeys, what: str, say: Callable[[str], None] = log.warning
    ) -> None:
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
        socket.setsockopt(zmq.ZAP_DOMAIN, _ZAP_DOMAIN)
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
        admission = admit(question, self._allowed)
        if admission.key:
            self._refusals.note(admission.address, f"its key {admission.key} is not among the client_keys")
        return admission.reply

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
