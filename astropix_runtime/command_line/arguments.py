"""Numbers on command lines: what an option takes, and the error for everything else."""

import argparse
import math
from collections.abc import Callable

from protocol.stream_bytes import MAX_CHIPS

_MAX_DIGITS = 18
_MAX_SHOWN = 40


def whole_number(least: int = 0, most: int | None = None, noun: str = "whole number") -> Callable[[str], int]:
    """An argument type: a number of decimal digits from `least` to `most`, both included; `noun` says what of."""
    bounds = f"from {least} on" if most is None else f"from {least} to {most}"

    def parse(text: str) -> int:
        digits = text.isascii() and text.isdigit() and len(text) <= _MAX_DIGITS
        if not digits or int(text) < least or (most is not None and int(text) > most):
            raise argparse.ArgumentTypeError(f"{text[:_MAX_SHOWN]!r} is not a {noun} {bounds}")
        return int(text)

    return parse


chips = whole_number(1, MAX_CHIPS, "number of chips")
port = whole_number(0, 0xFFFF, "port")


def positive(text: str) -> float:
    """A finite number above 0."""
    return _number(text, lambda value: 0 < value < math.inf, "a number above 0")


def not_negative(text: str) -> float:
    """A number that is 0 or more."""
    return _number(text, lambda value: value >= 0, "a number that is 0 or more")


def seconds(text: str) -> float:
    """A finite number of seconds above 0."""
    return _number(text, lambda value: 0 < value < math.inf, "a number of seconds above 0")


def seconds_or_inf(text: str) -> float:
    """A number of seconds above 0; `inf` stands for no limit."""
    return _number(text, lambda value: value > 0, "a number of seconds above 0")


def _number(text: str, accepts: Callable[[float], bool], what: str) -> float:
    try:
        value = float(text)
    except ValueError:
        value = math.nan
    if not accepts(value):
        raise argparse.ArgumentTypeError(f"{text[:_MAX_SHOWN]!r} is not {what}")
    return value
