"""Carrying out what `protocol.gecco_sequence` says, over a link."""

from collections.abc import Callable

from daqd.errors import BoardAnswerError, LinkTimeout
from daqd.transports.link import Link
from protocol.gecco import ReadRequest, register_name
from protocol.gecco_sequence import Pause, Step, Steps, UnexpectedAnswerError

ANSWER_TIMEOUT_S = 1.0


class Dialogue:
    """Questions to a board and its answers, one at a time; `name` is the board's in errors."""

    def __init__(self, link: Link, name: str, sleep: Callable[[float], object]) -> None:
        self.link = link
        self.name = name
        self._sleep = sleep

    def run(self, steps: Steps) -> None:
        """Carry out all of `steps`. Raises `BoardError`, `BoardAnswerError` where an answer is not as it should be."""
        try:
            step = next(steps)
            while True:
                step = steps.send(self._carry_out(step))
        except StopIteration:
            pass
        except UnexpectedAnswerError as error:
            raise BoardAnswerError(
                self.name, register_name(error.register), error.expected, error.got, error.advice
            ) from error

    def _carry_out(self, step: Step) -> bytes:
        if isinstance(step, Pause):
            self._sleep(step.seconds)
            return b""
        self.link.why = step.why
        self.link.write(step.encode())
        if not isinstance(step, ReadRequest):
            return b""
        try:
            return self.link.read(step.length, ANSWER_TIMEOUT_S)
        except LinkTimeout as error:
            raise self.silence(step, error.partial) from error

    def silence(self, request: ReadRequest, partial: bytes) -> BoardAnswerError:
        """The error for an answer of which only `partial` came."""
        return BoardAnswerError(
            self.name,
            register_name(request.register),
            f"{request.length} byte{'s' if request.length > 1 else ''}",
            f"{len(partial)} ({partial[:8].hex()})" if partial else "none",
            "is the board powered and its firmware loaded? Power it off and on, then try again",
        )
