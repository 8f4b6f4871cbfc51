"""What a number of free bytes means."""

import pytest

from daqd.acquisition.disk_watch import DiskLimits, WriteRate
from daqd.configuration.config_sections import DiskSection

MB = 1_000_000
HOUR_S = 3600.0


def limits(warning_mb: float = 100.0, critical_mb: float = 10.0, warning_hours: float = 2.0) -> DiskLimits:
    return DiskLimits(DiskSection(warning_mb=warning_mb, critical_mb=critical_mb, warning_hours=warning_hours))


@pytest.mark.parametrize(
    ("free_mb", "rate_mb_h", "level", "reason"),
    [
        (100, None, "ok", ""),
        (99.9, None, "warning", "100 MB are free, disk.warning_mb = 100"),
        (50, None, "warning", "50 MB are free, disk.warning_mb = 100"),
        (10, None, "warning", "10 MB are free, disk.warning_mb = 100"),
        (9.9, None, "critical", "10 MB are free, disk.critical_mb = 10"),
        (0, None, "critical", "0 MB are free, disk.critical_mb = 10"),
        (-5, 3, "critical", "0 MB are free, disk.critical_mb = 10"),
        (210, 100, "ok", ""),
        (210, 101, "warning", "full in 2.0 h at the present rate, disk.warning_hours = 2"),
        (50, 1000, "warning", "50 MB are free, disk.warning_mb = 100"),
    ],
)
def test_the_level_and_why(free_mb: float, rate_mb_h: float | None, level: str, reason: str) -> None:
    room = limits().judge(int(free_mb * MB), None if rate_mb_h is None else rate_mb_h * MB / HOUR_S)
    assert (room.level, room.reason) == (level, reason)


def test_the_time_to_full_ends_where_the_run_has_to() -> None:
    assert limits().judge(110 * MB, 1e6).time_to_full_s == pytest.approx(100.0)
    assert limits(critical_mb=0).judge(110 * MB, 1e6).time_to_full_s == pytest.approx(110.0)
    assert limits().judge(5 * MB, 1e6).time_to_full_s == 0.0
    assert limits().judge(110 * MB, None).time_to_full_s is None


def test_a_limit_of_0_is_none() -> None:
    none = limits(0, 0, 0)
    assert none.judge(0, 1e9).level == "ok"


def test_a_disk_that_goes_up_and_down_at_a_limit_alarms_once() -> None:
    judge = limits().judge
    levels = [
        judge(int(free_mb * MB), None).level for free_mb in (101, 99, 101, 99, 109, 111, 101, 9, 10.5, 9, 12, 120)
    ]
    assert levels == [
        *("ok", "warning", "warning", "warning", "warning", "ok", "ok"),
        *("critical", "critical", "critical", "warning", "ok"),
    ]


def test_a_rate_that_goes_up_and_down_at_a_limit_alarms_once() -> None:
    judge = limits().judge
    rates = (100, 101, 99, 95, 90, 100)
    assert [judge(210 * MB, rate * MB / HOUR_S).level for rate in rates] == [
        *("ok", "warning", "warning", "warning", "ok", "ok"),
    ]


def fed(*rates_bytes_hz: float) -> WriteRate:
    """Each of the rates for a second."""
    rate, total = WriteRate(), 0.0
    rate.add(0, 50.0)
    for second, bytes_hz in enumerate(rates_bytes_hz, 1):
        total += bytes_hz
        rate.add(int(total), 50.0 + second)
    return rate


def test_a_steady_rate_is_told_as_it_is_from_the_sixth_second_on() -> None:
    assert WriteRate().bytes_hz is None
    assert fed(*[1000.0] * 4).bytes_hz is None
    assert fed(*[1000.0] * 6).bytes_hz == pytest.approx(1000.0)
    assert fed(*[1000.0] * 600).bytes_hz == pytest.approx(1000.0)


def test_a_burst_is_smoothed_and_a_lasting_change_is_followed() -> None:
    assert fed(*[1000.0] * 60, 61_000.0).bytes_hz == pytest.approx(2600, rel=0.1)
    assert fed(*[1000.0] * 600, *[3000.0] * 60).bytes_hz == pytest.approx(2264, rel=0.01)
    assert fed(*[1000.0] * 600, *[3000.0] * 300).bytes_hz == pytest.approx(3000, rel=0.01)


def test_where_nothing_is_written_there_is_no_rate() -> None:
    assert fed(*[0.0] * 100).bytes_hz is None
    assert fed(*[1000.0] * 10, *[0.0] * 1000).bytes_hz is None


def test_a_file_that_is_counted_a_moment_later_changes_nothing() -> None:
    """While a file is finished, its size is missing for a moment."""
    rate = WriteRate()
    for second, total in enumerate((0, 1000, 2000, 0, 4000, 5000, 6000)):
        rate.add(total, float(second))
    assert rate.bytes_hz == pytest.approx(1000, rel=0.05)
