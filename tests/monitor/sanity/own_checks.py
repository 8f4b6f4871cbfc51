"""Checks of a user's own, for tests: the least that one can be."""

from collections.abc import Mapping

from monitor.sanity.check import Check, CheckInput, CheckResult, Limit
from protocol.wire.alarms import AlarmLevel


def _too_many(seen: CheckInput, limits: Mapping[str, float]) -> list[CheckResult]:
    hits, most = seen.new.hits, limits["most"]
    return [CheckResult("", f"{hits} hits", hits, most)] if hits > most else []


def _broken(seen: CheckInput, limits: Mapping[str, float]) -> list[CheckResult]:
    raise ZeroDivisionError("by nothing")


CHECKS = (
    Check(
        "too_many",
        "many hits since the last look",
        AlarmLevel.WARNING,
        "look elsewhere",
        _too_many,
        limits=(Limit("most", 2.0, "hits", most=1000),),
        in_a_row=1,
        good_in_a_row=1,
    ),
    Check("broken", "nothing", AlarmLevel.WARNING, "mend it", _broken),
)
