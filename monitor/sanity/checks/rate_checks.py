"""The rate of hits now, against the same run's past."""

from collections.abc import Mapping, Sequence

import numpy as np

from monitor.sanity.check import CheckInput, CheckResult, Limit, check
from monitor.sanity.checks.noisy_pixels import FALSE_ALARMS
from monitor.sanity.checks.statistics import poisson_at_least, poisson_at_most, share_of_looks
from protocol.wire.alarms import AlarmLevel

_BIN_S = 10.0
_WINDOW = 6
_LEAST_PAST = 3

WINDOW_S = _BIN_S * _WINDOW
"""What is compared: the last minute, which averages over the spills of an accelerator, with the minutes before it."""


def rates_by_minute(seen: CheckInput) -> tuple[float, float] | None:
    """Hits per second in the last minute, and in the median minute of up to 58 before it in this run.

    Of whole bins of 10 s; minutes with a gap in them are left out. None where less than three minutes are known before,
    or the last is not.
    """
    _, rates = seen.series.hit_rate("1h")
    rates = rates[:-1]  # the last bin is not over
    known = len(rates) // _WINDOW * _WINDOW
    minutes = rates[len(rates) - known :].reshape(-1, _WINDOW).mean(axis=1) if known else rates[:0]
    past = minutes[:-1]
    past = past[~np.isnan(past)]
    if len(past) < _LEAST_PAST or np.isnan(minutes[-1]):
        return None
    return float(minutes[-1]), float(np.median(past))


def _probability(seen: CheckInput, limits: Mapping[str, float]) -> float:
    return share_of_looks(limits["false_alarms_per_hour"], seen.new_live_s, 1)


@check(
    AlarmLevel.WARNING,
    "beam or source gone? else look at bias voltage and thresholds",
    limits=(FALSE_ALARMS, Limit("factor", 2.0, "times less than before the rate may be", least=1.0)),
    minimum_live_s=10.0,
    in_a_row=1,
)
def rate_drop(seen: CheckInput, limits: Mapping[str, float]) -> Sequence[CheckResult] | None:
    """Far fewer hits in the last minute than in the minutes of the run before."""
    rates, probability = rates_by_minute(seen), _probability(seen, limits)
    if rates is None or not probability:
        return None
    now, past = rates
    least = past / limits["factor"]
    if poisson_at_most(round(now * WINDOW_S), least * WINDOW_S) > probability:
        return []
    text = f"{now:.4g} hits/s in the last minute, {past:.4g} in the minutes before"
    return [CheckResult("", text, now, least, AlarmLevel.CRITICAL if not now else None)]


@check(
    AlarmLevel.WARNING,
    "beam or source changed? else noise: look at noisy_pixel, temperature, light on the detector",
    limits=(FALSE_ALARMS, Limit("factor", 2.0, "times more than before the rate may be", least=1.0)),
    minimum_live_s=10.0,
    in_a_row=1,
)
def rate_jump(seen: CheckInput, limits: Mapping[str, float]) -> Sequence[CheckResult] | None:
    """Far more hits in the last minute than in the minutes of the run before."""
    rates, probability = rates_by_minute(seen), _probability(seen, limits)
    if rates is None or not probability:
        return None
    now, past = rates
    # One hit more than there was in the past: none at all in three minutes may well be one.
    most = limits["factor"] * max(past, 1 / WINDOW_S / _LEAST_PAST)
    if poisson_at_least(round(now * WINDOW_S), most * WINDOW_S) > probability:
        return []
    text = f"{now:.4g} hits/s in the last minute, {past:.4g} in the minutes before"
    return [CheckResult("", text, now, most)]
