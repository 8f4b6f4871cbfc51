"""A program that does not turn any more ends, and says where it was: what else could, needs Python's lock."""

import faulthandler
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TextIO

STUCK_S = 60.0
"""A turn takes milliseconds, and some seconds where a busy computer has much to catch up with."""


@contextmanager
def ended_when_stuck(within_s: float = STUCK_S, told: TextIO | None = None) -> Iterator[Callable[[], None]]:
    """Gives what is to be called at each turn; once it is not for `within_s`, the program ends with exit code 1.

    `told` (standard error) then has where each thread was. Whoever keeps Python's lock keeps it from signals, too: a
    thread that needs no lock looks after it.
    """
    file = told or sys.stderr
    again_at = 0.0

    def turn() -> None:
        nonlocal again_at
        if (now := time.monotonic()) >= again_at:
            again_at = now + within_s / 10
            faulthandler.dump_traceback_later(within_s, exit=True, file=file)

    turn()
    try:
        yield turn
    finally:
        faulthandler.cancel_dump_traceback_later()
