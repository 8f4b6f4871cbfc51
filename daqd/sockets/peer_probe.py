"""Who takes connections at an address and breaks them off: asked by a connection of our own."""

import contextlib
import socket
import time

from astropix_runtime.sockets.endpoints import tcp_address
from astropix_runtime.sockets.greeting import GreetingProbe, Peer

_PART_BYTES = 64


def who_is_at(endpoint: str, within_s: float) -> Peer | None:
    """Who is at `endpoint`; None where that is not TCP, or cannot be found out."""
    address = tcp_address(endpoint)
    if address is None:
        return None
    probe, deadline = GreetingProbe(), time.monotonic() + within_s
    with contextlib.suppress(OSError), socket.create_connection(address, within_s) as made:
        try:
            while not probe.ended:
                made.settimeout(max(deadline - time.monotonic(), 0.001))
                made.sendall(probe.feed(made.recv(_PART_BYTES)))
        except TimeoutError:
            probe.give_up()
        except ConnectionError:
            probe.feed(b"")
    return probe.peer
