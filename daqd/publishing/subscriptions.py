"""Who gets the hits, as far as ZeroMQ tells it."""

import itertools
from dataclasses import dataclass, field

_SUBSCRIBE, _UNSUBSCRIBE = b"\1", b"\0"


@dataclass
class _Askers:
    """Connections that have asked for one prefix; `gone` of them are closed, and nobody knows which."""

    connections: set[int] = field(default_factory=set)
    gone: int = 0

    @property
    def number(self) -> int:
        return len(self.connections) - self.gone


class Subscriptions:
    """Counts the connections that get `topic`, from what an XPUB socket with XPUB_VERBOSER says.

    It tells every request with the descriptor of its connection, also one that is repeated; but when a connection is
    closed, one end for each prefix without its descriptor, which the next connection may have again. So a request for
    what a connection has already asked for is either repeated, or that of another connection in the place of one that
    is closed: the latter, where one is. A connection that asks by two prefixes of `topic` counts for each.
    `requests`: how often one has asked, all in all.
    """

    def __init__(self, topic: bytes) -> None:
        self._topic = topic
        self._askers: dict[bytes, _Askers] = {}
        self._unnamed = itertools.count(-1, -1)
        self.requests = 0

    @property
    def number(self) -> int:
        """How many there are."""
        return sum(askers.number for askers in self._askers.values())

    def note(self, said: bytes, connection: int | None) -> None:
        """What the socket said, and of which connection if it told; what is no subscription is ignored."""
        verb, prefix = said[:1], said[1:]
        if verb not in (_SUBSCRIBE, _UNSUBSCRIBE) or not self._topic.startswith(prefix):
            return
        askers = self._askers.setdefault(prefix, _Askers())
        if verb == _SUBSCRIBE:
            self.requests += 1
            if connection is None:  # a transport without descriptors
                askers.connections.add(next(self._unnamed))
            elif connection not in askers.connections:
                askers.connections.add(connection)
            elif askers.gone:
                askers.gone -= 1
        elif connection in askers.connections:
            askers.connections.remove(connection)
        elif askers.number:
            askers.gone += 1
        if not askers.number:
            del self._askers[prefix]
