"""Both boards' register protocols: the steps of a sequence of requests, and the parser of the board's side.

Each sequence is a generator. It yields one step after the other: a request, or a pause. Whoever runs it sends back
the board's answer to a read, and anything to the other steps. So the order of the bytes is written down once, without
I/O, and the same sequence serves a board, a test, and a trace of what would be sent::

    answer = b""
    try:
        step = next(sequence)
        while True:
            step = sequence.send(carry_out(step))
    except StopIteration:
        pass

A sequence raises `UnexpectedAnswerError` where the board does not do what it should.
"""

from abc import ABC, abstractmethod
from collections.abc import Iterator
from dataclasses import dataclass, field
from enum import Enum
from typing import Any, Generic, Protocol, TypeVar

from protocol.errors import ProtocolError


class RegisterRequest(Protocol):
    """A request of either register protocol; one that writes has `data`, too."""

    @property
    def register(self) -> Any:
        """Where it goes: an address, or a register's name."""

    @property
    def why(self) -> str:
        """What for, for people."""

    @property
    def answer_bytes(self) -> int:
        """How many bytes the board answers; 0 where it says nothing."""


@dataclass(frozen=True, slots=True)
class Pause:
    """Wait that long before the next step."""

    seconds: float
    why: str = field(default="", compare=False)


class UnexpectedAnswerError(ProtocolError):
    """The board answered, but not what it should have.

    `register`, `expected` and `got` say where and what, `advice` what to do about it.
    """

    def __init__(self, register: Enum, expected: str, got: str, advice: str) -> None:
        self.register = register
        self.expected = expected
        self.got = got
        self.advice = advice
        super().__init__(f"register {register.name}: expected {expected}, got {got}: {advice}")


ParsedRequest = TypeVar("ParsedRequest")


class RequestBuffer(ABC, Generic[ParsedRequest]):
    """Bytes in any pieces to requests; `skipped_bytes`: those that belong to none."""

    def __init__(self) -> None:
        self._pending = bytearray()
        self.skipped_bytes = 0

    @property
    def pending_bytes(self) -> int:
        """Bytes of a request that has begun and is not complete."""
        return len(self._pending)

    def feed(self, data: bytes) -> list[ParsedRequest]:
        """Requests completed by `data`, in order."""
        self._pending += data
        return list(self._requests())

    @abstractmethod
    def _requests(self) -> Iterator[ParsedRequest]:
        """Take complete requests from the beginning of `_pending`."""
