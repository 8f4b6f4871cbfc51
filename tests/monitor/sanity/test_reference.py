"""References: files, and what the checks that hold a run against one find."""

from pathlib import Path
from typing import Any

import pytest

from monitor.sanity.check import CheckInput
from monitor.sanity.checks.reference import Reference
from monitor.sanity.checks.reference_checks import reference_checks
from monitor.sanity.recorded.recorded_looks import RecordedLooks
from protocol.readout import AstroPix4Readout
from protocol.readout_description import ReadoutDescription
from tests.monitor.sanity.emulated_run import Board, blocks, emulated, found, run_checks

pytestmark = pytest.mark.slow


def seen(board: Board, duration_s: float, chips: int = 1) -> CheckInput:
    decoder = AstroPix4Readout.make_decoder(ReadoutDescription(chips=chips))
    looks = RecordedLooks((), chips=chips)
    for block in blocks(board, duration_s):
        list(looks.add(block, decoder.decode(block)))
    list(looks.settle(decoder.flush()))
    assert looks.last is not None
    return looks.last


@pytest.fixture(scope="module")
def reference() -> Reference:
    """An hour of two chips, in one of which a pixel is hot."""
    last = seen(emulated(2, seed=11, rate_hz=50, hot_pixels=[[1, 2, 3, 30]]), 1200, chips=2)
    return Reference.of(last.counts, last.live_s, "an emulated run")


def compare(reference: Reference, **settings: Any) -> set[tuple[str, str]]:
    board = emulated(2, seed=12, **{"rate_hz": 80, "hot_pixels": [[1, 2, 3, 30]], **settings})
    return found(run_checks(board, 600, chips=2, checks=reference_checks(reference)))


def test_a_reference_is_the_same_out_of_its_file(reference: Reference, tmp_path: Path) -> None:
    reference.save(tmp_path / "ref.json")
    assert Reference.load(tmp_path / "ref.json") == reference
    assert reference.hits == sum(map(sum, reference.chips[0].hit_map)) + sum(map(sum, reference.chips[1].hit_map))
    assert sum(reference.chips[0].tot) == sum(map(sum, reference.chips[0].hit_map))


@pytest.mark.parametrize("text", ["", "[]", '{"version": 2}', '{"format": "apx-sanity reference"}'])
def test_what_is_no_reference_is_said_in_one_line(text: str, tmp_path: Path) -> None:
    path = tmp_path / "ref.json"
    path.write_text(text)
    with pytest.raises(ValueError, match="is not a reference") as raised:
        Reference.load(path)
    assert "\n" not in str(raised.value)


@pytest.mark.parametrize(
    "change",
    [
        {"chips": [{"layer": None, "chip": 0, "hit_map": [[1], [1, 2]], "tot": []}]},
        {"chips": [{"layer": None, "chip": 0, "hit_map": [[-1]], "tot": []}]},
        {"chips": [{"layer": None, "chip": 0, "hit_map": [[1]], "tot": [1] * 2000}]},
    ],
)
def test_a_reference_that_contradicts_itself_is_none(reference: Reference, change: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match=r"maps|negative|more than"):
        Reference.model_validate(reference.model_dump() | change)


def test_a_run_like_the_reference_is_well_whatever_its_rate(reference: Reference) -> None:
    assert compare(reference) == set()
    assert compare(reference, rate_hz=300) == set()


def test_a_reference_of_other_chips_says_nothing(reference: Reference) -> None:
    board = emulated(1, version=3, rate_hz=100)
    assert run_checks(board, 60, version=3, checks=reference_checks(reference)) == []


@pytest.mark.finds("tot_reference", "spectrum_reference")
def test_another_median_and_spectrum(reference: Reference) -> None:
    assert compare(reference, tot_mean_us=300) == {
        (check, chip) for check in ("tot_reference", "spectrum_reference") for chip in ("chip 0", "chip 1")
    }
    wider = compare(reference, tot_sigma_us=60)
    assert wider == {("spectrum_reference", "chip 0"), ("spectrum_reference", "chip 1")}


def test_a_little_of_something_else_in_the_spectrum_is_allowed(reference: Reference) -> None:
    assert compare(reference, tot_mean_us=236) == set()


@pytest.mark.finds("map_reference")
def test_another_map(reference: Reference) -> None:
    assert compare(reference, hot_pixels=[]) == {("map_reference", "chip 1")}
    corner = [[0, row, column, 8] for row in range(6) for column in range(8)]
    assert ("map_reference", "chip 0") in compare(reference, hot_pixels=[[1, 2, 3, 30], *corner])


def test_hits_of_another_chip(reference: Reference) -> None:
    weak = [[0, row, column, 0.2] for row in range(13) for column in range(16)]
    assert compare(reference, hot_pixels=[[1, 2, 3, 30], *weak]) == {("map_reference", "chips")}
