"""The time stamp of the emulated A-STEP firmware: how it ticks, and what freezes it."""

import pytest

from daqd.emulator.astep_register_file import DividedTimestamp

CLOCK_S = 1 / 80e6


def running(match: int = 80) -> DividedTimestamp:
    stamp = DividedTimestamp(match, start=0)
    stamp.counting = stamp.dividing = True
    return stamp


def test_it_ticks_once_in_match_clocks() -> None:
    stamp = running()
    stamp.advance(1.0)
    assert stamp.counter == 1_000_000
    stamp.advance(1.000_01)
    assert stamp.counter == pytest.approx(1_000_010, abs=1)


def test_the_divider_counts_up_and_down() -> None:
    stamp = running()
    found = []
    for clocks in (10, 79, 90, 150, 161):
        stamp.advance((clocks + 0.5) * CLOCK_S)
        found.append(stamp.divider)
    assert found == [10, 79, 70, 10, 1]


def test_a_write_to_the_match_on_the_way_up_does_no_harm() -> None:
    stamp = running()
    stamp.advance(10.5 * CLOCK_S)
    stamp.set_match(80)
    assert not stamp.frozen
    stamp.advance(1e-3)
    assert stamp.counter == pytest.approx(1000, abs=1)


@pytest.mark.parametrize("dividing", [True, False])
def test_a_write_to_the_match_on_the_way_down_freezes_for_54_seconds(dividing: bool) -> None:
    stamp = running()
    stamp.advance(100.5 * CLOCK_S)
    stamp.dividing = dividing
    before = stamp.counter
    stamp.set_match(80)
    stamp.dividing = True
    stamp.advance(53.0)
    assert (stamp.counter, stamp.frozen) == (before, True)
    stamp.advance(54.0)
    assert not stamp.frozen
    assert stamp.counter > before


@pytest.mark.parametrize("clocks", [10.5, 100.5])
def test_the_divider_at_1_ends_a_freeze(clocks: float) -> None:
    stamp = running()
    stamp.advance(clocks * CLOCK_S)
    stamp.set_match(80)
    stamp.set_divider(1)
    before = stamp.counter
    stamp.advance(1.0)
    assert stamp.counter == pytest.approx(before + 1_000_000, abs=2)


def test_a_divider_beyond_the_match_freezes() -> None:
    stamp = running()
    stamp.set_divider(81)
    assert stamp.frozen


def test_without_the_divider_every_clock_counts() -> None:
    stamp = running()
    stamp.dividing = False
    stamp.advance(1e-6)
    assert stamp.counter == 80
    stamp.counting = False
    stamp.advance(2e-6)
    assert stamp.counter == 80
