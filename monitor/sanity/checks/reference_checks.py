"""What comes, held against a reference: shapes of maps and spectra, and medians."""

from collections.abc import Callable, Iterable, Mapping, Sequence
from functools import partial

import numpy as np

from monitor.sanity.check import Check, CheckInput, CheckResult, Limit
from monitor.sanity.checks.noisy_pixels import FALSE_ALARMS
from monitor.sanity.checks.reference import Counts, Reference, ReferenceCounts, merged
from monitor.sanity.checks.statistics import chi2_at_least, ks_at_least, ks_distance, same_shape_chi2, share_of_looks
from monitor.sanity.checks.tot_checks import LEAST_HITS, moved_medians
from protocol.wire.alarms import AlarmLevel

_LEAST_IN_A_BIN = 10


def _tot_reference(
    reference: ReferenceCounts, seen: CheckInput, limits: Mapping[str, float]
) -> list[CheckResult] | None:
    pairs = reference.pairs(seen)
    probability = share_of_looks(limits["false_alarms_per_hour"], seen.new_live_s, len(pairs))
    if not pairs or not probability:
        return None
    slots, indices = [slot for _, slot, _ in pairs], [index for *_, index in pairs]
    moved, median, known = moved_medians(
        seen.new.tot[slots],
        reference.tot[indices],
        seen.counts.binning.width_us,
        fraction=limits["fraction"],
        probability=probability,
    )
    return [
        CheckResult(name, f"{name}: median {new:.4g} µs, {old:.4g} in the reference", float(new), float(old))
        for (name, *_), new, old, wrong in zip(pairs, median, known, moved, strict=True)
        if wrong
    ]


def _spectrum_reference(
    reference: ReferenceCounts, seen: CheckInput, limits: Mapping[str, float]
) -> list[CheckResult] | None:
    pairs, new = reference.pairs(seen), seen.new
    probability = share_of_looks(limits["false_alarms_per_hour"], seen.new_live_s, 2 * len(pairs))
    if not pairs or not probability:
        return None
    slots, indices = [slot for _, slot, _ in pairs], [index for *_, index in pairs]
    mine, its = new.tot[slots], reference.tot[indices]
    distances = ks_distance(mine, its)
    chi2s, degrees = same_shape_chi2(merged(mine, reference.groups[indices]), merged(its, reference.groups[indices]))
    results = []
    for at, (name, *_) in enumerate(pairs):
        n, m = int(mine[at].sum()), int(its[at].sum())
        if min(n, m) < LEAST_HITS:
            continue
        distance, chi2, degree = float(distances[at]), float(chi2s[at]), int(degrees[at])
        apart = _apart(chi2, degree, n, m)
        # Farther apart than allowed, and what is beyond that is not by chance.
        if distance > limits["distance"] and ks_at_least(distance - limits["distance"], n, m) <= probability:
            text = f"{name}: the spectrum is not that of the reference (KS distance {distance:.3f}, {n} new hits)"
            results.append(CheckResult(name, text, distance, limits["distance"]))
        elif apart > limits["contingency"] and degree and chi2_at_least(chi2, degree) <= probability:
            text = f"{name}: the spectrum is not that of the reference (χ² {chi2:.0f} at {degree} degrees of freedom)"
            results.append(CheckResult(name, text, apart, limits["contingency"]))
    return results


def _apart(chi2: float, degrees: int, n: int, m: int) -> float:
    """How different two shapes are, whatever the statistics: √((χ² - degrees) / n_e), n_e = n m / (n + m); 0 for none.

    That is what is left of χ² for large n_e: √(Σ (pᵢ - qᵢ)² / p̄ᵢ) for the bins' true shares pᵢ and qᵢ, up to 2.
    """
    return float(np.sqrt(max(chi2 - degrees, 0.0) * (n + m) / (n * m)))


