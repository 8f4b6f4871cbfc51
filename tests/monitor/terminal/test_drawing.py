"""What the widgets draw with: figures, colours, bars."""

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from monitor.terminal.graphs import columns_of, heights, rebinned, shown_bins, since_known
from monitor.terminal.hit_map import LEVELS, colour_levels, level_colour, scale_top
from monitor.terminal.numbers import clock, grouped, nice_ceiling, percent, scaled


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (0, "0"),
        (7, "7"),
        (0.25, "0.25"),
        (9.994, "9.99"),
        (9.996, "10.0"),
        (999.4, "999"),
        (999.6, "1.00 k"),
        (1234567, "1.23 M"),
        (-1500, "-1.50 k"),
        (1e30, "1000000000000000 P"),
        (float("nan"), "?"),
    ],
)
def test_scaled(value: float, text: str) -> None:
    assert scaled(value) == text


@given(st.floats(0, 1e17))
def test_scaled_is_short_and_right(value: float) -> None:
    number, _, prefix = scaled(value, "B").partition(" ")
    assert len(number) <= 5
    factor = 1000 ** ["B", "kB", "MB", "GB", "TB", "PB"].index(prefix)
    assert float(number) * factor == pytest.approx(value, rel=0.006, abs=0.006)


def test_counts_shares_and_durations() -> None:
    assert grouped(1234567) == "1 234 567"
    assert [percent(1, 10**6), percent(0, 5), percent(5, 0), percent(1, 3)] == ["<0.1 %", "0 %", "0 %", "33.3 %"]
    assert [clock(7), clock(45296), clock(3 * 86400 + 3661)] == ["0:00:07", "12:34:56", "3d 01:01:01"]
    assert [clock(value) for value in (math.inf, -math.inf, math.nan)] == ["?"] * 3


@given(st.floats(1e-3, 1e9))
def test_a_nice_ceiling_is_near_and_never_below(value: float) -> None:
    nice = nice_ceiling(value)
    assert nice >= value
    assert nice <= max(2.5 * value, 1) * 1.001


def test_colours_rise_in_brightness_and_nothing_is_not_a_little() -> None:
    brightness = [
        0.2126 * triplet.red + 0.7152 * triplet.green + 0.0722 * triplet.blue
        for level in range(1, LEVELS + 1)
        if (triplet := level_colour(level).get_truecolor())
    ]
    assert brightness == sorted(brightness)
    assert level_colour(0) != level_colour(1)


@pytest.mark.parametrize("logarithmic", [False, True])
def test_levels_go_from_nothing_to_the_largest(logarithmic: bool) -> None:
    counts = np.array([[0, 1], [50, 100_000]])
    levels = colour_levels(counts, logarithmic=logarithmic)
    assert levels[0, 0] == 0
    assert levels[1, 1] == LEVELS
    assert 1 <= levels[0, 1] <= levels[1, 0] < LEVELS
    assert not colour_levels(np.zeros((2, 2), np.int64), logarithmic=logarithmic).any()


@given(st.lists(st.integers(0, 1000), min_size=1, max_size=200), st.integers(1, 120))
def test_rebinning_keeps_the_content_whatever_the_width(counts: list[int], columns: int) -> None:
    values = rebinned(np.array(counts), columns)
    assert len(values) == columns
    assert values.sum() * len(counts) / columns == pytest.approx(sum(counts))


def test_the_range_shown_holds_nearly_all() -> None:
    counts = np.zeros(1320, np.int64)
    counts[45] = 10_000
    counts[1300] = 3
    assert shown_bins(counts, 5.0) == 100
    counts[1300] = 100
    assert shown_bins(counts, 5.0) == 1320
    assert shown_bins(np.zeros(1320, np.int64), 5.0) == 1320


@pytest.mark.parametrize("logarithmic", [False, True])
def test_what_is_there_is_seen(logarithmic: bool) -> None:
    tall = heights(np.array([0.0, 0.001, 5.0, 1000.0]), 10, logarithmic=logarithmic)
    assert tall[0] == 0
    assert tall[1] == 1
    assert tall[3] == 80
    assert not heights(np.zeros(3), 10, logarithmic=logarithmic).any()


NAN = float("nan")


@pytest.mark.parametrize(
    ("values", "columns", "drawn"),
    [
        ([], 2, [NAN, NAN]),
        ([3.0], 3, [3, 3, 3]),
        ([1.0, NAN], 4, [1, 1, NAN, NAN]),
        ([1.0, 3.0, NAN, 5.0, NAN, NAN], 3, [2, 5, NAN]),
        ([1.0, 2.0, 3.0, 4.0, 5.0], 2, [1.5, 4]),
    ],
)
def test_columns_of_a_rate(values: list[float], columns: int, drawn: list[float]) -> None:
    np.testing.assert_array_equal(columns_of(np.array(values), columns), drawn)


def test_a_rate_is_drawn_from_where_it_is_known() -> None:
    assert [since_known(np.array(values)) for values in ([], [NAN], [NAN, 0.0, NAN], [1.0])] == [0, 1, 1, 0]


@pytest.mark.parametrize(
    ("logarithmic", "factor", "beyond"), [(False, 2, 0), (False, 40, 1), (True, 40, 0), (True, 1000, 1)]
)
def test_a_hot_pixel_leaves_the_others_their_colours(logarithmic: bool, factor: int, beyond: int) -> None:
    counts = np.random.default_rng(1).poisson(100, (13, 16))
    usual = int(counts.max())
    counts[5, 7] = usual * factor
    levels = colour_levels(counts, logarithmic=logarithmic)
    assert (levels > LEVELS).sum() == beyond
    assert levels[5, 7] == levels.max()
    assert scale_top(counts, logarithmic=logarithmic) == (usual if beyond else usual * factor)
    assert level_colour(LEVELS + 1) not in [level_colour(n) for n in range(LEVELS + 1)]
    if beyond:
        assert levels[counts == usual].tolist() == [LEVELS] * int((counts == usual).sum())


@given(st.integers(0, 2**32 - 1), st.floats(0.02, 500.0))
def test_a_healthy_map_has_nothing_beyond_its_scale(seed: int, mean: float) -> None:
    counts = (
        np.random.default_rng(seed).poisson(mean, (31, 13, 16))
        if mean > 1
        else np.random.default_rng(seed).poisson(mean, (13, 16))
    )
    assert scale_top(counts, logarithmic=False) == counts.max()
