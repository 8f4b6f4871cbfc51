"""What becomes of a client's handshakes, in words: ZeroMQ itself keeps silent about a server that refuses.

ZeroMQ only reports that a handshake was broken off: a server that does not accept our key looks the same as a
tunnel with nothing at its other end. So a second connection, made here byte by byte (ZMTP 3), finds out who that is.
"""

import contextlib
import socket
import struct
import time
from enum import StrEnum
from typing import Any

import zmq

from astropix_runtime.sockets.endpoints import tcp_address

_EVENTS = (
    zmq.EVENT_HANDSHAKE_SUCCEEDED
    | zmq.EVENT_HANDSHAKE_FAILED_NO_DETAIL
    | zmq.EVENT_HANDSHAKE_FAILED_PROTOCOL
    | zmq.EVENT_HANDSHAKE_FAILED_AUTH
)

_BROKEN_OFF = 2
"""A server that ends may break off one handshake; one that breaks off twice in a row does not like this client."""

_BROKEN_OFF_STILL = 20
"""After so many more, the other side is examined again: at the other end of a tunnel, somebody else may have come."""

_CONNECT_S = 1.0
_GREETING_S = 2.0
_PART_BYTES = 64

# event (u2), value (i4), in the order of this machine
_EVENT = struct.Struct("=Hi")

_SIGNATURE = b"\xff" + bytes(8) + b"\x7f"
_MECHANISM = slice(12, 32)
HALF_GREETING = _SIGNATURE + b"\x03"
"""Our signature and version. Who reads it sends all of its own greeting, and has no reason yet to break off."""


class Peer(StrEnum):
    """Who takes connections there."""

    NOBODY = "closes them without a word"
    STRANGER = "does not speak ZeroMQ"
    KEYLESS = "has no keys"
    KEYED = "has keys"


class Greeting:
    """Reads the greeting of whoever takes connections.

    `peer`: who that is; None as long as it is not known. `ended`: no more will be known.
    """

    def __init__(self) -> None:
        self._received = b""
        self._answered = False
        self.peer: Peer | None = None
        self.ended = False

    def feed(self, part: bytes) -> bytes:
        """Take what has arrived, nothing where the connection was closed; returns what is to be sent.

        ZeroMQ speaks first: nothing is to be sent before.
        """
        self._received += part
        self.peer = self._judge(closed=not part)
        self.ended = not part or self.peer is not None
        if self.ended or self._answered or len(self._received) < len(_SIGNATURE):
            return b""
        self._answered = True
        return HALF_GREETING

    def give_up(self) -> None:
        """Nothing more has arrived in time."""
        self.ended = True
        if not self._received:
            self.peer = Peer.STRANGER

    def _judge(self, *, closed: bool) -> Peer | None:
        received = self._received
        if not received:
            return Peer.NOBODY if closed else None
        if received[0] != _SIGNATURE[0] or received[9:10] not in (b"", _SIGNATURE[9:]):
            return Peer.STRANGER
        if len(received) < _MECHANISM.stop:
            return None
        return Peer.KEYED if received[_MECHANISM].rstrip(b"\0") == b"CURVE" else Peer.KEYLESS