def _map_reference(
    reference: ReferenceCounts, seen: CheckInput, limits: Mapping[str, float]
) -> list[CheckResult] | None:
    pairs, new = reference.pairs(seen), seen.new
    probability = share_of_looks(limits["false_alarms_per_hour"], seen.new_live_s, len(pairs) + 1)
    if not pairs or not probability:
        return None
    results = []
    chips = np.array([[new.chip_hits[slot], reference.hit_map[index].sum()] for _, slot, index in pairs])
    compared = [("", chips[:, 0], chips[:, 1])] if len(pairs) > 1 else []
    for name, slot, index in pairs:
        maps = _fine_enough(new.hit_map[slot], reference.hit_map[index])
        if maps is not None:
            compared.append((name, *maps))
    for name, mine, its in compared:
        n, m = int(mine.sum()), int(its.sum())
        if min(n, m) < _LEAST_IN_A_BIN * mine.size:
            continue
        found, degrees_found = same_shape_chi2(mine, its)
        chi2, degrees = float(found), int(degrees_found)
        apart = _apart(chi2, degrees, n, m)
        if apart > limits["contingency"] and degrees and chi2_at_least(chi2, degrees) <= probability:
            what = f"{name}: the map" if name else "how the hits spread over the chips"
            text = f"{what} is not that of the reference (χ² {chi2:.0f} at {degrees} degrees of freedom)"
            results.append(CheckResult(name or "chips", text, apart, limits["contingency"]))
    return results


def _fine_enough(mine: Counts, its: Counts) -> tuple[Counts, Counts] | None:
    """Pixels, or columns, or rows, whichever have the hits for it in both; None where nothing has."""
    for axis in (None, 0, 1):
        first, second = (each.ravel() if axis is None else each.sum(axis=axis) for each in (mine, its))
        if min(int(first.sum()), int(second.sum())) >= _LEAST_IN_A_BIN * first.size:
            return first, second
    return None


_CONTINGENCY = Limit(
    "contingency", 0.3, "how far shapes may be apart, however sure: √(χ²/n), 0 for equal ones, 2 for nothing in common"
)
_Compare = Callable[[ReferenceCounts, CheckInput, Mapping[str, float]], Sequence[CheckResult] | None]


def _nothing(seen: CheckInput, limits: Mapping[str, float]) -> None:
    """Nothing is known without a reference."""


def reference_checks(reference: Reference | None) -> tuple[Check, ...]:
    """The checks that hold what comes against `reference`: shapes only, rates may differ. None: they say nothing."""
    counts = None if reference is None else ReferenceCounts(reference)

    def against(name: str, what: str, advice: str, compare: _Compare, *limits: Limit) -> Check:
        function = _nothing if counts is None else partial(compare, counts)
        return Check(
            name,
            what,
            AlarmLevel.WARNING,
            advice,
            function,
            limits=(FALSE_ALARMS, *limits),
            minimum_hits=500,
            minimum_live_s=10.0,
            in_a_row=1,
        )

    return (
        against(
            "tot_reference",
            "a chip's median time over threshold is not that of the reference",
            "another threshold, bias voltage, temperature or source than in the reference?",
            _tot_reference,
            Limit("fraction", 0.1, "of the reference's median that it may be off"),
        ),
        against(
            "spectrum_reference",
            "the shape of a chip's spectrum, of the hits since the last look, is not that of the reference (KS and χ²)",
            "another threshold, bias voltage, temperature or source than in the reference? else make a new reference",
            _spectrum_reference,
            Limit("distance", 0.1, "between the cumulative spectra, however sure it is", most=1.0),
            _CONTINGENCY,
        ),
        against(
            "map_reference",
            "hits since the last look spread over pixels or chips otherwise than in the reference (χ²)",
            "another beam or source position? masked or noisy pixels? else make a new reference",
            _map_reference,
            _CONTINGENCY,
        ),
    )


def with_reference(checks: Iterable[Check], reference: Reference) -> tuple[Check, ...]:
    """`checks`, those of references against this one."""
    against = {each.name: each for each in reference_checks(reference)}
    return tuple(against.get(each.name, each) for each in checks)
