"""Asking a check, whatever it does: what it says fit to be sent and kept, what it raises as words."""

import math
import traceback
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from monitor.sanity.check import Check, CheckInput, CheckResult
from protocol.wire.alarms import AlarmLevel


@dataclass(frozen=True, slots=True)
class CheckSaid:
    """What a check said at a look. `results` None: neither good nor bad; where it failed, `failure` says why.

    `level`: how bad the failure is, None: as usual.
    """

    check: Check
    results: Sequence[CheckResult] | None
    failure: str = ""
    level: AlarmLevel | None = None


def ask(check: Check, seen: CheckInput, limits: Mapping[str, float]) -> CheckSaid:
    """What `check` says to what was seen."""
    try:
        with np.errstate(all="ignore"):
            results = check.function(seen, limits)
            if results is None:
                return CheckSaid(check, None)
            return CheckSaid(check, [_sound(result) for result in results])
    except (Exception, SystemExit) as error:  # whatever it is, the other checks go on
        where = traceback.extract_tb(error.__traceback__)[-1]
        at = f"{Path(where.filename).name}:{where.lineno}"
        return CheckSaid(check, None, f"{type(error).__name__}: {error} ({at})")


def _sound(result: CheckResult) -> CheckResult:
    """`result`, fit to be sent and kept; `TypeError` where it is none."""
    if not isinstance(result, CheckResult):
        raise TypeError(f"a check returns a list of CheckResult, this one has {type(result).__name__} in it")
    if not isinstance(result.subject, str) or not isinstance(result.text, str):
        raise TypeError("subject and text of a CheckResult are texts")
    level = None if result.level is None else AlarmLevel(result.level)
    return replace(result, level=level, value=_number(result.value), limit=_number(result.limit))


def _number(value: float | None) -> float | None:
    """A plain number; None for what is none."""
    return None if value is None or not math.isfinite(value) else float(value)
