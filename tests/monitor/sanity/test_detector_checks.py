"""Each check finds what the emulated board is made to do wrong, and says nothing of an hour in which all is well."""

from typing import Any

import pytest

from daqd.emulator.emulated_chips import emulated_chips
from monitor.sanity.check import Check
from monitor.sanity.checks.daemon_checks import clock_drift
from monitor.sanity.checks.dead_pixels import dead_chip, dead_column, dead_pixel
from monitor.sanity.checks.noisy_pixels import noisy_pixel
from monitor.sanity.checks.rate_checks import rate_drop, rate_jump
from monitor.sanity.checks.tot_checks import tot_saturation, tot_shift
from protocol.chips.chip_config import ChipConfig
from protocol.chips.chip_setup import ChipSetup, Injection
from protocol.stream_bytes import IDLE_BYTE
from protocol.wire.alarms import AlarmLevel
from tests.monitor.publishing import run_record
from tests.monitor.sanity.emulated_run import T0_NS, changes_at, emulated, found, run_checks

pytestmark = pytest.mark.slow

HOUR_S = 3600.0


def named(name: str, **keys: Any) -> Any:
    return pytest.param(keys, id=name)


@pytest.mark.parametrize(
    "board",
    [
        named("one chip, slow", chips=1, rate_hz=2),
        named("one chip", chips=1, rate_hz=100),
        named("four chips", chips=4, rate_hz=50),
        named("31 chips", chips=31, rate_hz=200),
        named("version 3", chips=1, version=3, rate_hz=60),
        named("A-STEP", chips=2, layers=3, rate_hz=60),
    ],
)
def test_an_hour_in_which_all_is_well_raises_nothing(board: dict[str, Any]) -> None:
    shape = {name: value for name, value in board.items() if name in ("chips", "version", "layers")}
    assert run_checks(emulated(seed=5, **board), HOUR_S, **shape) == []


@pytest.mark.soak
@pytest.mark.parametrize("seed", range(4))
@pytest.mark.parametrize(
    "board",
    [
        named("one chip, very slow", chips=1, rate_hz=0.1),
        named("one chip", chips=1, rate_hz=1000),
        named("four chips", chips=4, rate_hz=2000),
        named("31 chips", chips=31, rate_hz=3000),
        named("version 3", chips=4, version=3, rate_hz=1000),
        named("A-STEP", chips=10, layers=3, rate_hz=500),
        named("A-STEP version 3", chips=4, version=3, layers=3, rate_hz=500),
    ],
)
def test_more_hours_in_which_all_is_well_raise_nothing(board: dict[str, Any], seed: int) -> None:
    shape = {name: value for name, value in board.items() if name in ("chips", "version", "layers")}
    assert run_checks(emulated(seed=seed, **board), HOUR_S, **shape) == []


def only(check: Check, *args: Any, **kwargs: Any) -> set[str]:
    """The subjects of this check, which alone found something."""
    results = found(run_checks(*args, **kwargs))
    assert {name for name, _ in results} <= {check.name}
    return {subject for _, subject in results}


@pytest.mark.finds("noisy_pixel")
@pytest.mark.parametrize("rate_hz", [5, 500])
def test_a_hot_pixel(rate_hz: float) -> None:
    board = emulated(4, rate_hz=rate_hz, hot_pixels=[[2, 3, 7, 50]])
    assert only(noisy_pixel, board, 300, chips=4) == {"chip 2 pixel 3/7"}


def test_a_hot_pixel_of_other_boards() -> None:
    board = emulated(1, version=3, rate_hz=200, hot_pixels=[[0, 30, 34, 40]])
    assert only(noisy_pixel, board, 120, version=3) == {"chip 0 pixel 30/34"}
    board = emulated(2, layers=3, rate_hz=200, hot_pixels=[[2, 1, 12, 15, 40]])
    assert only(noisy_pixel, board, 120, chips=2, layers=3) == {"layer 2 chip 1 pixel 12/15"}


