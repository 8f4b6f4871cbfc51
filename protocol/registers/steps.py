"""The steps that the sequences of requests to both boards are made of.

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

from dataclasses import dataclass, field
from enum import Enum

from protocol.errors import ProtocolError


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
