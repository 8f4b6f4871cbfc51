"""Clients that were refused: counted, and named so seldom that they cannot fill a log."""

import time
from collections.abc import Callable
from dataclasses import dataclass

_SAY_AGAIN_S = 60.0
_MAX_ADDRESSES = 64


@dataclass
class _Peer:
    said_at: float
    since: int = 0


class Refusals:
    """Tells `say` who was refused at `what`: the same address for the same reason once a minute, with the number.

    At most 64 lines a minute in all. `number`: all that were refused.
    """

    def __init__(self, what: str, say: Callable[[str], None], clock: Callable[[], float] = time.monotonic) -> None:
        self._what = what
        self._say = say
        self._clock = clock
        self._peers: dict[tuple[str, str], _Peer] = {}
        self.number = 0

    def note(self, address: str, reason: str) -> None:
        """A client was refused; `address`: empty where it is not known."""
        self.number += 1
        now = self._clock()
        peer = self._peers.get((address, reason))
        if peer is not None and now < peer.said_at + _SAY_AGAIN_S:
            peer.since += 1
            return
        if peer is None and not self._room(now):
            return
        more = f" ({peer.since} times more since it was last said)" if peer is not None and peer.since else ""
        self._peers[address, reason] = _Peer(now)
        self._say(f"{self._what} refused {address or 'somebody who is gone already'}: {reason}{more}")

    def _room(self, now: float) -> bool:
        """Whether there is room for another one, after those have gone of whom nothing more was heard."""
        if len(self._peers) >= _MAX_ADDRESSES:
            self._peers = {key: peer for key, peer in self._peers.items() if now < peer.said_at + _SAY_AGAIN_S}
        return len(self._peers) < _MAX_ADDRESSES
