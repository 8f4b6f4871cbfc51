"""Checks on hits, ledgers and the order of readouts: each notices what it is for, and nothing else."""

from typing import Any

import numpy as np
import pytest

from monitor.detector import Geometry
from monitor.sanity.check import Limits
from monitor.sanity.checks import event_checks
from monitor.sanity.checks.hit_checks import HitTally, check_ledger
from monitor.sanity.checks.order import ReadoutOrder
from monitor.sanity.findings import Notice
from protocol.ledger import Ledger
from protocol.wire.alarms import AlarmLevel
from tests.monitor.publishing import make_apart, make_hits

LIMITS = Limits(geometry=Geometry(chips=2))
S = 1_000_000_000


def limits(**configured: dict[str, float]) -> Limits:
    return Limits(configured=configured)


def levels(notices: list[Notice]) -> dict[str, AlarmLevel]:
    """Names of the checks that noticed something, with the level of their last word."""
    return {notice.check.name: notice.level for notice in notices}


def test_every_check_has_a_name_of_its_own_and_says_what_to_do() -> None:
    names = [check.name for check in event_checks.EVENT_CHECKS]
    assert len(set(names)) == len(names)
    assert all(check.what and check.advice for check in event_checks.EVENT_CHECKS)


# ---- hits


def tally(hits: np.ndarray, limits: Limits = LIMITS) -> dict[str, AlarmLevel]:
    each = HitTally(limits)
    return levels([*each.add(hits), *each.settle()])


def test_good_hits_are_not_worth_a_word() -> None:
    assert tally(make_hits([(0, 0), (0, 1)], chip_id=1, row=12, column=15)) == {}


@pytest.mark.parametrize(
    ("columns", "check"),
    [
        ({"chip_id": 2}, "impossible_address"),
        ({"row": 13}, "impossible_address"),
        ({"column": 16}, "impossible_address"),
        ({"payload": 4}, "payload"),
        ({"tot_us": 0}, "tot_zero"),
        ({"tot_us": -0.05}, "tot_range"),
        ({"tot_us": 6553.6}, "tot_range"),
        ({"tot_us": float("nan")}, "tot_range"),
    ],
)
def test_one_bad_hit_among_a_few_is_a_warning(columns: dict[str, float], check: str) -> None:
    hits = np.concatenate([make_hits([(0, 0)]), make_hits([(1, 0)], **columns)])
    assert tally(hits) == {check: AlarmLevel.WARNING}


def test_the_first_bad_hit_is_named_and_all_are_counted() -> None:
    each = HitTally(LIMITS)
    list(each.add(make_hits([(5, 0), (6, 0)], row=[3, 20], column=9)))
    (notice,) = each.add(make_hits([(7, 0), (8, 0)], row=[21, 20]))
    assert (notice.result.count, notice.result.cumulative, notice.result.readout) == (3, True, 6)
    assert notice.result.text == "3 of 4 hits, the first: chip_id 0, row 20, column 9"


def test_a_tiny_fraction_of_hits_of_no_duration_is_noise() -> None:
    hits = make_hits([(0, order) for order in range(3000)])
    hits["tot_us"][:3] = 0
    assert tally(hits) == {"tot_zero": AlarmLevel.OK}
    hits["tot_us"][:4] = 0
    assert tally(hits) == {"tot_zero": AlarmLevel.WARNING}


def test_the_limits_of_tot_can_be_set() -> None:
    hits = make_hits([(0, 0), (0, 1)], tot_us=[5.0, 500.0])
    assert tally(hits, limits(tot_range={"min_us": 5.0, "max_us": 500.0})) == {}
    assert tally(hits, limits(tot_range={"min_us": 5.05})) == {"tot_range": AlarmLevel.WARNING}
    assert tally(hits, limits(tot_range={"max_us": 499.95})) == {"tot_range": AlarmLevel.WARNING}


# ---- ledger


def ledger(**counts: int) -> Ledger:
    counts = {"idle": 8000, "hit": 8000, "hits": 1000} | counts
    each = Ledger(**counts)
    each.bytes_read = each.classified
    return each


def test_a_clean_ledger_is_not_worth_a_word() -> None:
    assert list(check_ledger(ledger(padding=500, carried=4), LIMITS)) == []
    assert list(check_ledger(Ledger(), LIMITS)) == []


@pytest.mark.parametrize(
    ("counts", "check", "level"),
    [
        ({"orphan": 3}, "orphan_bytes", AlarmLevel.OK),
        ({"orphan": 300}, "orphan_bytes", AlarmLevel.WARNING),
        ({"dropped_hits": 1, "dropped": 6}, "dropped_hits", AlarmLevel.OK),
        ({"dropped_hits": 1, "dropped": 6, "hits": 200, "hit": 1600}, "dropped_hits", AlarmLevel.OK),
        ({"dropped_hits": 2, "dropped": 6, "hits": 200, "hit": 1600}, "dropped_hits", AlarmLevel.WARNING),
        ({"dropped_hits": 2, "dropped": 12}, "dropped_hits", AlarmLevel.WARNING),
        ({"restored_hits": 10}, "restored_hits", AlarmLevel.OK),
        ({"restored_hits": 11}, "restored_hits", AlarmLevel.WARNING),
        ({"orphan": 1, "hit": 0, "idle": 0, "hits": 0}, "orphan_bytes", AlarmLevel.WARNING),
    ],
)
def test_fractions_of_the_ledger(counts: dict[str, int], check: str, level: AlarmLevel) -> None:
    assert levels(list(check_ledger(ledger(**counts), LIMITS))) == {check: level}


