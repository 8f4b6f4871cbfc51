"""One check in a thread of its own: who may take for ever is waited for by nobody."""

import threading
import time
from collections.abc import Callable, Mapping

from monitor.sanity.check import Check, CheckInput
from monitor.sanity.check_asking import CheckSaid, ask
from protocol.wire.alarms import AlarmLevel

DEADLINE_S = 2.0
"""A check that looks once a second is of no use if it takes much longer; the checks of this package take 12 ms, all."""


class CheckThread:
    """Asks `check`, look by look; never waits. `clock`: monotonic seconds.

    A thread for each look, which ends with its answer. A daemon thread: one that never answers ends with the program.
    """

    def __init__(self, check: Check, limits: Mapping[str, float], clock: Callable[[], float] = time.monotonic) -> None:
        self._check = check
        self._limits = limits
        self._clock = clock
        self._asked_at: float | None = None
        self._answer: CheckSaid | None = None

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
            self._answer = CheckSaid(self._check, None, f"it cannot be asked: {error}")

    def _run(self, seen: CheckInput) -> None:
        self._answer = ask(self._check, seen, self._limits)

    def take(self) -> CheckSaid | None:
        """What it said, once; a failure for as long as it has not answered in time; None where there is no news."""
        if self._asked_at is None:
            return None
        if self._answer is not None:
            said, self._answer, self._asked_at = self._answer, None, None
            return said
        late_s = self._clock() - self._asked_at
        if late_s <= DEADLINE_S:
            return None
        text = f"no answer for {late_s:.0f} s: it is asked again when it has given one"
        return CheckSaid(self._check, None, text, AlarmLevel.CRITICAL)
