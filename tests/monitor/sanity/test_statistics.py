"""Distributions against tabulated values and exact sums; quantiles against sorted values."""

import math

import numpy as np
import pytest

from monitor.sanity.checks.statistics import (
    binned_quantiles,
    chi2_at_least,
    ks_at_least,
    ks_distance,
    median_between,
    normal_deviate,
    poisson_at_least,
    poisson_at_most,
    poisson_limit,
    same_shape_chi2,
    share_of_looks,
)


@pytest.mark.parametrize(
    ("degrees", "chi2", "tail"),
    # NIST/SEMATECH e-Handbook of Statistical Methods, table 1.3.6.7.4
    [
        (1, 3.841, 0.05), (1, 10.828, 0.001), (2, 9.210, 0.01), (5, 11.070, 0.05), (10, 18.307, 0.05),
        (10, 29.588, 0.001), (30, 43.773, 0.05), (30, 59.703, 0.001), (100, 124.342, 0.05), (100, 149.449, 0.001),
        (100, 67.328, 0.995),
    ],
)  # fmt: skip
def test_chi2_is_that_of_the_tables(degrees: int, chi2: float, tail: float) -> None:
    assert chi2_at_least(chi2, degrees) == pytest.approx(tail, rel=2e-3)


def poisson_sum(first: int, last: int, mean: float) -> float:
    return math.fsum(math.exp(k * math.log(mean) - mean - math.lgamma(k + 1)) for k in range(first, last + 1))


@pytest.mark.parametrize(
    ("count", "mean", "tail"),
    # Abramowitz and Stegun, table 26.7: 1 - Q(χ²|ν), m = χ²/2, c = ν/2
    [(1, 0.1, 0.0951626), (2, 1.0, 0.2642411), (5, 2.0, 0.0526530), (10, 5.0, 0.0318281), (20, 10.0, 0.0034543420)],
)
def test_poisson_is_that_of_the_tables(count: int, mean: float, tail: float) -> None:
    assert poisson_at_least(count, mean) == pytest.approx(tail, rel=1e-5)
    assert poisson_at_most(count - 1, mean) == pytest.approx(1 - tail, rel=1e-5)


@pytest.mark.parametrize("mean", [1e-9, 1e-3, 0.3, 1.0, 7.5, 100.0, 3000.0])
@pytest.mark.parametrize("z", [-6.0, -2.0, 0.0, 0.5, 3.0, 12.0])
def test_poisson_is_the_sum_of_its_terms_far_out(mean: float, z: float) -> None:
    count = max(int(mean + z * math.sqrt(mean)), 1)
    above = poisson_sum(count, count + 2000, mean)
    below = poisson_sum(0, count, mean)
    assert poisson_at_least(count, mean) == pytest.approx(above, rel=1e-9)
    assert poisson_at_most(count, mean) == pytest.approx(below, rel=1e-9)


@pytest.mark.parametrize("mean", [3e4, 1e6])
@pytest.mark.parametrize("z", [-8.0, -1.0, -0.05, 0.0, 0.05, 1.0, 8.0, 20.0])
def test_the_expansion_for_large_counts_is_the_sum_too(mean: float, z: float) -> None:
    count = round(mean + z * math.sqrt(mean))
    reach = int(30 * math.sqrt(mean))
    smaller, of = (poisson_at_least, (count, count + reach)) if z >= 0 else (poisson_at_most, (count - reach, count))
    assert smaller(count, mean) == pytest.approx(poisson_sum(max(of[0], 0), of[1], mean), rel=1e-6)


@pytest.mark.parametrize("mean", [1e-6, 0.01, 1.0, 30.0, 2500.0, 1e6])
@pytest.mark.parametrize("probability", [0.3, 1e-3, 1e-11, 1e-30])
def test_the_limit_is_the_least_count_as_unlikely(mean: float, probability: float) -> None:
    limit = poisson_limit(mean, probability)
    assert poisson_at_least(limit, mean) <= probability < poisson_at_least(limit - 1, mean)


def test_what_is_certain_needs_no_count() -> None:
    assert poisson_limit(5.0, 1.0) == 0
    assert poisson_limit(0.0, 0.1) == 1
    assert poisson_at_least(0, 3.0) == 1.0
    assert poisson_at_most(-1, 3.0) == 0.0


