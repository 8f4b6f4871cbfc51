"""Carrying out what `protocol.astep_sequence` says, over a link."""

from collections.abc import Callable, Generator
from typing import TypeVar

from daqd.errors import BoardAnswerError, LinkTimeout
from daqd.transports.link import Link
from protocol.astep import RegisterRead, RegisterWrite, encode_requests
from protocol.astep_registers import register_name
from protocol.astep_sequence import AstepAnswerError, Step
from protocol.gecco_sequence import Pause

Result = TypeVar("Result")

ANSWER_TIMEOUT_S = 1.0
SLOWEST_BYTES_S = 50_000
"""Half of what a UART at 921 600 baud carries: bytes on their way before a question take their time."""


class AstepDialogue:
    """Questions to a board and its answers; `name` is the board's in errors."""

    def __init__(self, link: Link, name: str, sleep: Callable[[float], object]) -> None:
        self.link = link
        self.name = name
        self._sleep = sleep
        self._on_their_way = 0

    def run(self, steps: Generator[Step, bytes, Result]) -> Result:
        """Carry out all of `steps`, and give their result.

        Raises `BoardError`, `BoardAnswerError` where an answer is not as it should be.
        """
        try:
            step = next(steps)
            while True:
                step = steps.send(self._carry_out(step))
        except StopIteration as end:
            result: Result = end.value
            return result
        except AstepAnswerError as error:
            raise BoardAnswerError(
                self.name, register_name(error.register), error.expected, error.got, error.advice
            ) from error

    def _carry_out(self, step: Step) -> bytes:
        if isinstance(step, Pause):
            self._sleep(step.seconds)
            return b""
        self.send(step)
        return self.answer(step) if isinstance(step, RegisterRead) else b""

    def send(self, *requests: RegisterWrite | RegisterRead) -> None:
        """Send requests in one go, without waiting for their answers."""
        self.link.why = requests[0].why
        data = encode_requests(requests)
        self.link.write(data)
        self._on_their_way += len(data)

    def answer(self, request: RegisterRead, under_way: int = 0) -> bytes:
        """The answer to the oldest question that has none; `under_way`: bytes that will come after it.

        `BoardAnswerError` where not all of it comes; what did is in the partial of the `LinkTimeout` it comes from.
        """
        timeout_s = ANSWER_TIMEOUT_S + (self._on_their_way + request.length) / SLOWEST_BYTES_S
        try:
            answer = self.link.read(request.length, timeout_s, under_way)
        except LinkTimeout as error:
            raise self.silence(request, error.partial) from error
        self._on_their_way = 0
        return answer

    def silence(self, request: RegisterRead, partial: bytes) -> BoardAnswerError:
        """The error for an answer of which only `partial` came."""
        return BoardAnswerError(
            self.name,
            register_name(request.register),
            f"{request.length} byte{'s' if request.length > 1 else ''}",
            f"{len(partial)} ({partial[:8].hex()})" if partial else "none",
            "is the board powered and its firmware loaded? Power it off and on, then try again",
        )
