"""When hits came last, and how long a silence between two of them may be by chance."""

from collections import deque
from collections.abc import Iterable

MOST = 100
"""Pauses between hits that are remembered: another rate is learned as soon as that many hits have come at it."""

LONGEST_S = 3600.0
"""However rare hits are: after an hour without any, it is said."""

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
        self._pauses: deque[float] = deque(maxlen=MOST)
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
