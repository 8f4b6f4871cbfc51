"""What becomes of the handshakes of a client, in words: ZeroMQ itself keeps silent about a server that refuses.

The numbers are those of ZeroMQ's socket monitors (`zmq_socket_monitor`).
"""

import struct

from astropix_runtime.sockets.greeting import Peer

SUCCEEDED = 0x1000
FAILED_NO_DETAIL = 0x0800
FAILED_PROTOCOL = 0x2000
FAILED_AUTH = 0x4000
HANDSHAKE_EVENTS = SUCCEEDED | FAILED_NO_DETAIL | FAILED_PROTOCOL | FAILED_AUTH

OTHER_MECHANISM = 0x11000002
"""Value of `FAILED_PROTOCOL`: one side has keys, the other has none."""

_BROKEN_OFF = 2
"""A server that ends may break off one handshake; one that breaks off twice in a row does not like this client."""

_BROKEN_OFF_STILL = 20
"""After so many more it is asked again who that is: at the other end of a tunnel, somebody else may have come."""

# event (u2), value (i4), in the order of this machine
_EVENT = struct.Struct("=Hi")


class Handshakes:
    """Is fed with the events of one socket; `keyed`: whether that has keys.

    `refusal`: why the server does not let this client in, one line; empty as long as nothing is known, and where it
    does. `no_answer`: in the same way, why there is no server, although connections are taken. `given_up`: ZeroMQ does
    not try again by itself. `unexplained`: somebody breaks off handshakes, and `explain` would like to know who.
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
        """Take the first frame of a monitor's message; what is none is passed over."""
        if len(frame) != _EVENT.size:
            return
        event, value = _EVENT.unpack(frame)
        if event == SUCCEEDED:
            self._broken_off, self.refusal, self.no_answer, self.given_up = 0, "", "", False
        elif event == FAILED_AUTH:
            self._refused("it does not know this key: the public one has to be put into its directory of client_keys")
        elif event == FAILED_PROTOCOL:
            mismatch = self._mismatch() if value == OTHER_MECHANISM else ""
            self._refused(mismatch or "the handshake fails: the server key is not its own, or it is no daqd")
        elif event == FAILED_NO_DETAIL:
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
