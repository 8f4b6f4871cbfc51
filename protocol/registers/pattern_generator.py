"""The pattern generator of the injection, which both firmwares have: what is set, at which of its addresses."""

from collections.abc import Iterator
from typing import Final

from protocol.chips.chip_setup import Injection

_MODE: Final = 0x14
_PATTERN: Final = (1, 3, 0, 0, 0, 0, 0, 0)
"""Addresses 0 to 7; the last of them are the pulses per set, which are written in the end."""


def generator_settings(injection: Injection) -> Iterator[tuple[int, int, str]]:
    """Address, value (0…255 each) and what it is, in the order in which they are written."""
    for address, value in enumerate(_PATTERN):
        yield address, value, "injection pattern"
    yield 8, injection.period, "injection period"
    yield 9, _MODE, "injection mode"
    for address, value, what in (
        (10, injection.cycle, "cycle"),
        (12, injection.delay, "delay"),
        (14, injection.divider, "clock divider"),
    ):
        yield address, value >> 8, f"injection {what}, high byte"
        yield address + 1, value & 0xFF, f"injection {what}, low byte"
    yield 7, injection.pulses, "injection pulses per set"
