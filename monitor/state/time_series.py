"""Hit rate and readout rate of a run against time. By the times of the readouts, not by when they reached us."""

import math
from collections.abc import Iterable
from typing import Final, Literal

import numpy as np
import numpy.typing as npt
from pydantic import BaseModel, ConfigDict

from monitor.state.readout_times import LONGEST_S, Counts, Stretch
from protocol.run_record import Gap
from protocol.units import NS_PER_S

Span = Literal["10min", "1h", "12h"]
Rate = tuple[npt.NDArray[np.float64], npt.NDArray[np.float64]]

SPANS: Final[dict[Span, tuple[int, int]]] = {"10min": (600, 1), "1h": (360, 10), "12h": (720, 60)}
"""Number of bins, and how many seconds each is long."""

_LEAST_S = 0.25
"""Of a bin that has to be known, for a rate that says something."""

_HITS, _READOUTS = 0, 1


class SeriesState(BaseModel):
    """Both rates in bins of `bin_s` seconds; JSON-able. None: not known.

    `from_s`: where the first bin begins, seconds since the epoch; it is the first of which anything is known. None
    where there is nothing. Rates per second, to five digits.
    """

    model_config = ConfigDict(frozen=True)

    bin_s: int
    from_s: int | None
    hits_hz: tuple[float | None, ...]
    readouts_hz: tuple[float | None, ...]


