"""Many subscribers in one thread: what each of them got is summed up, not kept."""

import hashlib
import threading
from types import TracebackType
from typing import Self

import zmq

from protocol.wire.messages import Topic, decode_message
from tests.system.processes import DEADLINE_S, wait_until


class Member:
    """One subscriber to hits and runs: how many hits and ends of runs came, a digest of the hits in their order,
    messages missed.
    """

    def __init__(self, context: "zmq.Context[zmq.Socket[bytes]]", endpoint: str) -> None:
        self.hits = self.missed = self.ends = 0
        self._digest = hashlib.blake2b()
        self._next: dict[Topic, int] = {}
        self.socket = context.socket(zmq.SUB)
        self.socket.setsockopt(zmq.LINGER, 0)
        self.socket.setsockopt(zmq.RCVHWM, 0)
        for topic in (Topic.HITS, Topic.RUN):
            self.socket.subscribe(topic.value)
        self.socket.connect(endpoint)

    @property
    def digest(self) -> str:
        return self._digest.hexdigest()

    def take(self) -> None:
        """The next message, which is there."""
        message = decode_message(self.socket.recv_multipart())
        self.missed += message.header.seq - self._next.get(message.topic, 0)
        self._next[message.topic] = message.header.seq + 1
        if message.topic is Topic.HITS:
            self._digest.update(message.payload)
            self.hits += message.header.n or 0
        else:
            self.ends += message.run().event == "end"


class Crowd:
    """So many subscribers from the first message on; a context manager."""

    def __init__(self, endpoint: str, number: int) -> None:
        self._context: zmq.Context[zmq.Socket[bytes]] = zmq.Context()
        self.members = [Member(self._context, endpoint) for _ in range(number)]
        self._leaving = threading.Event()
        self._error: BaseException | None = None
        self._thread = threading.Thread(target=self._listen, name="crowd")
        self._thread.start()

    def _listen(self) -> None:
        try:
            poller = zmq.Poller()
            members = {member.socket: member for member in self.members}
            for member_socket in members:
                poller.register(member_socket, zmq.POLLIN)
            while not self._leaving.is_set():
                for member_socket, _ in poller.poll(100):
                    members[member_socket].take()
        except BaseException as error:  # the test is to fail with it
            self._error = error

    def wait_for_ends(self, number: int) -> None:
        """Until so many runs have ended for the last one."""

        def ended() -> bool:
            if self._error is not None:
                raise self._error
            return all(member.ends >= number for member in self.members)

        wait_until(f"{number} runs have ended for everybody", ended)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._leaving.set()
        self._thread.join(DEADLINE_S)
        self._context.destroy(linger=0)
