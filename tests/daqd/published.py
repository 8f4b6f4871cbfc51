"""What a publisher sends, without sockets."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from daqd.publishing.stream import Stream
from protocol.hit import HIT_DTYPE, HitTable
from protocol.wire.messages import Header, Message, RunEvent, Topic


class Sent(Stream):
    """In the place of a `Stream`: keeps the messages as subscribers would get them."""

    def __init__(self) -> None:  # without a socket
        self.sent: list[Message] = []

    def send(self, topic: Topic, payload: bytes, **header: Any) -> None:
        seq = sum(message.topic is topic for message in self.sent)
        head = Header(daq="test", pub=1, seq=seq, t=1, **header)
        self.sent.append(Message(topic=topic, header=head, payload=bytes(payload)))

    def take(self) -> list[Message]:
        """What was sent since the last call."""
        taken, self.sent = self.sent, []
        return taken


@dataclass(frozen=True)
class Published:
    """The messages of one run or more, looked at by topic."""

    messages: Sequence[Message]

    def of(self, topic: Topic) -> list[Message]:
        return [message for message in self.messages if message.topic is topic]

    @property
    def hits(self) -> HitTable:
        """All hits, in the order in which they came."""
        tables = [message.hits() for message in self.of(Topic.HITS)]
        return np.concatenate([np.zeros(0, HIT_DTYPE), *tables])

    @property
    def ranges(self) -> list[tuple[int, int]]:
        return [message.header.readouts or (-1, -1) for message in self.of(Topic.HITS)]

    @property
    def events(self) -> list[RunEvent]:
        return [message.run() for message in self.of(Topic.RUN)]

    @property
    def ledger(self) -> dict[str, Any]:
        """Of the last end of a run."""
        ledger = self.events[-1].record.ledger
        assert self.events[-1].event == "end"
        assert ledger is not None
        return ledger

    @property
    def log(self) -> list[str]:
        return [message.log().text for message in self.of(Topic.LOG)]
