"""Tails of the few distributions that the checks need, medians out of histograms, and the look-elsewhere correction.

Plain numbers in and out, but for what says arrays. Formulas: NIST Digital Library of Mathematical Functions (DLMF),
chapters 7 and 8, and what each docstring names.
"""

import math
from statistics import NormalDist

import numpy as np
import numpy.typing as npt

Floats = npt.NDArray[np.float64]

S_PER_H = 3600.0

_LARGE = 20_000.0
"""From here on the expansion for large parameters is as good as the sum, and does not take a thousand steps."""

_TINY = 1e-300
_PRECISION = 1e-15


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


def gamma_tails(a: float, x: float) -> tuple[float, float]:
    """Regularised incomplete gamma functions (P(a, x), Q(a, x)), P + Q = 1; for a > 0, x ≥ 0.

    The smaller of the two is good to nine digits (six for a beyond 20 000), however small. Series DLMF 8.7.1 and
    continued fraction DLMF 8.9.2; for larger a the uniform expansion DLMF 8.12.3, with the first two of its terms.
    """
    if x <= 0:
        return 0.0, 1.0
    if a >= _LARGE:
        return _gamma_tails_large(a, x)
    log_front = a * math.log(x) - x - math.lgamma(a)
    front = math.exp(log_front) if log_front > -745 else 0.0
    if x < a + 1:
        lower = min(front * _series(a, x), 1.0)
        return lower, 1.0 - lower
    upper = min(front * _continued_fraction(a, x), 1.0)
    return 1.0 - upper, upper


def _series(a: float, x: float) -> float:
    term = total = 1.0 / a
    n = a
    while term > total * _PRECISION:
        n += 1
        term *= x / n
        total += term
    return total


def _continued_fraction(a: float, x: float) -> float:
    """By the method of Lentz, as modified by Thompson and Barnett, J. Comput. Phys. 64 (1986) 490."""
    b = x + 1 - a
    c, d = 1 / _TINY, 1 / b
    result = d
    change, n = 0.0, 0
    while abs(change - 1) > _PRECISION * 10:
        n += 1
        factor = -n * (n - a)
        b += 2
        d = 1 / (factor * d + b or _TINY)
        c = b + factor / c or _TINY
        change = c * d
        result *= change
    return result


def _gamma_tails_large(a: float, x: float) -> tuple[float, float]:
    excess = (x - a) / a
    half_eta2 = excess - math.log1p(excess)
    eta = math.copysign(math.sqrt(2 * half_eta2), excess)
    if abs(eta) < 1e-3:  # differences of large numbers: their power series, DLMF 8.12.11 and 8.12.12
        first, second = -1 / 3 + eta / 12 - 2 * eta**2 / 135, -1 / 540 - eta / 288
    else:
        first = 1 / excess - 1 / eta
        second = 1 / eta**3 - 1 / excess**3 - 1 / excess**2 - 1 / (12 * excess)
    rest = math.exp(-a * half_eta2) / math.sqrt(2 * math.pi * a) * (first + second / a)
    normal = eta * math.sqrt(a / 2)
    lower, upper = 0.5 * math.erfc(-normal) - rest, 0.5 * math.erfc(normal) + rest
    return min(max(lower, 0.0), 1.0), min(max(upper, 0.0), 1.0)


def poisson_at_least(count: int, mean: float) -> float:
    """Probability of `count` or more where `mean` (≥ 0) are expected: P(count, mean) (DLMF 8.4.10)."""
    return 1.0 if count <= 0 else gamma_tails(count, mean)[0]


def poisson_at_most(count: int, mean: float) -> float:
    """Probability of `count` or fewer where `mean` (≥ 0) are expected: Q(count + 1, mean) (DLMF 8.4.10)."""
    return 0.0 if count < 0 else gamma_tails(count + 1, mean)[1]


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
    """Probability of χ² or more at `degrees` of freedom (≥ 1): Q(degrees / 2, χ² / 2) (DLMF 8.2.4)."""
    return gamma_tails(degrees / 2, chi2 / 2)[1]


def normal_deviate(probability: float) -> float:
    """What a normal variable exceeds with that `probability`, in standard deviations above its mean.

    `probability` above 0 and below 1.
    """
    return -NormalDist().inv_cdf(probability)


def kolmogorov_at_least(scaled: float) -> float:
    """Probability that √n · D is `scaled` or more for large n: 2 Σ (-1)^(k-1) exp(-2 k² scaled²) (A. Kolmogorov, 1933).

    Below 1, where that sum is slow, by its other form, 1 - √(2π)/scaled · Σ exp(-(2k-1)² π² / (8 scaled²)) (theta
    functions, DLMF 20.7.32).
    """
    if scaled < 0.05:
        return 1.0
    if scaled < 1:
        terms = (math.exp(-(((2 * k - 1) * math.pi / scaled) ** 2) / 8) for k in range(1, 6))
        return 1.0 - math.sqrt(2 * math.pi) / scaled * sum(terms)
    return 2 * sum(math.copysign(math.exp(-2 * (k * scaled) ** 2), k % 2 - 0.5) for k in range(1, 8))


def ks_at_least(distance: float, n: float, m: float = math.inf) -> float:
    """Probability that cumulative distributions of `n` and `m` draws from the same are `distance` or more apart.

    With n_e = n m / (n + m): of √n_e · distance, with the correction of M. Stephens, J. R. Stat. Soc. B 32 (1970) 115:
    (√n_e + 0.12 + 0.11/√n_e) · distance. For binned values it is less than that: ties bring distributions together.
    """
    effective = math.sqrt(n if math.isinf(m) else n * m / (n + m))
    return kolmogorov_at_least((effective + 0.12 + 0.11 / effective) * distance)


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
