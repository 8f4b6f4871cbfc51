"""Time over threshold: at the end of the counter, and moved against the same run's past."""

import math
from collections.abc import Mapping, Sequence

import numpy as np
import numpy.typing as npt

from monitor.sanity.check import Check, CheckInput, CheckResult, HitCounts, Limit
from monitor.sanity.checks.noisy_pixels import FALSE_ALARMS
from monitor.sanity.checks.pixels_seen import slots_of
from monitor.sanity.checks.statistics import (
    Floats,
    binned_quantiles,
    median_between,
    normal_deviate,
    poisson_at_least,
    share_of_looks,
)
from protocol.wire.alarms import AlarmLevel

_NEAR_THE_END = 0.99

LEAST_HITS = 200
"""Of a chip, for its spectrum to be looked at."""


def longest_tot_us(counts: HitCounts) -> float:
    """The longest time that the chips' counters can give, or the end of the spectrum where that is not known."""
    longest = counts.kind.hit_class.MAX_TOT_US
    return longest if math.isfinite(longest) else counts.binning.width_us * counts.binning.bins


def saturated_hits(counts: HitCounts, slots: npt.NDArray[np.intp]) -> npt.NDArray[np.int64]:
    """Hits of each chip (chips,) in the last hundredth of what the counter can give, or above."""
    first = math.floor(_NEAR_THE_END * longest_tot_us(counts) / counts.binning.width_us)
    found: npt.NDArray[np.int64] = counts.tot[slots, first:].sum(axis=1)
    return found


def _tot_saturation(seen: CheckInput, limits: Mapping[str, float]) -> Sequence[CheckResult] | None:
    slots, new = slots_of(seen), seen.new
    probability = share_of_looks(limits["false_alarms_per_hour"], seen.new_live_s, len(slots))
    hits = new.tot[slots].sum(axis=1)
    if not probability or not (hits >= LEAST_HITS).any():
        return None
    results = []
    saturated = saturated_hits(new, slots)
    for index in np.flatnonzero((hits >= LEAST_HITS) & (saturated > limits["fraction"] * hits)).tolist():
        count, number = int(saturated[index]), int(hits[index])
        if poisson_at_least(count, limits["fraction"] * number) <= probability:
            name = str(new.place(int(slots[index])))
            text = f"{name}: {count} of {number} hits at the end of the counter ({count / number:.2%})"
            results.append(CheckResult(name, text, count / number, limits["fraction"]))
    return results


def moved_medians(
    new: npt.NDArray[np.int64], known: npt.NDArray[np.int64], width_us: float, *, fraction: float, probability: float
) -> tuple[npt.NDArray[np.bool_], Floats, Floats]:
    """Which spectra (chips, bins) have a median that is surely more than `fraction` away from the `known` one's.

    Returns that, and the medians of both in µs, each (chips,). Sure: what lies between them is more than what each may
    be off by chance, with at most `probability`, and more than a bin. False where one has less than `LEAST_HITS` hits.
    """
    z = normal_deviate(min(probability / 4, 0.5))  # two spectra, two sides
    median, low, high = median_between(new, width_us, z)
    known_median, known_low, known_high = median_between(known, width_us, z)
    allowed = np.maximum(fraction * known_median, width_us)
    with np.errstate(invalid="ignore"):
        moved = (low > known_high + allowed) | (high < known_low - allowed)
    moved &= (new.sum(axis=1) >= LEAST_HITS) & (known.sum(axis=1) >= LEAST_HITS)
    return moved, median, known_median


def _tot_shift(seen: CheckInput, limits: Mapping[str, float]) -> Sequence[CheckResult] | None:
    slots = slots_of(seen)
    probability = share_of_looks(limits["false_alarms_per_hour"], seen.new_live_s, len(slots))
    if seen.before is None or not probability or seen.before.counts.kind != seen.counts.kind:
        return None
    width_us = seen.counts.binning.width_us
    new, past = seen.new.tot[slots], seen.before.counts.tot[slots]
    moved, median, before = moved_medians(new, past, width_us, fraction=limits["fraction"], probability=probability)
    results = []
    for index in np.flatnonzero(moved).tolist():
        name = str(seen.counts.place(int(slots[index])))
        text = (
            f"{name}: median {median[index]:.4g} µs in the last {seen.new_live_s:.0f} s, {before[index]:.4g} µs before"
        )
        results.append(CheckResult(name, text, float(median[index]), float(before[index])))
    return results


def medians_us(counts: HitCounts, slots: npt.NDArray[np.intp]) -> Floats:
    """Median of each chip (chips,) in µs; nan where it has no hits."""
    return binned_quantiles(counts.tot[slots], counts.binning.width_us, [0.5])[:, 0]


TOT_SATURATION = Check(
    "tot_saturation",
    "hits whose time over threshold is at the end of the chip's counter",
    AlarmLevel.WARNING,
    "trailing edges are missed: baseline above threshold? light? else hits are garbled: look at orphan_bytes",
    _tot_saturation,
    limits=(FALSE_ALARMS, Limit("fraction", 0.01, "of a chip's hits that may be so long", most=1.0)),
    minimum_hits=LEAST_HITS,
    minimum_live_s=10.0,
    in_a_row=1,
)
TOT_SHIFT = Check(
    "tot_shift",
    "a chip's median time over threshold is not what it was before in the run",
    AlarmLevel.WARNING,
    "threshold, bias voltage or temperature changed? or another source",
    _tot_shift,
    limits=(FALSE_ALARMS, Limit("fraction", 0.1, "of the median before that it may have moved")),
    minimum_hits=LEAST_HITS,
    minimum_live_s=10.0,
    in_a_row=1,
)
