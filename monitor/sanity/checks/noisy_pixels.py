"""Pixels that give too much, against what the others give."""

from collections.abc import Mapping, Sequence

import numpy as np
import numpy.typing as npt

from monitor.sanity.check import CheckInput, CheckResult, HitCounts, Limit, check
from monitor.sanity.checks.pixels_seen import MAX_NAMED, Counts, Mask, pixels_on, slots_of, typical_counts
from monitor.sanity.checks.statistics import Floats, normal_deviate, poisson_at_most, poisson_limit, share_of_looks
from protocol.wire.alarms import AlarmLevel

FALSE_ALARMS = Limit(
    "false_alarms_per_hour",
    1e-3,
    "most false alarms of the whole detector, per hour of live time",
    least=1e-12,
    most=1e3,
)

_OTHERS_HITS = 10
"""Hits of other pixels without which nobody can tell what is typical, where it is not known which pixels are on."""

_STILL = 1e-3
"""What is noisy over the run and as quiet as this of late, is not noisy any more."""

_NEIGHBOURS = [(row, column) for row in (-1, 0, 1) for column in (-1, 0, 1) if row or column]
_BRIGHT_NEIGHBOUR = 5
"""Of the eight neighbours, from the lowest: two may be noisy, too, and a beam spot's corner has three in the spot."""


def noisy_pixels(
    counts: Counts, on: Mask, known: Mask, *, factor: float, probability: float
) -> list[tuple[int, int, int, float]]:
    """(chip, row, column, expected count) of the pixels with too many `counts` (chips, rows, columns).

    A pixel is noisy if it counts so much that a Poisson variable of `factor` times the expected mean would do so with
    at most `probability`. Expected is what is typical of all, or of its chip, whichever is more; where a beam has its
    edge, what the third-highest of the eight neighbours counts. None where too little comes from the others.

    That the mean is of the same data makes it no more likely: given their sum, the counts are binomial, whose tail is
    below the Poisson's.
    """
    typical = typical_counts(counts, on, factor)
    pixels = on.reshape(len(on), -1).sum(axis=1)
    others = float(typical[-1] * pixels.sum())
    expected = np.maximum(typical[:-1], typical[-1])
    # Three more: none seen may well be three expected.
    expected = np.maximum(expected, (others + 3) / max(int(pixels.sum()), 1))
    mean = factor * expected
    # The Poisson tail lies above the normal one (H. Bohman, Skand. Aktuarietidskr. 46 (1963) 47): those below are fine.
    suspects = on & (counts > (mean + normal_deviate(probability) * np.sqrt(mean))[:, None, None])
    if others < _OTHERS_HITS:
        suspects &= known[:, None, None]
    chips, rows, columns = suspects.nonzero()
    if not len(chips):
        return []
    around = np.maximum(expected[chips], _bright_neighbours(counts, chips, rows, columns))
    limits = {value: poisson_limit(factor * value, probability) for value in np.unique(around).tolist()}
    return [
        (chip, row, column, value)
        for chip, row, column, value in zip(
            chips.tolist(), rows.tolist(), columns.tolist(), around.tolist(), strict=True
        )
        if counts[chip, row, column] >= limits[value]
    ]


def _bright_neighbours(
    counts: Counts, chips: npt.NDArray[np.intp], rows: npt.NDArray[np.intp], columns: npt.NDArray[np.intp]
) -> Floats:
    padded = np.zeros((counts.shape[0], counts.shape[1] + 2, counts.shape[2] + 2), np.int64)
    padded[:, 1:-1, 1:-1] = counts
    near = np.stack([padded[chips, rows + 1 + down, columns + 1 + right] for down, right in _NEIGHBOURS], axis=1)
    return np.sort(near, axis=1)[:, _BRIGHT_NEIGHBOUR].astype(np.float64)


def _windows(seen: CheckInput) -> list[tuple[HitCounts, float, str]]:
    """What is new, and all of the run: counts, live time in s, and what to call it."""
    windows = [(seen.new, seen.new_live_s, f"in the last {seen.new_live_s:.0f} s")]
    if seen.before is not None:
        windows.append((seen.counts, seen.live_s, f"in the {seen.live_s:.0f} s of the run"))
    return windows


@check(
    AlarmLevel.WARNING,
    "switch the pixel off in the chip's configuration, or raise the threshold",
    limits=(
        FALSE_ALARMS,
        Limit("factor", 3.0, "times the typical rate that a pixel may have, however sure it is", least=1.0),
    ),
    minimum_live_s=10.0,
    in_a_row=1,
)
def noisy_pixel(seen: CheckInput, limits: Mapping[str, float]) -> Sequence[CheckResult] | None:
    """Pixels with far more hits than the others, more than chance can give."""
    slots = slots_of(seen)
    on, known = pixels_on(seen, slots)
    probability = share_of_looks(limits["false_alarms_per_hour"], seen.new_live_s, 2 * int(on.sum()))
    if not probability:
        return None
    factor, new = limits["factor"], seen.new.hit_map[slots]
    found: dict[tuple[int, int, int], tuple[str, float, float]] = {}
    for window, live_s, when in _windows(seen):
        counts = window.hit_map[slots]
        for chip, row, column, expected in noisy_pixels(counts, on, known, factor=factor, probability=probability):
            count = int(counts[chip, row, column])
            lately = count * seen.new_live_s / live_s
            if window is seen.counts and poisson_at_most(int(new[chip, row, column]), lately) < _STILL:
                continue
            text = f"{count} hits {when}, {expected:.3g} expected"
            found.setdefault((chip, row, column), (text, count / live_s, expected / live_s))
    results = []
    for chip in sorted({chip for chip, _, _ in found}):
        name = str(seen.counts.place(int(slots[chip])))
        pixels = [(place, what) for place, what in found.items() if place[0] == chip]
        for (_, row, column), (text, rate, expected_rate) in pixels[:MAX_NAMED]:
            subject = f"{name} pixel {row}/{column}"
            results.append(
                CheckResult(subject, f"{subject} (row/column): {text} ({rate:.3g} /s)", rate, factor * expected_rate)
            )
        if len(pixels) > MAX_NAMED:
            text = f"{name} has {len(pixels)} noisy pixels"
            results.append(CheckResult(name, text, len(pixels), MAX_NAMED, AlarmLevel.CRITICAL))
    return results