def test_a_pixel_that_turns_hot_and_a_chip_full_of_them() -> None:
    quiet, hot = (emulated(2, rate_hz=100, hot_pixels=pixels) for pixels in ([], [[1, 0, 0, 30]]))
    assert only(noisy_pixel, changes_at(600, quiet, hot), 900, chips=2) == {"chip 1 pixel 0/0"}
    many = [[1, row, 2 * column, 60] for row in (1, 5, 9) for column in range(7)]
    results = run_checks(emulated(4, rate_hz=2000, hot_pixels=many), 60, chips=4)
    assert {each.level for _, each in results if each.subject == "chip 1"} == {AlarmLevel.CRITICAL}


def test_a_pixel_that_was_hot_is_not_named_for_the_rest_of_the_run() -> None:
    hot, quiet = (emulated(1, rate_hz=100, hot_pixels=pixels) for pixels in ([[0, 6, 6, 100]], []))
    results = run_checks(changes_at(60, hot, quiet), 300, checks=(noisy_pixel,))
    assert found(results) == {("noisy_pixel", "chip 0 pixel 6/6")}
    assert len(results) <= 6


def test_a_pixel_only_a_little_above_the_others_is_none() -> None:
    assert only(noisy_pixel, emulated(1, rate_hz=2000, hot_pixels=[[0, 3, 7, 2.5]]), 300) == set()


def test_a_beam_spot_is_no_noise() -> None:
    spot = [[0, row, column, 40] for row in range(4, 8) for column in range(5, 10)]
    assert only(noisy_pixel, emulated(1, rate_hz=500, hot_pixels=spot), 300) == set()


@pytest.mark.finds("dead_pixel")
def test_a_dead_pixel() -> None:
    board = emulated(2, rate_hz=500, dead_pixels=[[1, 4, 4], [0, 0, 15]])
    assert only(dead_pixel, board, 400, chips=2) == {"chip 1 pixel 4/4", "chip 0 pixel 0/15"}


def test_a_pixel_that_dies() -> None:
    alive, dead = (emulated(1, rate_hz=500, dead_pixels=pixels) for pixels in ([], [[0, 5, 6]]))
    assert only(dead_pixel, changes_at(300, alive, dead), 600) == {"chip 0 pixel 5/6"}


@pytest.mark.finds("dead_column")
@pytest.mark.parametrize("version", [3, 4])
def test_a_dead_column(version: int) -> None:
    kind = emulated_chips(version).kind
    dead = [[0, row, 9] for row in range(kind.rows)]
    board = emulated(1, version=version, rate_hz=200, dead_pixels=dead)
    assert only(dead_column, board, 120, version=version) == {"chip 0 column 9"}


def chip(number: int) -> list[list[int]]:
    return [[number, row, column] for row in range(13) for column in range(16)]


@pytest.mark.finds("dead_chip")
def test_a_dead_chip_and_one_that_dies() -> None:
    dead = emulated(4, rate_hz=200, dead_pixels=chip(2))
    assert only(dead_chip, dead, 120, chips=4) == {"chip 2"}
    alive, dead = (emulated(4, rate_hz=200, dead_pixels=pixels) for pixels in ([], chip(3)))
    assert only(dead_chip, changes_at(120, alive, dead), 240, chips=4) == {"chip 3"}


def test_pixels_that_are_switched_off_are_not_dead_and_the_injected_one_is_not_noisy() -> None:
    off = [[0, row, 3] for row in range(13)] + [[0, 7, 12]]
    board = emulated(1, rate_hz=500, dead_pixels=off, hot_pixels=[[0, 2, 2, 100]])
    assert {name for name, _ in found(run_checks(board, 300))} == {"noisy_pixel", "dead_column", "dead_pixel"}
    config = ChipConfig.usual(emulated_chips(4).kind).with_all_pixels(True)
    for _, row, column in off:
        config = config.with_pixel(row, column, False)
    setup = ChipSetup((config.with_injection(2, 2),), injection=Injection(0, 2, 2, 300.0))
    record = run_record(3, begin_ns=T0_NS, chips=1, chip_configuration=setup.describe())
    board = emulated(1, rate_hz=500, dead_pixels=off, hot_pixels=[[0, 2, 2, 100]])
    assert run_checks(board, 300, record=record) == []