def test_bytes_not_accounted_for_are_critical() -> None:
    each = ledger()
    each.bytes_read += 1
    assert levels(list(check_ledger(each, LIMITS))) == {"ledger_balance": AlarmLevel.CRITICAL}


# ---- order


def order(
    ids: list[int], times: list[int] | None = None, *, complete: bool = True, limits: Limits = LIMITS, split: int = 0
) -> dict[str, tuple[int, int | None]]:
    """Checks that noticed something, with count and first readout."""
    follow = ReadoutOrder(limits, complete=complete)
    all_ids, all_times = np.array(ids, "u4"), np.array(times or [S + i for i in range(len(ids))], "u8")
    found: dict[str, tuple[int, int | None]] = {}
    notices = [
        *follow.add(all_ids[:split], all_times[:split]),
        *follow.add(all_ids[split:], all_times[split:]),
        *follow.settle(),
    ]
    for notice in notices:
        count, first = found.get(notice.check.name, (0, notice.result.readout))
        found[notice.check.name] = (
            notice.result.count if notice.result.cumulative else count + notice.result.count,
            first,
        )
    return found


@pytest.mark.parametrize("split", [0, 1, 2, 3])
class TestOrder:
    def test_consecutive_readouts(self, split: int) -> None:
        assert order([7, 8, 9, 10], split=split) == {}

    def test_a_jump_counts_what_is_missing(self, split: int) -> None:
        assert order([7, 8, 12, 13], split=split) == {"readout_jump": (3, 12)}

    def test_a_readout_that_comes_again_or_an_older_one(self, split: int) -> None:
        assert order([7, 7, 8, 9], split=split) == {"readout_back": (1, 7)}
        assert order([7, 8, 3, 4], split=split) == {"readout_back": (1, 3)}

    def test_hits_of_a_stream_may_share_a_readout_and_leave_some_out(self, split: int) -> None:
        assert order([7, 7, 9, 12], complete=False, split=split) == {}
        assert order([7, 9, 8, 12], complete=False, split=split) == {"readout_back": (1, 8)}

    def test_time_stamps_that_go_back(self, split: int) -> None:
        assert order([0, 1, 2, 3], [5 * S, 5 * S, 4 * S, 6 * S], split=split) == {"time_back": (1, 2)}

    def test_time_stamps_that_jump(self, split: int) -> None:
        times = [S, S, 61 * S, 61 * S, 662 * S]
        assert order([0, 1, 2, 3, 4], times, split=split) == {"time_step": (1, 4)}
        assert order([0, 1, 2, 3], [S, S, S, 62 * S], split=split) == {"time_step": (1, 3)}
        strict = limits(time_step={"max_s": 0.5})
        assert order([0, 1, 2, 3], [S, S, 2 * S, 2 * S], limits=strict, split=split) == {"time_step": (1, 2)}

    @pytest.mark.parametrize(("step_s", "found"), [(60, {}), (140, {}), (150, {"time_step": (1, 50)})])
    def test_where_readouts_are_rare_long_steps_are_usual(self, split: int, step_s: int, found: dict[str, Any]) -> None:
        times = [10 * S * readout for readout in range(1, 51)]
        assert order(list(range(51)), [*times, times[-1] + step_s * S], split=10 * split) == found

    def test_no_time_stamps_at_all(self, split: int) -> None:
        assert order([0, 1, 2, 3], [0, 0, 0, 0], split=split) == {"no_time": (4, 0)}

    def test_a_time_stamp_missing_among_others(self, split: int) -> None:
        assert order([0, 1, 2, 3], [S, 0, 0, S], split=split) == {"no_time": (2, 1)}


def test_a_recording_without_time_stamps_is_info_and_one_that_lost_some_is_not() -> None:
    never = ReadoutOrder(LIMITS, complete=True)
    assert levels([*never.add(np.arange(3), np.zeros(3, "u8")), *never.settle()]) == {"no_time": AlarmLevel.OK}
    lost = ReadoutOrder(LIMITS, complete=True)
    assert levels([*lost.add(np.arange(3), np.array([0, S, S])), *lost.settle()]) == {"no_time": AlarmLevel.WARNING}


def test_hits_of_rows_and_columns() -> None:
    fine = make_apart([(0, 0, 0, 34, 10, 1010), (0, 1, 1, 34, 10, 1000)])
    assert list(HitTally(LIMITS).add(fine)) == []
    bad = make_apart([(0, 0, 0, 35, 10, 1010), (0, 1, 1, 34, 10, 0)], payload=[4, 7])
    told = {notice.check.name: notice.result.text for notice in HitTally(LIMITS).add(bad)}
    assert told["impossible_address"] == "1 of 2 hits, the first: chip_id 0, is_column 0, location 35"
    assert told["payload"] == "1 of 2 hits, the first: payload 7"
    assert told["tot_zero"] == "1 of 2 hits, the first: chip_id 0, is_column 1, location 34"
