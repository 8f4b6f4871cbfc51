"""Pixels, columns and chips that give nothing where the others give much."""

import math
from collections.abc import Iterator, Mapping, Sequence

import numpy as np

from monitor.sanity.check import CheckInput, CheckResult, HitCounts, Limit, check
from monitor.sanity.checks.noisy_pixels import FALSE_ALARMS
from monitor.sanity.checks.pixels_seen import MAX_NAMED, Counts, Mask, pixels_on, slots_of, typical_counts
from monitor.sanity.checks.statistics import Floats, share_of_looks
from protocol.wire.alarms import AlarmLevel

_REACH = 2
"""Rows and columns to each side whose pixels say what to expect of one between them."""

_PIXEL_FACTOR = Limit("factor", 3.0, "times less than the others a pixel may give, and still be alive", least=1.0)
_CHIP_FACTOR = Limit("factor", 100.0, "times less than the others a chip that never had hits may give", least=1.0)
_PAST_FACTOR = 3.0
"""Times less than before, in relation to the others, that a chip may give and still be alive."""


def enough(probability: float, factor: float) -> float:
    """Expected count at which none seen means dead: one that gives `factor` times less is as unlikely as this."""
    return -math.log(probability) * factor


def around(values: Floats, on: Floats, axes: Sequence[int]) -> Floats:
    """Mean of the others that are on, up to two away along `axes` of (chips, rows, columns); 0 where there are none."""
    sums = []
    for each in (np.where(on > 0, values, 0.0), on):
        box = each
        for axis in axes:
            padding = [(0, 0)] * each.ndim
            padding[axis] = (_REACH + 1, _REACH)
            below = np.pad(box, padding).cumsum(axis=axis)
            length = each.shape[axis]
            width = 2 * _REACH + 1
            box = np.take(below, np.arange(width, width + length), axis) - np.take(below, np.arange(length), axis)
        sums.append(box - each)
    mean: Floats = sums[0] / np.maximum(sums[1], 1.0)
    return mean


def expected_pixels(counts: Counts, on: Mask, factor: float) -> Floats:
    """Counts to expect of each pixel: what is typical of its chip, or the mean around it, whichever is less."""
    typical = typical_counts(counts, on, factor)[:-1]
    expected: Floats = np.minimum(typical[:, None, None], around(counts.astype(float), on.astype(float), (1, 2)))
    return expected


def expected_columns(counts: Counts, on: Mask, factor: float) -> Floats:
    """The same for columns: (chips, columns)."""
    number = on.sum(axis=1).astype(np.float64)
    typical = typical_counts(counts, on, factor)[:-1, None] * number
    sums = np.where(on, counts, 0).sum(axis=1) / np.maximum(number, 1.0)
    near = around(sums[:, None, :], (number > 0).astype(np.float64)[:, None, :], (2,))[:, 0, :]
    expected: Floats = np.minimum(typical, near * number)
    return expected


def _windows(seen: CheckInput) -> Iterator[tuple[HitCounts, str]]:
    yield seen.counts, "in this run"
    if seen.before is not None:
        yield seen.new, f"in the last {seen.new_live_s:.0f} s"


def _looked_at(seen: CheckInput) -> tuple[list[int], Mask]:
    """Chips that had hits, and their pixels that are on; whole chips are left to `dead_chip`."""
    slots = [slot for slot in slots_of(seen).tolist() if seen.counts.chip_hits[slot]]
    on, _ = pixels_on(seen, np.array(slots, np.intp))
    return slots, on


