"""Rows and columns put together: as trying all of them would, in order, and never one twice."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from daqd.configuration.config import EmulatorSection
from daqd.emulator.seeded_frames import SeededFrames
from monitor.detector import Geometry
from monitor.state.sorted_hits import MAX_TICKS_APART, MAX_TOT_APART_US, WINDOW, pair_rows_with_columns
from tests.monitor.publishing import make_apart

ROW, COLUMN = 0, 1


def pairs(rows: list[tuple[int, ...]], **columns: object) -> list[tuple[int, int]]:
    hits = make_apart(rows, **columns)
    found = pair_rows_with_columns(hits, hits["chip_id"].astype(np.intp))
    return sorted(zip(*(indices.tolist() for indices in found), strict=True))


def test_a_row_and_its_column() -> None:
    assert pairs([(0, 0, ROW, 3, 10, 1010), (0, 1, COLUMN, 7, 10, 1000)]) == [(0, 1)]
    assert pairs([(0, 0, ROW, 3, 10, 1010), (0, 1, COLUMN, 7, 9, 1000)]) == [(0, 1)]
    assert pairs([(0, 0, ROW, 3, 0, 1010), (0, 1, COLUMN, 7, 255, 1000)]) == [(0, 1)]


@pytest.mark.parametrize(
    "column",
    [
        (0, 1, COLUMN, 7, 12, 1000),  # two ticks later
        (0, 1, COLUMN, 7, 10, 950),  # 0.3 µs shorter
        (0, 1, ROW, 7, 10, 1000),
        (1, 0, COLUMN, 7, 10, 1000),  # another readout
    ],
)
def test_what_does_not_belong_together(column: tuple[int, ...]) -> None:
    assert pairs([(0, 0, ROW, 3, 10, 1010), column]) == []


def test_a_column_before_its_row_is_not_its_own() -> None:
    assert pairs([(0, 0, COLUMN, 7, 10, 1000), (0, 1, ROW, 3, 10, 1010)]) == []


def test_two_particles_at_once_are_told_apart_by_their_time_over_threshold() -> None:
    rows = [
        (0, 0, ROW, 3, 10, 1010),
        (0, 1, ROW, 5, 10, 2010),
        (0, 2, COLUMN, 7, 10, 1000),
        (0, 3, COLUMN, 9, 10, 2000),
    ]
    assert pairs(rows) == [(0, 2), (1, 3)]
    assert pairs(rows, chip_id=[0, 1, 0, 1]) == [(0, 2), (1, 3)]
    assert pairs(rows, chip_id=[0, 1, 2, 3]) == []


def test_no_hits() -> None:
    assert pairs([]) == pairs([(0, 0, ROW, 3, 10, 1010)]) == []


hits_of_a_few = st.tuples(
    st.integers(0, 1), st.integers(0, 1), st.integers(0, 34), st.sampled_from([0, 1, 2, 255]), st.integers(995, 1060)
)


@given(st.lists(st.tuples(hits_of_a_few, st.integers(0, 2)), max_size=120))
def test_as_trying_all_of_them(content: list[tuple[tuple[int, ...], int]]) -> None:
    content = sorted(content, key=lambda each: each[0][0])
    rows = [(readout, 0, *rest) for (readout, *rest), _ in content]
    chips = [chip for _, chip in content]
    free, expected = set(range(len(rows))), []
    by_chip = [[index for index in range(len(rows)) if chips[index] == chip] for chip in range(3)]
    for lag in range(1, WINDOW + 1):
        for indices in by_chip:
            for first, second in zip(indices, indices[lag:], strict=False):
                (row, _, is_column, _, tick, tot), (other, _, other_is, _, other_tick, other_tot) = (
                    rows[first], rows[second],
                )  # fmt: skip
                together = row == other and not is_column and other_is and {first, second} <= free
                near = (tick - other_tick) % 256 in (0, MAX_TICKS_APART, 256 - MAX_TICKS_APART)
                if together and near and abs(tot / 200 - other_tot / 200) <= MAX_TOT_APART_US:
                    free -= {first, second}
                    expected.append((first, second))
    assert pairs(rows, chip_id=chips) == sorted(expected)


def test_nearly_all_particles_of_a_busy_detector_are_found() -> None:
    """Hundreds of hits in each readout, in twelve chips: the pixels that were hit come out."""
    frames = SeededFrames(EmulatorSection.model_validate({"rate_hz": 20_000.0}), 4, 3, 3)
    hits = frames.expected_hits(20_000)
    hits["readout_id"] = np.arange(len(hits)) // 400
    row_hits, column_hits = pair_rows_with_columns(hits, Geometry().slots(hits))
    right = (row_hits % 2 == 0) & (column_hits == row_hits + 1)
    assert len(row_hits) > 0.99 * len(hits) / 2
    assert np.count_nonzero(right) > 0.99 * len(row_hits)
