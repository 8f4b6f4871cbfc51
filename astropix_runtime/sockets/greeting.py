"""Who is it that takes connections and breaks them off? Asked by a connection of one's own, byte by byte (ZMTP 3).

ZeroMQ tells of a handshake that was broken off, and nothing more: a server that does not take our key looks the same as
a tunnel with nothing at its other end.
"""

from enum import StrEnum

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


class GreetingProbe:
    """Is fed with what comes from a connection. `peer`: None as long as that is not known; `ended`: it will not be."""

    def __init__(self) -> None:
        self._came = b""
        self._answered = False
        self.peer: Peer | None = None
        self.ended = False

    def feed(self, part: bytes) -> bytes:
        """Take what has come, nothing where the connection was closed; returns what is to be sent.

        ZeroMQ speaks first: nothing is to be sent before.
        """
        self._came += part
        self.peer = self._judge(closed=not part)
        self.ended = not part or self.peer is not None
        if self.ended or self._answered or len(self._came) < len(_SIGNATURE):
            return b""
        self._answered = True
        return HALF_GREETING

    def give_up(self) -> None:
        """Nothing more has come in time."""
        self.ended = True
        if not self._came:
            self.peer = Peer.STRANGER

    def _judge(self, *, closed: bool) -> Peer | None:
        came = self._came
        if not came:
            return Peer.NOBODY if closed else None
        if came[0] != _SIGNATURE[0] or came[9:10] not in (b"", _SIGNATURE[9:]):
            return Peer.STRANGER
        if len(came) < _MECHANISM.stop:
            return None
        return Peer.KEYED if came[_MECHANISM].rstrip(b"\0") == b"CURVE" else Peer.KEYLESS
