"""Carrying out what the sequences of `protocol` say to a board, over a link."""

from collections.abc import Callable, Generator
from typing import Any, Protocol, TypeVar

from daqd.errors import BoardAnswerError, BoardError, LinkTimeout
from daqd.transports.link import Link
from protocol.errors import ProtocolError
from protocol.registers.steps import Pause, RegisterRequest, UnexpectedAnswerError

Result = TypeVar("Result")

ANSWER_TIMEOUT_S = 1.0
SLOWEST_BYTES_S = 50_000
"""Half of what a UART at 921 600 baud carries: bytes on their way before a question take their time."""


SILENCE_S = 0.1
"""Silence of that length after some bytes of an answer: no more of it will come."""

_PIECE_BYTES = 1 << 16
MAX_LATE_BYTES = 1 << 24
"""A board that sends without end what nobody has asked for is given up; it does not fill the memory."""


def read_for(link: Link, seconds: float) -> bytes:
    """What comes within that time."""
    try:
        return link.read(_PIECE_BYTES, seconds)
    except LinkTimeout as error:
        return error.partial


def read_until_silence(link: Link) -> bytes:
    """What comes until nothing has come for `SILENCE_S`; `MAX_LATE_BYTES` and a little more at most."""
    came = bytearray()
    while len(came) < MAX_LATE_BYTES and (piece := read_for(link, SILENCE_S)):
        came += piece
    return bytes(came)


class RegisterFile(Protocol):
    """How a firmware's registers are addressed."""

    def encode(self, request: Any) -> bytes:
        """The bytes of a request. Raises a `ProtocolError` where the firmware has no such register."""

    def describe(self, register: Any) -> str:
        """Address and name of a register, for people."""


class Dialogue:
    """Questions to a board and its answers.

    `name` is the board's in errors. `registers` encodes requests; it may be replaced once the firmware is known.
    """

    def __init__(self, link: Link, name: str, sleep: Callable[[float], object], registers: RegisterFile) -> None:
        self.link = link
        self.name = name
        self.registers = registers
        self._sleep = sleep
        self._on_their_way = 0

    def run(self, steps: Generator[RegisterRequest | Pause, bytes, Result]) -> Result:
        """Carry out all of `steps`, and give their result.

        Raises `BoardError`: `BoardAnswerError` where an answer is not as it should be.
        """
        try:
            step = next(steps)
            while True:
                step = steps.send(self._carry_out(step))
        except StopIteration as end:
            result: Result = end.value
            return result
        except UnexpectedAnswerError as error:
            raise BoardAnswerError(
                self.name, self.registers.describe(error.register), error.expected, error.got, error.advice
            ) from error
        except ProtocolError as error:
            raise BoardError(f"{self.name}: {error}") from error

    def _carry_out(self, step: RegisterRequest | Pause) -> bytes:
        if isinstance(step, Pause):
            self._sleep(step.seconds)
            return b""
        return self._exchange(step)

    def _exchange(self, request: RegisterRequest) -> bytes:
        """Send `request`; its answer, empty where it has none."""
        self.send(request)
        return self.answer(request) if request.answer_bytes else b""

    def send(self, *requests: RegisterRequest) -> None:
        """Send requests in one go, without waiting for their answers."""
        self.link.why = requests[0].why
        self.link.register_name = self.registers.describe
        data = b"".join(self.registers.encode(request) for request in requests)
        self.link.write(data)
        self._on_their_way += len(data)

    def answer(self, request: RegisterRequest) -> bytes:
        """The answer to the oldest question that has none.

        `BoardAnswerError` where not all of it comes; what did is in the partial of the `LinkTimeout` it comes from.
        """
        timeout_s = ANSWER_TIMEOUT_S + (self._on_their_way + request.answer_bytes) / SLOWEST_BYTES_S
        try:
            answer = self.link.read(request.answer_bytes, timeout_s)
        except LinkTimeout as error:
            raise self.silence(request, error.partial) from error
        self._on_their_way = 0
        return answer

    def silence(self, request: RegisterRequest, partial: bytes) -> BoardAnswerError:
        """The error for an answer of which only `partial` came."""
        return BoardAnswerError(
            self.name,
            self.registers.describe(request.register),
            f"{request.answer_bytes} byte{'s' if request.answer_bytes > 1 else ''}",
            f"{len(partial)} ({partial[:8].hex()})" if partial else "none",
            "is the board powered and its firmware loaded? Power it off and on, then try again",
        )