@check(
    AlarmLevel.WARNING,
    "is the pixel switched on, and its threshold (TDAC) that of the others? else it is dead: note it",
    limits=(FALSE_ALARMS, _PIXEL_FACTOR),
    minimum_hits=1000,
    minimum_live_s=60.0,
    in_a_row=1,
    good_in_a_row=1,
)
def dead_pixel(seen: CheckInput, limits: Mapping[str, float]) -> Sequence[CheckResult] | None:
    """Pixels without a hit where the pixels around and the chip have many."""
    slots, on = _looked_at(seen)
    probability = share_of_looks(limits["false_alarms_per_hour"], seen.new_live_s, 2 * max(int(on.sum()), 1))
    if not probability or not slots:
        return None
    least, known = enough(probability, limits["factor"]), False
    found: dict[tuple[int, int, int], tuple[str, float]] = {}
    for window, when in _windows(seen):
        counts = window.hit_map[slots]
        if window.hits < least:
            continue
        expected = expected_pixels(counts, on, limits["factor"])
        known |= bool((expected >= least).any())
        column_hits = np.where(on, counts, 0).sum(axis=1)[:, None, :]
        dead = on & (counts == 0) & (expected >= least) & (column_hits > 0)
        for place in zip(*(index.tolist() for index in dead.nonzero()), strict=True):
            found.setdefault(place, (when, float(expected[place])))
    if not known:
        return None
    results = []
    for chip in sorted({chip for chip, _, _ in found}):
        name = str(seen.counts.place(slots[chip]))
        pixels = [(place, what) for place, what in found.items() if place[0] == chip]
        for (_, row, column), (when, expected_hits) in pixels[:MAX_NAMED]:
            subject = f"{name} pixel {row}/{column}"
            text = f"{subject} (row/column): no hits {when}, {expected_hits:.3g} expected"
            results.append(CheckResult(subject, text, 0.0, expected_hits))
        if len(pixels) > MAX_NAMED:
            text = f"{name} has {len(pixels)} dead pixels"
            results.append(CheckResult(name, text, len(pixels), MAX_NAMED, AlarmLevel.CRITICAL))
    return results


@check(
    AlarmLevel.CRITICAL,
    "configure the chip again; if it stays, its configuration or the column's readout is damaged",
    limits=(FALSE_ALARMS, _PIXEL_FACTOR),
    minimum_hits=100,
    minimum_live_s=30.0,
    in_a_row=1,
    good_in_a_row=1,
)
def dead_column(seen: CheckInput, limits: Mapping[str, float]) -> Sequence[CheckResult] | None:
    """Columns without a hit where the columns around and the chip have many."""
    slots, on = _looked_at(seen)
    questions = 2 * max(int(on.any(axis=1).sum()), 1)
    probability = share_of_looks(limits["false_alarms_per_hour"], seen.new_live_s, questions)
    if not probability or not slots:
        return None
    least, known = enough(probability, limits["factor"]), False
    results: dict[str, CheckResult] = {}
    for window, when in _windows(seen):
        counts = window.hit_map[slots]
        expected = expected_columns(counts, on, limits["factor"])
        known |= bool((expected >= least).any())
        alive = (counts.sum(axis=(1, 2)) > 0)[:, None]
        dead = alive & on.any(axis=1) & (np.where(on, counts, 0).sum(axis=1) == 0) & (expected >= least)
        for chip, column in zip(*(index.tolist() for index in dead.nonzero()), strict=True):
            subject = f"{window.place(slots[chip])} column {column}"
            mean = float(expected[chip, column])
            text = f"{subject}: no hits {when}, {mean:.3g} expected"
            results.setdefault(subject, CheckResult(subject, text, 0.0, mean))
    return list(results.values()) if known else None


@check(
    AlarmLevel.CRITICAL,
    "configure the chips again; look at the chip's power, bias voltage and place in the chain",
    limits=(FALSE_ALARMS, _CHIP_FACTOR),
    minimum_hits=50,
    minimum_live_s=10.0,
    in_a_row=1,
    good_in_a_row=1,
)
def dead_chip(seen: CheckInput, limits: Mapping[str, float]) -> Sequence[CheckResult] | None:
    """Chips without a hit where the others have many."""
    slots = slots_of(seen)
    if len(slots) < 2:
        return None  # whether the only one is dead, the rate tells
    probability = share_of_looks(limits["false_alarms_per_hour"], seen.new_live_s, 2 * len(slots))
    if not probability:
        return None
    least = -math.log(probability)
    results: list[CheckResult] = []
    hits, new = seen.counts.chip_hits[slots], seen.new.chip_hits[slots]
    before = np.zeros_like(hits) if seen.before is None else hits - new
    known = False
    for index, slot in enumerate(slots.tolist()):
        name = str(seen.counts.place(slot))
        if not hits[index]:
            expected = float(hits.sum()) / (len(slots) - 1) / limits["factor"]
            when = f"{name}: no hits in this run, and {int(hits.sum())} of the others"
        else:
            share = before[index] / max(int(before.sum() - before[index]), 1)
            expected = float(new.sum() - new[index]) * share / _PAST_FACTOR
            when = f"{name}: no hits in the last {seen.new_live_s:.0f} s, and {int(new.sum())} of the others"
        known |= expected >= least
        if not new[index] and expected >= least:
            results.append(CheckResult(name, when, 0.0, expected))
    return results if known else None