class Handshakes:
    """Is fed with the events of one socket; `keyed`: whether that has keys.

    `refusal`: why the server does not let this client in, one line; empty as long as nothing is known, and where it
    does. `no_answer`: in the same way, why there is no server, although connections are taken. `given_up`: ZeroMQ does
    not try again by itself. `unexplained`: somebody breaks off handshakes, and `explain` needs to know who.
    """

    def __init__(self, keyed: bool) -> None:
        self._keyed = keyed
        self._broken_off = 0
        self.refusal = ""
        self.no_answer = ""
        self.given_up = False

    @property
    def unexplained(self) -> bool:
        """Whether handshakes are broken off, and it is time to find out by whom."""
        known = self.refusal or self.no_answer
        return self._broken_off >= (_BROKEN_OFF_STILL if known else _BROKEN_OFF) and not self.given_up

    def feed(self, frame: bytes) -> None:
        """Take the first frame of a monitor's message; anything else is ignored."""
        if len(frame) != _EVENT.size:
            return
        event, value = _EVENT.unpack(frame)
        if event == zmq.EVENT_HANDSHAKE_SUCCEEDED:
            self._broken_off, self.refusal, self.no_answer, self.given_up = 0, "", "", False
        elif event == zmq.EVENT_HANDSHAKE_FAILED_AUTH:
            self._refused("it does not know this key: the public one has to be put into its directory of client_keys")
        elif event == zmq.EVENT_HANDSHAKE_FAILED_PROTOCOL:
            mismatch = self._mismatch() if value == zmq.PROTOCOL_ERROR_ZMTP_MECHANISM_MISMATCH else ""
            self._refused(mismatch or "the handshake fails: the server key is not its own, or it is no daqd")
        elif event == zmq.EVENT_HANDSHAKE_FAILED_NO_DETAIL:
            self._broken_off += 1

    def _refused(self, why: str) -> None:
        self.refusal, self.no_answer, self.given_up = why, "", True

    def explain(self, peer: Peer | None) -> None:
        """Who breaks off the handshakes; None where that could not be found out."""
        self._broken_off = 0
        self.refusal = self.no_answer = ""
        if peer is Peer.NOBODY:
            self.no_answer = "connections are taken and closed without a word: a tunnel, and nothing at its other end?"
        elif peer is Peer.STRANGER:
            self.no_answer = "what takes connections there does not speak ZeroMQ: is that the port of a stream?"
        elif peer is not None and (peer is Peer.KEYED) != self._keyed:
            self.refusal = self._mismatch()
        elif peer is Peer.KEYED:
            self.refusal = "it breaks off the handshake: the server key is not its own"
        else:
            self.refusal = (
                "it breaks off the handshake: the server key is not its own, or it has no keys, or is no daqd"
                if self._keyed
                else "it breaks off the handshake: it may want a key (--server-key and --key), or it is no daqd"
            )

    def _mismatch(self) -> str:
        if self._keyed:
            return "it has no keys: leave --server-key and --key away, if that is the server that is meant"
        return "it takes only clients with a key: give its public key and one of your own (--server-key and --key)"


class _PeerProbe:
    """A connection to `endpoint`, which takes connections at once: only connecting blocks.

    `peer`: None where that is not known, or not yet.
    """

    def __init__(self, endpoint: str) -> None:
        self._greeting = Greeting()
        self._until = time.monotonic() + _GREETING_S
        self._socket: socket.socket | None = None
        address = tcp_address(endpoint)
        if address is not None:
            with contextlib.suppress(OSError):
                self._socket = socket.create_connection(address, _CONNECT_S)
                self._socket.setblocking(False)

    @property
    def peer(self) -> Peer | None:
        return self._greeting.peer

    def ended(self) -> bool:
        """Whether it is known now who that is, or will not be."""
        if self._socket is None:
            return True
        while not self._greeting.ended:
            try:
                self._socket.sendall(self._greeting.feed(self._socket.recv(_PART_BYTES)))
            except BlockingIOError:
                if time.monotonic() < self._until:
                    return False
                self._greeting.give_up()
            except OSError:
                self._greeting.feed(b"")
        return True

    def close(self) -> None:
        if self._socket is not None:
            self._socket.close()


class HandshakeWatch(Handshakes):
    """Watches the handshakes of `socket` with `endpoint`; to be made before it connects, and closed after it.

    `events` is readable when there is something to `take`.
    """

    def __init__(self, socket: "zmq.Socket[Any]", endpoint: str, *, keyed: bool) -> None:
        super().__init__(keyed)
        self._endpoint = endpoint
        self._probe: _PeerProbe | None = None
        self.events: zmq.Socket[bytes] = socket.context.socket(zmq.PAIR, socket_class=zmq.Socket)
        self.events.setsockopt(zmq.LINGER, 0)
        self.events.setsockopt(zmq.RCVHWM, 0)  # never full: ZeroMQ would wait for us
        address = f"inproc://handshakes-{id(self)}"
        socket.monitor(address, _EVENTS)
        self.events.connect(address)

    def take(self, *, probe: bool = True) -> None:
        """Look at all that has happened; with `probe`, also at who breaks off handshakes, which may block for 1 s."""
        while True:
            try:
                frames = self.events.recv_multipart(zmq.NOBLOCK)
            except zmq.Again:
                break
            self.feed(frames[0])
        if not self.unexplained:
            self._drop_probe()
        elif probe:
            self._probe = self._probe or _PeerProbe(self._endpoint)
            if self._probe.ended():
                self.explain(self._probe.peer)
                self._drop_probe()

    def _drop_probe(self) -> None:
        if self._probe is not None:
            self._probe.close()
            self._probe = None

    def close(self) -> None:
        """Stop watching."""
        self._drop_probe()
        self.events.close()
