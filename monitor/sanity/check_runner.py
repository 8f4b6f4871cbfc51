"""Runs the checks that look, on a stream or on files: whatever a check does, the others go on."""

import math
import threading
import time
import traceback
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from monitor.sanity.check import Check, CheckInput, CheckResult, Limits
from protocol.wire.alarms import AlarmLevel

DEADLINE_S = 2.0
"""A check that looks once a second is of no use if it takes much longer; the checks of this package take 12 ms, all."""

HITS_KEPT = 100
"""Of the last look."""


@dataclass(frozen=True, slots=True)
class CheckOutcome:
    """What a check answered at a look. `results` None: neither good nor bad; where it failed, `failure` says why.

    `level`: how bad the failure is, None: as usual.
    """

    check: Check
    results: Sequence[CheckResult] | None
    failure: str = ""
    level: AlarmLevel | None = None


class CheckRunner:
    """Asks `checks` at each snapshot; those that events trigger are left out.

    `threaded`: names of checks that are not waited for: each has a thread of its own, and its answer comes at a later
    snapshot. `clock`: monotonic seconds, for how long it takes.
    """

    def __init__(
        self,
        checks: Iterable[Check],
        limits: Limits | None = None,
        *,
        threaded: Collection[str] = (),
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        limits = limits or Limits()
        self._checks = [(check, limits.of(check)) for check in checks if check.function is not None]
        self._threads = {
            check.name: CheckThread(check, its, clock) for check, its in self._checks if check.name in threaded
        }
        self._before: dict[str, CheckInput] = {}

    def look(self, seen: CheckInput) -> Iterator[CheckOutcome]:
        """Ask each check that has something to look at; what they answer, and what threads answer to earlier looks."""
        # Not all hits: they would be kept for as long as a check waits for its statistics.
        kept = replace(seen, hits=seen.hits[-HITS_KEPT:].copy(), before=None)
        # What goes on while they look is not for threads to see.
        series = seen.series.copy() if self._threads else seen.series
        for check, limits in self._checks:
            thread = self._threads.get(check.name)
            if thread is not None and (outcome := thread.take()) is not None:
                yield outcome
            if (check.live_only and seen.pass_) or (thread is not None and thread.busy):
                continue
            before = self._before.get(check.name)
            if before is not None and (before.epoch != seen.epoch or before.counts.hits > seen.counts.hits):
                before = None
            own = replace(seen, before=before)
            if not _enough(check, own):
                continue
            if thread is None:
                self._before[check.name] = kept
                yield ask(check, own, limits)
            else:
                self._before[check.name] = replace(kept, series=series)
                thread.ask(replace(own, series=series))


def _enough(check: Check, seen: CheckInput) -> bool:
    hits_before = 0 if seen.before is None else seen.before.counts.hits
    return seen.counts.hits - hits_before >= check.minimum_hits and seen.new_live_s >= check.minimum_live_s


class CheckThread:
    """Asks `check`, look by look; never waits. `clock`: monotonic seconds.

    A thread for each look, which ends with its answer. A daemon thread: one that never answers ends with the program.
    """

    def __init__(self, check: Check, limits: Mapping[str, float], clock: Callable[[], float] = time.monotonic) -> None:
        self._check = check
        self._limits = limits
        self._clock = clock
        self._asked_at: float | None = None
        self._answer: CheckOutcome | None = None

    @property
    def busy(self) -> bool:
        """Whether an answer is still to be taken: it is not asked meanwhile."""
        return self._asked_at is not None

    def ask(self, seen: CheckInput) -> None:
        """Begin to ask; nobody changes `seen` any more."""
        self._asked_at = self._clock()
        thread = threading.Thread(target=self._run, args=(seen,), name=f"check {self._check.name}", daemon=True)
        try:
            thread.start()
        except RuntimeError as error:  # too many threads, too little memory
            self._answer = CheckOutcome(self._check, None, f"it cannot be asked: {error}")

    def _run(self, seen: CheckInput) -> None:
        self._answer = ask(self._check, seen, self._limits)

    def take(self) -> CheckOutcome | None:
        """The answer, once; a failure for as long as it is late; None where there is no news."""
        if self._asked_at is None:
            return None
        if self._answer is not None:
            outcome, self._answer, self._asked_at = self._answer, None, None
            return outcome
        late_s = self._clock() - self._asked_at
        if late_s <= DEADLINE_S:
            return None
        text = f"no answer for {late_s:.0f} s: it is asked again when it has given one"
        return CheckOutcome(self._check, None, text, AlarmLevel.CRITICAL)


def ask(check: Check, seen: CheckInput, limits: Mapping[str, float]) -> CheckOutcome:
    """What `check` answers to what was seen: its results fit to be sent and kept, its exception as words."""
    if check.function is None:
        return CheckOutcome(check, None)
    try:
        with np.errstate(all="ignore"):
            results = check.function(seen, limits)
            if results is None:
                return CheckOutcome(check, None)
            sound = [_sound(result) for result in results]
            return CheckOutcome(check, [result for result in sound if result.level is not AlarmLevel.OK])
    except (Exception, SystemExit) as error:  # whatever it is, the other checks go on
        where = traceback.extract_tb(error.__traceback__)[-1]
        at = f"{Path(where.filename).name}:{where.lineno}"
        return CheckOutcome(check, None, f"{type(error).__name__}: {error} ({at})")


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
