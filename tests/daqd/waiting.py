"""Waiting for what cannot be waited for otherwise."""

import time
from collections.abc import Callable
from typing import TypeVar

from tests.deadline import DEADLINE_S

T = TypeVar("T")


def wait_until(what: str, condition: Callable[[], T]) -> T:
    """The first true value of `condition`; fails, naming `what`, where none has come in time."""
    end = time.monotonic() + DEADLINE_S
    while True:
        value = condition()
        if value:
            return value
        assert time.monotonic() < end, f"after {DEADLINE_S:g} s still not: {what}"
        time.sleep(0.002)
