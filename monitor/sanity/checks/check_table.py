"""All checks of a running `apx-sanity`: those of events, those that look, and those of the user."""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from monitor.errors import CheckModuleError
from monitor.sanity.check import Check, Limit
from monitor.sanity.checks import event_checks
from monitor.sanity.checks.detector_checks import CHECKS
from monitor.sanity.checks.event_checks import EVENT_CHECKS
from monitor.sanity.checks.modules import load_checks
from monitor.sanity.checks.reference_checks import describe_reference_checks
from protocol.wire.alarms import AlarmLevel

BUILT_IN: tuple[Check, ...] = (*CHECKS, *describe_reference_checks())
"""The checks that look, of this package; those against a reference say nothing until there is one."""


@dataclass(frozen=True, slots=True)
class CheckEntry:
    """What can be said and set of any check, whatever its kind."""

    name: str
    what: str
    level: AlarmLevel
    advice: str
    in_a_row: int
    good_in_a_row: int
    limits: tuple[Limit, ...] = ()


CHECK_FAILED = CheckEntry(
    "check_failed",
    "a check that failed instead of saying anything",
    AlarmLevel.WARNING,
    "a fault in the check: report it, or mend your own module; enabled = false takes it out",
    in_a_row=1,
    good_in_a_row=10,
)
OUTPUT_FAILED = CheckEntry(
    "output_failed",
    "alarms that could not be kept or sent",
    AlarmLevel.WARNING,
    "disk full? address or command right? The text says what went wrong",
    in_a_row=1,
    good_in_a_row=10,
)


def entries(checks: Sequence[Check]) -> Iterator[CheckEntry]:
    """All that can raise alarms, with `checks`, which look."""
    for each in EVENT_CHECKS:
        limits = tuple(limit for _, limit in each.limits)
        info = each.info
        yield CheckEntry(
            info.name, info.what, each.level, info.advice, event_checks.IN_A_ROW, event_checks.GOOD_IN_A_ROW, limits
        )
    for check in checks:
        yield CheckEntry(
            check.name, check.what, check.level, check.advice, check.in_a_row, check.good_in_a_row, check.limits
        )
    yield CHECK_FAILED
    yield OUTPUT_FAILED


def with_modules(names: Iterable[str], folder: Path) -> tuple[tuple[Check, ...], Mapping[int, str]]:
    """The checks that look, those of the user's modules with them; and what is wrong with which module."""
    checks = list(BUILT_IN)
    taken = {entry.name for entry in entries(checks)}
    mistakes: dict[int, str] = {}
    for index, name in enumerate(names):
        try:
            own = load_checks(name, folder)
        except CheckModuleError as error:
            mistakes[index] = str(error)
            continue
        for check in own:
            if check.name in taken:
                mistakes[index] = f'"{name}": there is a check {check.name} already: give this one another name'
            else:
                taken.add(check.name)
                checks.append(check)
    return tuple(checks), mistakes
