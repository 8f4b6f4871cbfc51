"""Who takes connections at an address and breaks them off: asked by a connection of our own."""

import contextlib
import socket
import time

from astropix_runtime.sockets.endpoints import tcp_address
from astropix_runtime.sockets.greeting import GreetingProbe, Peer

_CONNECT_S = 1.0
_PATIENCE_S = 2.0
_PART_BYTES = 64


class PeerProbe:
    """Hears who is at `endpoint`, which takes connections at once: that alone is waited for.

    `peer`: None where that is not known, or not yet.
    """

    def __init__(self, endpoint: str) -> None:
        self._greeting = GreetingProbe()
        self._until = time.monotonic() + _PATIENCE_S
        self._socket: socket.socket | None = None
        address = tcp_address(endpoint)
        if address is not None:
            with contextlib.suppress(OSError):
                self._socket = socket.create_connection(address, _CONNECT_S)
                self._socket.setblocking(False)

    @property
    def peer(self) -> Peer | None:
        """Who it is."""
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
        """Hang up."""
        if self._socket is not None:
            self._socket.close()
            self._socket = None
