"""Tails of the few distributions that the checks need, medians of histograms, and the look-elsewhere correction.

Functions take and return plain numbers unless they mention arrays. SciPy has the special functions; it is imported when
one is first needed, because that takes longer than everything else at the start of a program.
"""

import math
from statistics import NormalDist
from typing import Any

import numpy as np
import numpy.typing as npt

from monitor.errors import MissingPackageError

Floats = npt.NDArray[np.float64]

S_PER_H = 3600.0


def special_functions() -> Any:
    """The module `scipy.special`; `MissingPackageError` where SciPy is not installed."""
    try:
        from scipy import special
    except ModuleNotFoundError:
        raise MissingPackageError('SciPy is not installed: pip install "astropix-daq[sanity]"') from None
    return special


def share_of_looks(per_hour: float, live_s: float, questions: int) -> float:
    """Look-elsewhere correction: false-alarm probability left for one question (one pixel, one window) of one look.

    A look asks the same of `questions` pixels (or chips) and windows, and the looks of an hour do so again and again.
    By Boole's inequality, the probability that any of them is wrong by chance is at most the sum over all of them,
    however they depend on each other. So with ::

        p = per_hour · live_s / 3600 s / questions

    for each, `live_s` the live time since the look before, the sum over the looks of an hour of live time is
    `per_hour`: that is the most that the whole detector can give. (C. Bonferroni, 1936; E. Gross and O. Vitells, Eur.
    Phys. J. C 70 (2010) 525, on trials in general. Where windows overlap, it is less.) 0 where there was no live time.
    """
    return min(per_hour * max(live_s, 0.0) / S_PER_H / max(questions, 1), 1.0)


def poisson_at_least(count: int, mean: float) -> float:
    """Probability of `count` or more where `mean` (≥ 0) are expected."""
    return 1.0 if count <= 0 else float(special_functions().gammainc(count, mean))


def poisson_at_most(count: int, mean: float) -> float:
    """Probability of `count` or fewer where `mean` (≥ 0) are expected."""
    return 0.0 if count < 0 else float(special_functions().gammaincc(count + 1, mean))


def poisson_limit(mean: float, probability: float) -> int:
    """The least count that is as unlikely as `probability`: `poisson_at_least(count, mean) <= probability`.

    So the counts of any number of pixels with the same expectation are held against one number. `probability` above 0.
    """
    if probability >= 1:
        return 0
    z = normal_deviate(probability)
    low = 0  # more likely than that
    high = max(math.ceil(mean + z * math.sqrt(mean) + z * z / 3), 1)
    while poisson_at_least(high, mean) > probability:
        low, high = high, 2 * high + 1
    while high - low > 1:
        middle = (low + high) // 2
        if poisson_at_least(middle, mean) > probability:
            low = middle
        else:
            high = middle
    return high


def chi2_at_least(chi2: float, degrees: int) -> float:
    """Probability of χ² or more at `degrees` of freedom (≥ 1)."""
    return float(special_functions().chdtrc(degrees, chi2))


def normal_deviate(probability: float) -> float:
    """What a normal variable exceeds with that `probability`, in standard deviations above its mean.

    `probability` above 0 and below 1.
    """
    return -NormalDist().inv_cdf(probability)


def ks_at_least(distance: float, n: float, m: float = math.inf) -> float:
    """Probability that cumulative distributions of `n` and `m` draws from the same are `distance` or more apart.

    With n_e = n m / (n + m): of √n_e · distance, with the correction of M. Stephens, J. R. Stat. Soc. B 32 (1970) 115:
    (√n_e + 0.12 + 0.11/√n_e) · distance. For binned values it is less than that: ties bring distributions together.
    """
    effective = math.sqrt(n if math.isinf(m) else n * m / (n + m))
    return float(special_functions().kolmogorov((effective + 0.12 + 0.11 / effective) * distance))


def binned_quantiles(counts: npt.NDArray[np.integer], width: float, fractions: npt.ArrayLike) -> Floats:
    """Values below which `fractions` (k,) of the counts lie, for histograms (…, bins) of `width` from 0: shape (…, k).

    The counts of a bin lie evenly in it. `fractions` may also have the shape (…, k), one row a histogram. nan where a
    histogram is empty.
    """
    below = np.cumsum(counts, axis=-1, dtype=np.float64)
    totals = below[..., -1:]
    wanted = np.clip(np.asarray(fractions, np.float64), 0.0, 1.0) * totals
    # The first bin that reaches what is wanted; an empty bin never does before a full one.
    bins = (below[..., None, :] < wanted[..., :, None]).sum(axis=-1)
    bins = np.minimum(bins, counts.shape[-1] - 1)
    inside = np.take_along_axis(np.asarray(counts, np.float64), bins, axis=-1)
    before = np.take_along_axis(below, bins, axis=-1) - inside
    with np.errstate(invalid="ignore", divide="ignore"):
        part = np.where(inside > 0, (wanted - before) / inside, 0.0)
    quantiles: Floats = np.where(totals > 0, (bins + part) * width, np.nan)
    return quantiles


def median_between(counts: npt.NDArray[np.integer], width: float, z: float) -> tuple[Floats, Floats, Floats]:
    """Medians of histograms (…, bins), and what lies `z` standard deviations below and above them: each (…,).

    By order statistics, whatever the distribution: of n values, the number below the true median is binomial, with a
    standard deviation of √n / 2 (H. A. David, Order Statistics, section 7.1).
    """
    n = counts.sum(axis=-1, dtype=np.float64)
    half = z / (2 * np.sqrt(np.maximum(n, 1.0)))
    middle = np.full_like(half, 0.5)
    found = binned_quantiles(counts, width, np.stack([middle, middle - half, middle + half], axis=-1))
    return found[..., 0], found[..., 1], found[..., 2]


def same_shape_chi2(
    counts: npt.NDArray[np.integer], others: npt.NDArray[np.integer]
) -> tuple[Floats, npt.NDArray[np.int64]]:
    """χ² of the hypothesis that two histograms (…, bins) have the same shape, and its degrees of freedom: (…,) each.

    Σ (√(M/N) nᵢ - √(N/M) mᵢ)² / (nᵢ + mᵢ) over the bins that are not empty in both, N and M the sums; one degree less
    than bins (F. Porter, arXiv:0804.0380). Good where each bin has about ten counts or more; (0, 0) where there is
    nothing to compare.
    """
    n, m = counts.astype(np.float64), others.astype(np.float64)
    total_n, total_m = n.sum(axis=-1, keepdims=True), m.sum(axis=-1, keepdims=True)
    filled = n + m > 0
    degrees = filled.sum(axis=-1) - 1
    something = (degrees > 0) & (total_n > 0)[..., 0] & (total_m > 0)[..., 0]
    ratio = np.sqrt(np.maximum(total_m, 1) / np.maximum(total_n, 1))
    terms = (ratio * n - m / ratio) ** 2 / np.where(filled, n + m, 1.0)
    return np.where(something, terms.sum(axis=-1), 0.0), np.where(something, degrees, 0)


def ks_distance(counts: npt.NDArray[np.integer], others: npt.NDArray[np.integer]) -> Floats:
    """Largest distance between the cumulative distributions of histograms (…, bins): shape (…,); nan for empty ones."""
    with np.errstate(invalid="ignore"):
        first, second = (
            np.cumsum(each, axis=-1, dtype=np.float64) / each.sum(axis=-1, keepdims=True) for each in (counts, others)
        )
    distance: Floats = np.abs(first - second).max(axis=-1)
    return distance
