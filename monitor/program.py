"""What the programs of this package have in common on the command line."""

import argparse
import signal
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any, NoReturn

from protocol.version import __version__


class ProgramParser(argparse.ArgumentParser):
    """A parser whose errors are one line, and whose help keeps the lines of its examples."""

    def __init__(self, **options: Any) -> None:
        super().__init__(formatter_class=argparse.RawDescriptionHelpFormatter, allow_abbrev=False, **options)

    def add_version(self) -> None:
        """`--version`."""
        self.add_argument("--version", action="version", version=f"{self.prog} (astropix-daq) {__version__}")

    def error(self, message: str) -> NoReturn:
        """End with exit code 2."""
        self.exit(2, f"{self.prog}: {message} (see {self.prog} --help)\n")

    def errors(self, messages: Sequence[str]) -> NoReturn:
        """End with exit code 2; of several messages, each on a line of its own."""
        if len(messages) == 1:
            self.error(messages[0])
        self.exit(2, "".join(f"{self.prog}: {message}\n" for message in messages))


def positive(text: str) -> float:
    """An argument: a number above 0."""
    if not (number := _number(text)) > 0:
        raise argparse.ArgumentTypeError(f"{text} is not above 0")
    return number


def not_negative(text: str) -> float:
    """An argument: a number that is 0 or more."""
    if not (number := _number(text)) >= 0:
        raise argparse.ArgumentTypeError(f"{text} is not 0 or more")
    return number


def _number(text: str) -> float:
    try:
        return float(text)
    except ValueError:
        raise argparse.ArgumentTypeError(f"{text!r} is not a number") from None


def whole(most: int) -> Callable[[str], int]:
    """An argument: a whole number from 1 to `most`."""

    def parse(text: str) -> int:
        if not text.isascii() or not text.isdecimal() or not 1 <= int(text) <= most:
            raise argparse.ArgumentTypeError(f"{text!r} is not a whole number from 1 to {most}")
        return int(text)

    return parse


@contextmanager
def ended_by_signals(end: Callable[[], None], within_s: int = 0) -> Iterator[None]:
    """SIGINT and SIGTERM call `end`, which lets the program end in good order.

    Where that takes longer than `within_s` (0: no matter how long), the program is ended without order. Afterwards the
    handlers are put back, where no signal has come; where one has, others are ignored up to the last instruction: what
    ended in good order has not failed because the end was asked for twice.
    """
    told = False

    def handle(*_: object) -> None:
        nonlocal told
        told = True
        if hasattr(signal, "alarm"):
            signal.alarm(within_s)
        end()

    numbers = (signal.SIGINT, signal.SIGTERM)
    before = [signal.signal(number, handle) for number in numbers]
    try:
        yield
    finally:
        if hasattr(signal, "alarm"):
            signal.alarm(0)
        for number, handler in zip(numbers, before, strict=True):
            signal.signal(number, signal.SIG_IGN if told else handler)
