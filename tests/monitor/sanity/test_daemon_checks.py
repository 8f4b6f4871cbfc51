"""Checks of what the daemon says of itself, and of how late its data are."""

from typing import Any

import numpy as np
import pytest

from monitor.sanity.check import Check, CheckInput
from monitor.sanity.checks.daemon_checks import (
    board_temperature,
    board_warnings,
    clock_drift,
    data_age,
    disk,
    queue_depth,
)
from protocol.hit import HIT_DTYPE
from protocol.wire.alarms import AlarmLevel
from protocol.wire.messages import BoardStat, Disk, Queue, Stat
from tests.monitor.publishing import run_record
from tests.monitor.sanity.made_inputs import T0_NS, made_input

S = 1_000_000_000


def ask(check: Check, seen: CheckInput, **limits: float) -> dict[str, AlarmLevel] | None:
    """Levels by subject."""
    results = check.function(seen, check.defaults() | limits)
    return None if results is None else {each.subject: each.level or check.level for each in results}


def with_stat(**values: Any) -> CheckInput:
    return made_input(stat=Stat(state="running", **values))


@pytest.mark.parametrize("check", [queue_depth, disk, board_temperature, data_age, clock_drift])
def test_where_nothing_was_said_nothing_is_known(check: Check) -> None:
    assert ask(check, made_input()) is None
    if check is not data_age:
        assert ask(check, with_stat()) is None


@pytest.mark.parametrize(
    ("bytes_waiting", "level"), [(0, None), (499, None), (500, AlarmLevel.WARNING), (950, AlarmLevel.CRITICAL)]
)
def test_the_queue(bytes_waiting: int, level: AlarmLevel | None) -> None:
    seen = with_stat(queue=Queue(bytes=bytes_waiting, limit_bytes=1000))
    assert ask(queue_depth, seen) == ({} if level is None else {"": level})
    assert ask(queue_depth, seen, warning=1.0, critical=1.0) == {}


@pytest.mark.parametrize("level", ["ok", "warning", "critical"])
def test_the_disk(level: str) -> None:
    reason = "" if level == "ok" else "1.2 GB free"
    seen = with_stat(disk=Disk(path="/data", level=level, reason=reason, free_bytes=1, time_to_full_s=7200))
    assert ask(disk, seen) == ({} if level == "ok" else {"/data": AlarmLevel(level)})
    if level != "ok":
        (result,) = disk.function(seen, {}) or ()
        assert result.text == "1.2 GB free, full in 2.0 h at this rate"


def test_what_the_board_warns_of_live_and_in_the_record() -> None:
    warning = 'astep.timestamp_order = "little", but the firmware sends "big"'
    expected = {warning[:40]: AlarmLevel.WARNING}
    assert ask(board_warnings, made_input()) is None
    assert ask(board_warnings, with_stat()) == {}
    assert ask(board_warnings, with_stat(board=BoardStat(warnings=[warning]))) == expected
    for board, found in (({"warnings": [warning]}, expected), ({}, {}), ({"warnings": 3}, {})):
        record = run_record(1, board=board)
        assert ask(board_warnings, made_input(record=record)) == found


@pytest.mark.parametrize(("celsius", "levels"), [(45.2, {}), (70.0, AlarmLevel.WARNING), (91.0, AlarmLevel.CRITICAL)])
def test_the_temperature_of_the_board(celsius: float, levels: AlarmLevel | dict[str, AlarmLevel]) -> None:
    counters: dict[str, int | float | str] = {"fpga_temperature_c": celsius, "layer_1_frames": 900, "mode_c": "x"}
    expected = levels if isinstance(levels, dict) else {"fpga_temperature_c": levels}
    assert ask(board_temperature, with_stat(board=BoardStat(counters=counters))) == expected


def hits_at(*times_ns: int) -> np.ndarray:
    hits = np.zeros(len(times_ns), HIT_DTYPE)
    hits["timestamp"] = times_ns
    return hits


@pytest.mark.parametrize(("age_s", "wrong"), [(0.1, False), (9.0, False), (11.0, True), (-1.0, False), (-3.0, True)])
def test_the_age_of_the_newest_hits(age_s: float, wrong: bool) -> None:
    newest = T0_NS - round(age_s * S)
    seen = made_input(hits=hits_at(newest - 60 * S, newest))
    assert ask(data_age, seen) == ({"": AlarmLevel.WARNING} if wrong else {})


def test_hits_without_a_time_have_no_age() -> None:
    assert ask(data_age, made_input(hits=hits_at(0, 0))) is None