def test_normal_is_that_of_the_tables() -> None:
    for z, tail in [(0.0, 0.5), (1.0, 0.158655), (1.959964, 0.025), (3.090232, 1e-3), (5.0, 2.866516e-7)]:
        assert normal_deviate(tail) == pytest.approx(z, abs=1e-5)


def test_kolmogorov_smirnov_is_that_of_the_tables() -> None:
    # exact critical distances of one sample: L. H. Miller, J. Am. Stat. Assoc. 51 (1956) 111
    for n, distance, tail in [(10, 0.40925, 0.05), (20, 0.35241, 0.01), (40, 0.21012, 0.05), (100, 0.16081, 0.01)]:
        assert ks_at_least(distance, n) == pytest.approx(tail, rel=0.03)
    assert ks_at_least(0.1, 200, 200) == pytest.approx(ks_at_least(0.1, 100), rel=1e-12)


def test_the_correction_spends_the_probability_of_an_hour_and_no_more() -> None:
    looks = [share_of_looks(1e-3, 10.0, 6656) * 6656 for _ in range(360)]
    assert sum(looks) == pytest.approx(1e-3)
    assert share_of_looks(1e-3, -1.0, 5) == 0.0
    assert share_of_looks(10.0, 1e6, 1) == 1.0


def test_quantiles_are_those_of_the_values() -> None:
    random = np.random.default_rng(1)
    values = random.gamma(3.0, 20.0, (4, 100_001))
    counts = np.stack([np.histogram(row, 400, (0, 400))[0] for row in values])
    found = binned_quantiles(counts, 1.0, [0.1, 0.5, 0.99])
    assert found.shape == (4, 3)
    assert np.abs(found - np.quantile(values, [0.1, 0.5, 0.99], axis=1).T).max() < 0.5


def test_quantiles_at_the_edges() -> None:
    counts = np.array([[0, 0, 10, 0], [0, 0, 0, 0], [1, 0, 0, 1]])
    found = binned_quantiles(counts, 2.0, [0.01, 0.5, 1.0])
    assert found[0] == pytest.approx([4.02, 5.0, 6.0])
    assert np.isnan(found[1]).all()
    assert found[2] == pytest.approx([0.04, 2.0, 8.0])


def test_the_true_median_lies_between_as_often_as_it_should() -> None:
    random = np.random.default_rng(2)
    draws = random.exponential(50.0, (4000, 400))
    counts = np.stack([np.histogram(row, 500, (0, 1000))[0] for row in draws])
    median, low, high = median_between(counts, 2.0, 2.0)
    assert (low < median).all()
    assert (median < high).all()
    outside = np.count_nonzero((low > 50 * math.log(2)) | (high < 50 * math.log(2)))
    assert 120 < outside < 250  # 4.6 % of 4000 are 182 ± 13


def test_histograms_of_the_same_shape_have_the_chi2_that_they_should() -> None:
    random = np.random.default_rng(3)
    shape = 0.1 + random.random(60)
    shape /= shape.sum()
    chi2, degrees = same_shape_chi2(random.poisson(3000 * shape, (400, 60)), random.poisson(9000 * shape, (400, 60)))
    tails = np.sort([chi2_at_least(*each) for each in zip(chi2.tolist(), degrees.tolist(), strict=True)])
    assert set(degrees.tolist()) == {59}
    assert np.abs(tails - np.arange(1, 401) / 401).max() < 0.08  # they are spread evenly
    other, degree = same_shape_chi2(random.poisson(3000 * shape), random.poisson(3000 * shape[::-1]))
    assert chi2_at_least(float(other), int(degree)) < 1e-12
    chi2, degrees = same_shape_chi2(np.zeros(5, np.int64), np.ones(5, np.int64))
    assert (float(chi2), int(degrees)) == (0.0, 0)


def test_the_distance_of_distributions() -> None:
    counts = np.array([[10, 0, 0], [5, 5, 0], [0, 0, 0]])
    others = np.array([[0, 0, 7], [5, 5, 0], [1, 1, 1]])
    found = ks_distance(counts, others)
    assert found[:2].tolist() == [1.0, 0.0]
    assert np.isnan(found[2])