@pytest.mark.parametrize("counted_through", [False, True])
def test_the_injected_pixel_of_a_layer_is_not_noisy(counted_through: bool) -> None:
    """Records name layer and chip; older ones counted the chips through all layers."""
    off = ChipConfig.usual(emulated_chips(4).kind).with_all_pixels(True)
    setup = ChipSetup((*[off] * 3, off.with_injection(2, 2), *[off] * 2), injection=Injection(3, 2, 2, 300.0), layers=3)
    told = setup.describe()
    assert (told["injection"]["layer"], told["injection"]["chip"]) == (2, 1)
    if counted_through:
        del told["injection"]["layer"]
        told["injection"]["chip"] = 3
    record = run_record(3, begin_ns=T0_NS, chips=2, layers=3, chip_configuration=told)
    injected, other = (emulated(2, layers=3, rate_hz=600, hot_pixels=[[layer, 1, 2, 2, 100]]) for layer in (2, 3))
    assert run_checks(injected, 120, chips=2, layers=3, record=record, checks=[noisy_pixel]) == []
    results = run_checks(other, 120, chips=2, layers=3, record=record, checks=[noisy_pixel])
    assert found(results) == {("noisy_pixel", "layer 3 chip 1 pixel 2/2")}


@pytest.mark.finds("rate_drop")
def test_a_rate_that_drops_and_one_that_ends() -> None:
    much, little = (emulated(1, rate_hz=rate, seed=3) for rate in (100, 20))
    assert only(rate_drop, changes_at(400, much, little), 600) == {""}
    idles = bytes((IDLE_BYTE,)) * 4
    results = run_checks(changes_at(400, emulated(1, rate_hz=100), lambda _: idles), 600)
    assert {name for name, _ in results} == {"rate_drop"}
    assert results[-1][1].level is AlarmLevel.CRITICAL


@pytest.mark.finds("rate_jump")
def test_a_rate_that_jumps() -> None:
    little, much = (emulated(1, rate_hz=rate) for rate in (100, 500))
    assert only(rate_jump, changes_at(400, little, much), 600) == {""}


def test_a_rate_that_changes_less_is_well() -> None:
    little, much = (emulated(1, rate_hz=rate) for rate in (100, 160))
    assert run_checks(changes_at(400, little, much), 600, checks=(rate_jump,)) == []
    little, much = (emulated(1, rate_hz=rate) for rate in (100, 160))
    assert run_checks(changes_at(400, much, little), 600, checks=(rate_drop,)) == []


@pytest.mark.finds("tot_saturation")
def test_saturated_times_over_threshold() -> None:
    board = emulated(2, rate_hz=100, tot_mean_us=6500, tot_sigma_us=0)
    assert only(tot_saturation, board, 120, chips=2) == {"chip 0", "chip 1"}
    board = emulated(1, version=3, rate_hz=100, tot_mean_us=30, tot_sigma_us=0)
    assert only(tot_saturation, board, 120, version=3) == {"chip 0"}


@pytest.mark.finds("tot_shift")
def test_a_shift_of_the_time_over_threshold() -> None:
    usual, longer, little = (emulated(2, rate_hz=100, tot_mean_us=tot) for tot in (200, 240, 210))
    assert only(tot_shift, changes_at(300, usual, longer), 400, chips=2) == {"chip 0", "chip 1"}
    usual = emulated(2, rate_hz=100, tot_mean_us=200)
    assert run_checks(changes_at(300, usual, little), 400, chips=2, checks=(tot_shift,)) == []


@pytest.mark.parametrize(("per_second", "subjects"), [(1.005, {"drift"}), (0.995, {"drift"}), (1.0001, set())])
def test_a_board_whose_clock_is_off(per_second: float, subjects: set[str]) -> None:
    board = emulated(1, layers=1, rate_hz=50)
    assert only(clock_drift, board, 400, layers=1, clock=lambda s: s * per_second) == subjects


@pytest.mark.finds("clock_drift")
def test_a_board_whose_clock_jumps() -> None:
    board = emulated(1, layers=1, rate_hz=50)
    assert only(clock_drift, board, 400, layers=1, clock=lambda s: s + (5 if s > 200 else 0)) == {"jump"}