class RunSeries:
    """The last 12 hours of a run, second by second. Constant memory: 0.4 MB.

    A second is known if all of its readouts came. It is not where readouts were missed and did not come later, where
    the board was lost, and before we joined. Where the clock was set back, what comes overwrites what had been there.
    """

    def __init__(self) -> None:
        self._counts = np.zeros((2, LONGEST_S), np.uint32)
        self._known = np.zeros(LONGEST_S, np.bool_)
        self.reset()

    def reset(self) -> None:
        """Forget everything."""
        self._first_ns: int | None = None
        self._last_ns = 0
        self._gaps: tuple[Gap, ...] = ()

    def copy(self) -> "RunSeries":
        """Another one, as this is now."""
        other = RunSeries()
        other._counts[:], other._known[:] = self._counts, self._known
        other._first_ns, other._last_ns, other._gaps = self._first_ns, self._last_ns, self._gaps
        return other

    @property
    def first_ns(self) -> int | None:
        """Where the series begins; None: it is empty."""
        return self._first_ns

    @property
    def last_ns(self) -> int:
        """Until when all is in it that we know of; 0: it is empty."""
        return self._last_ns

    def add(self, stretch: Stretch) -> None:
        """Take in readouts."""
        if stretch.set_back and self._first_ns is not None:
            self._set_back(stretch.first_ns)
        self._go_on(stretch.first_ns if self._first_ns is None else self._last_ns, stretch.last_ns)
        if self._first_ns is None or stretch.first_ns < self._first_ns:
            self._first_ns = stretch.first_ns
        seconds = stretch.seconds
        kept = slice(max(self._last_ns // NS_PER_S - LONGEST_S + 1 - stretch.first_s, 0), None)
        places = seconds[kept] % LONGEST_S
        self._counts[_HITS, places] += stretch.hits_each[kept].astype(np.uint32)
        self._counts[_READOUTS, places] += stretch.readouts[kept].astype(np.uint32)
        if stretch.late:
            self._known[places] |= stretch.known[kept]
        else:
            self._known[places] = stretch.known[kept]

    def pass_until(self, now_ns: int) -> None:
        """Nothing else has come until `now_ns`, and all that there was has come."""
        if self._first_ns is None:
            return
        from_s, to_s = self._last_ns // NS_PER_S, now_ns // NS_PER_S
        self._go_on(self._last_ns, now_ns)
        self._known[np.arange(max(from_s + 1, to_s - LONGEST_S + 1), to_s + 1) % LONGEST_S] = True

    def begin(self, begin_ns: int) -> None:
        """The run began then, and we were there."""
        if self._first_ns is None:
            self._go_on(begin_ns, begin_ns)
            self._first_ns = begin_ns
            self._known[begin_ns // NS_PER_S % LONGEST_S] = True

    def leave_out(self, gaps: Iterable[Gap]) -> None:
        """In all these `gaps`, and no others, the board was lost."""
        self._gaps = tuple(gaps)

    def _go_on(self, from_ns: int, to_ns: int) -> None:
        """Make room until `to_ns`."""
        if self._first_ns is None:
            self._counts[:] = 0
            self._known[:] = False
            self._last_ns = to_ns
            return
        from_s, to_s = from_ns // NS_PER_S, to_ns // NS_PER_S
        if to_s > from_s:
            self._forget(np.arange(max(from_s + 1, to_s - LONGEST_S + 1), to_s + 1))
        self._last_ns = max(self._last_ns, to_ns)

    def _set_back(self, to_ns: int) -> None:
        to_s, last_s = to_ns // NS_PER_S, self._last_ns // NS_PER_S
        self._forget(np.arange(max(to_s + 1, last_s - LONGEST_S + 1), last_s + 1))
        self._last_ns = to_ns
        self._first_ns = min(self._first_ns or to_ns, to_ns)

    def _forget(self, seconds: Counts) -> None:
        places = seconds % LONGEST_S
        self._counts[:, places] = 0
        self._known[places] = False

    def hit_rate(self, span: Span) -> Rate:
        """Hits per second over the last 10 min, 1 h or 12 h: (t_s (n,), per_second (n,)).

        `t_s`: the middle of each bin, ascending, seconds since the epoch; all of the span, also before the run. nan:
        not known. n is 0 where nothing has come.
        """
        return self._rate(_HITS, span)

    def readout_rate(self, span: Span) -> Rate:
        """Readouts per second, those without hits included; as `hit_rate`."""
        return self._rate(_READOUTS, span)

    def state(self, span: Span) -> SeriesState:
        """Both rates over `span`."""
        bin_s = SPANS[span][1]
        t_s, hits_hz = self.hit_rate(span)
        _, readouts_hz = self.readout_rate(span)
        known = (~np.isnan(hits_hz)).nonzero()[0]
        if not len(known):
            return SeriesState(bin_s=bin_s, from_s=None, hits_hz=(), readouts_hz=())
        first = int(known[0])
        return SeriesState(
            bin_s=bin_s,
            from_s=round(float(t_s[first]) - bin_s / 2),
            hits_hz=_five_digits(hits_hz[first:]),
            readouts_hz=_five_digits(readouts_hz[first:]),
        )

    def _rate(self, what: int, span: Span) -> Rate:
        bins, bin_s = SPANS[span]
        if self._first_ns is None:
            return np.zeros(0), np.zeros(0)
        last_s = self._last_ns // NS_PER_S
        first_s = (last_s // bin_s - bins + 1) * bin_s
        seconds = np.arange(first_s, first_s + bins * bin_s)
        places = seconds % LONGEST_S
        covered = np.where(seconds <= last_s, self._known[places], False) * self._shares(seconds)
        counts = np.where(covered > 0, self._counts[what, places], 0)
        covered_s = covered.reshape(bins, bin_s).sum(axis=1)
        per_second = np.full(bins, np.nan)
        enough = covered_s >= _LEAST_S
        per_second[enough] = counts.reshape(bins, bin_s).sum(axis=1)[enough] / covered_s[enough]
        return first_s + (np.arange(bins, dtype=np.float64) + 0.5) * bin_s, per_second

    def _shares(self, seconds: Counts) -> npt.NDArray[np.float64]:
        """How much of each of the consecutive `seconds` lies in the run, and in none of its gaps."""
        assert self._first_ns is not None  # noqa: S101 - the caller has looked
        shares = np.ones(len(seconds))
        for from_ns, to_ns in (
            (0, self._first_ns),
            *((gap.from_ns, self._last_ns if gap.to_ns is None else gap.to_ns) for gap in self._gaps),
            (self._last_ns, (int(seconds[-1]) + 1) * NS_PER_S),
        ):
            first = max(from_ns // NS_PER_S - int(seconds[0]), 0)
            last = min((to_ns - 1) // NS_PER_S - int(seconds[0]), len(seconds) - 1)
            if first <= last:
                inside = seconds[first : last + 1]
                begin_ns = np.maximum(from_ns - inside * NS_PER_S, 0)
                end_ns = np.minimum(to_ns - inside * NS_PER_S, NS_PER_S)
                shares[first : last + 1] -= (end_ns - begin_ns) / NS_PER_S
        return np.maximum(shares, 0.0)


def _five_digits(per_second: npt.NDArray[np.float64]) -> tuple[float | None, ...]:
    return tuple(None if math.isnan(each) else float(f"{each:.5g}") for each in per_second.tolist())
