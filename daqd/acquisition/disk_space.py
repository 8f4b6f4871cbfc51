"""How much room is left on the disk, how long it lasts, and what is to be thought of that. No clock, no disk."""

import math
from dataclasses import dataclass
from typing import Literal

from daqd.configuration.config_sections import DiskSection

Level = Literal["ok", "warning", "critical"]

_MB = 1_000_000
_HOUR_S = 3600.0
_SMOOTHING_S = 60.0
_LEAST_S = 5.0
"""As long as less than this was seen of a run, nothing is said of its rate."""
_LEAST_HZ = 1.0
_BACK_FACTOR = 1.1
"""A level is left where there is so much more than its limit: else a disk at the limit would alarm again and again."""


class WriteRate:
    """Bytes per second of something that grows, smoothed over a minute, from the first measurement on."""

    def __init__(self) -> None:
        self._last: tuple[int, float] | None = None
        self._bytes = 0.0
        self._seconds = 0.0

    def add(self, total_bytes: int, at_s: float) -> None:
        """At the time `at_s` there were `total_bytes`."""
        if self._last is not None:
            passed_s = at_s - self._last[1]
            faded = math.exp(-passed_s / _SMOOTHING_S)
            self._bytes = self._bytes * faded + total_bytes - self._last[0]
            self._seconds = self._seconds * faded + passed_s
        self._last = (total_bytes, at_s)

    @property
    def bytes_hz(self) -> float | None:
        """None where too little was seen yet, or nothing is written."""
        if self._seconds < _LEAST_S or self._bytes < _LEAST_HZ * self._seconds:
            return None
        return self._bytes / self._seconds


@dataclass(frozen=True)
class Room:
    """What is left. `time_to_full_s`: until the critical limit is reached, None where nothing is written."""

    level: Level
    reason: str
    time_to_full_s: float | None = None


class DiskLimits:
    """Says what a number of free bytes means, by the limits of `[disk]`; remembers the level it is at."""

    def __init__(self, limits: DiskSection) -> None:
        self._warning_mb = limits.warning_mb
        self._critical_mb = limits.critical_mb
        self._warning_hours = limits.warning_hours
        self._level: Level = "ok"

    def judge(self, free_bytes: int, rate_bytes_hz: float | None) -> Room:
        """`free_bytes`: without what waits to be written already. `rate_bytes_hz`: at which it becomes less."""
        room_bytes = max(0.0, free_bytes - self._critical_mb * _MB)
        time_to_full_s = None if rate_bytes_hz is None else room_bytes / rate_bytes_hz
        free_mb, hours = max(0, free_bytes) / _MB, math.inf if time_to_full_s is None else time_to_full_s / _HOUR_S
        was_critical, was_raised = self._level == "critical", self._level != "ok"
        reason = ""
        if _is_below(free_mb, self._critical_mb, was_critical):
            self._level = "critical"
            reason = f"{free_mb:.0f} MB are free, disk.critical_mb = {self._critical_mb:g}"
        elif _is_below(free_mb, self._warning_mb, was_raised):
            self._level = "warning"
            reason = f"{free_mb:.0f} MB are free, disk.warning_mb = {self._warning_mb:g}"
        elif _is_below(hours, self._warning_hours, was_raised):
            self._level = "warning"
            reason = f"full in {hours:.1f} h at the present rate, disk.warning_hours = {self._warning_hours:g}"
        else:
            self._level = "ok"
        return Room(self._level, reason, time_to_full_s)


def _is_below(value: float, limit: float, was_below: bool) -> bool:
    return value < limit * (_BACK_FACTOR if was_below else 1.0)
