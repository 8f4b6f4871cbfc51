"""Has the stream gone quiet? And how long a silence between two hits may be by chance."""

from collections import deque
from collections.abc import Iterable, Iterator

from monitor.events import Event, HitBatch, StatMessage
from monitor.sanity.check import CheckResult, Limits
from monitor.sanity.checks.event_checks import NO_HITS, SILENCE
from monitor.sanity.findings import Notice
from protocol.wire.alarms import AlarmLevel

MAX_PAUSES = 100
"""Pauses between hits that are remembered: another rate is learned as soon as that many hits have come at it."""

LONGEST_S = 3600.0
"""However rare hits are: an hour without any is noticed."""

FEW = 5
LONGEST_OF_FEW_S = 600.0
"""Fewer pauses fit nearly any rate; but what went silent right after its first hits is not to wait an hour."""

_TOGETHER_S = 1.0
"""Hits of one shower, or of one readout, are one arrival: only what comes by itself says how rare hits are."""


class Arrivals:
    """Remembers the pauses between arrivals, whose times are in s on any clock.

    Of n pauses between Poisson arrivals that took T in all, the next is longer than t with a probability of
    (1 + t / T)^-n: the pauses are exponential, T has a gamma distribution of the same rate, which cancels. So a rate
    known from few hits is not taken for more than it is.
    """

    def __init__(self) -> None:
        self._pauses: deque[float] = deque(maxlen=MAX_PAUSES)
        self._last: float | None = None

    def begin(self, at: float) -> None:
        """The first one is waited for from `at` on."""
        if self._last is None:
            self._last = at

    def add(self, times: Iterable[float]) -> None:
        """Hits have come, in that order. A clock may be set back, which is no pause."""
        for at in times:
            if self._last is None or at < self._last:
                self._last = at
            elif at >= self._last + _TOGETHER_S:
                self._pauses.append(min(at - self._last, LONGEST_S))
                self._last = at

    def longest_s(self, false_alarms_per_hour: float) -> float:
        """The longest pause that is no wonder, up to `LONGEST_S` or `LONGEST_OF_FEW_S`; 0 where nothing is known.

        Longer ones come at most `false_alarms_per_hour` times an hour of such arrivals, of which there are n / T each
        second.
        """
        pauses, took_s = len(self._pauses), sum(self._pauses)
        if not pauses:
            return 0.0
        most_s = LONGEST_OF_FEW_S if pauses < FEW else LONGEST_S
        probability = min(false_alarms_per_hour / 3600 * took_s / pauses, 1.0)
        if probability <= 0:
            return most_s
        return float(min(took_s * (probability ** (-1 / pauses) - 1), most_s))


_AT_WORK = ("running", "recovering", "replay")


class Silence:
    """Notices when nothing came for too long. Times are monotonic, in seconds; `began`: when we started to listen.

    How long hits may be away is for their own rate to say, from `max_s` of `no_hits` up.
    """

    def __init__(self, limits: Limits, began: float) -> None:
        self._max_silence_s = limits.of(SILENCE)["max_s"]
        self._no_hits = limits.of(NO_HITS)
        self._stat_at = began
        self._hits_at = began
        self._state: str | None = None
        self._stat_silent = False
        self._hits_silent = False
        self._began = began
        self._heard = False
        self._arrivals = Arrivals()
        self._not_running_s = 0.0
        self._stopped_at = began

    def heard(self, event: Event, now: float) -> None:
        """Something came."""
        self._heard = True
        if isinstance(event, StatMessage):
            if event.stat.state == "running" != self._state:
                self._hits_at = now
                self._not_running_s += now - self._stopped_at
                self._arrivals.begin(self._running_s(now))
            elif event.stat.state != "running" == self._state:
                self._stopped_at = now
            self._state = event.stat.state
            self._stat_at = now
            self._stat_silent = False
        if isinstance(event, HitBatch) and len(event.hits):
            self._hits_at = now
            self._hits_silent = False
            if self._state == "running":
                self._arrivals.add([self._running_s(now)])

    def _running_s(self, now: float) -> float:
        """What of the time the daemon was running: between runs, no hits are waited for."""
        return now - self._not_running_s

    @property
    def _longest_s(self) -> float:
        """How long no hits are nothing to worry about."""
        longest_s = self._arrivals.longest_s(self._no_hits["false_alarms_per_hour"])
        return max(longest_s, self._no_hits["max_s"])

    def settle(self, now: float) -> Iterator[Notice]:
        """Notices at the end: hearing nothing at all is not all well, however short we listened."""
        if not self._heard and not self._stat_silent:
            yield Notice(SILENCE, _nothing(now - self._began, 1))

    def lasting(self, now: float) -> Iterator[Notice]:
        """What is wrong now, as long as it lasts."""
        quiet_s, limit_s = now - self._stat_at, self._max_silence_s
        if quiet_s > limit_s:
            if self._state is None:
                yield Notice(SILENCE, _nothing(quiet_s, 0, limit_s))
            elif self._state in _AT_WORK:
                text = f"no state for {quiet_s:.0f} s; the last one was {self._state}"
                yield Notice(SILENCE, CheckResult("", text, quiet_s, limit_s))
        elif self._state == "running" and (quiet_s := now - self._hits_at) > (limit_s := self._longest_s):
            yield Notice(NO_HITS, CheckResult("", f"none for {quiet_s:.0f} s", quiet_s, limit_s))

    def check(self, now: float) -> Iterator[Notice]:
        """Notices of this moment: one for each time that it goes quiet."""
        quiet_s = now - self._stat_at
        if quiet_s > self._max_silence_s and not self._stat_silent:
            self._stat_silent = True
            if self._state is None:
                yield Notice(SILENCE, _nothing(quiet_s, 1))
            else:
                # A daemon that was idle and is gone was stopped by somebody.
                level = None if self._state in _AT_WORK else AlarmLevel.OK
                text = f"no state for {quiet_s:.1f} s; the last one was {self._state}"
                yield Notice(SILENCE, CheckResult(self._state, text, level=level))
        quiet_s = now - self._hits_at
        heard = self._state == "running" and not self._stat_silent
        if heard and quiet_s > self._longest_s and not self._hits_silent:
            self._hits_silent = True
            yield Notice(NO_HITS, CheckResult("", f"none for {quiet_s:.1f} s"))


def _nothing(quiet_s: float, digits: int, limit_s: float | None = None) -> CheckResult:
    text = f"nothing came in {quiet_s:.{digits}f} s since we began to listen"
    return CheckResult("", text, None if limit_s is None else quiet_s, limit_s)
