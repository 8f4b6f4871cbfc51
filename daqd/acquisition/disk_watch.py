"""The disk, looked at once a second: how much is free, how fast it fills, and whether the queue to it does."""

import logging
import math
import shutil
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from daqd.acquisition.readout_queue import ReadoutQueue
from daqd.configuration.config_sections import DiskSection
from protocol.text import reason_of
from protocol.wire.messages import Disk

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


log = logging.getLogger(__name__)

_INTERVAL_S = 1.0
_SILENT_S = 5.0
_QUEUE_FILLS = 0.5
_QUEUE_RELAXED = 0.1
_LOG_LEVELS = {"ok": logging.INFO, "warning": logging.WARNING, "critical": logging.ERROR}


class DiskWatch:
    """Looks at the file system of `data_dir`, in a thread of its own: one that hangs holds up nobody else.

    What changes is said in the log, once each time: the level, by the limits; a disk that does not answer; a queue to
    the writer that is half full, which is a disk that is slower than the board.
    """

    def __init__(
        self,
        data_dir: Path,
        limits: DiskSection,
        clock: Callable[[], float] = time.monotonic,
        usage: Callable[[Path], tuple[int, int, int]] = shutil.disk_usage,
    ) -> None:
        self._data_dir = data_dir
        self._limits = DiskLimits(limits)
        self._clock = clock
        self._usage = usage
        self._lock = threading.Lock()
        self._stop = threading.Event()
        self._thread: threading.Thread | None = None
        self._disk = Disk(path=str(data_dir))
        self._looked_at = clock()
        self._silent = False
        self._rate = WriteRate()
        self._written: Callable[[], int] | None = None
        self._queue: ReadoutQueue | None = None
        self._queue_fills = False

    def start(self, on_critical: Callable[[str], None]) -> None:
        """Look once a second; `on_critical(reason)` is called each time that less than the critical limit is left."""
        self._thread = threading.Thread(target=self._watch, args=[on_critical], name="disk", daemon=True)
        self._thread.start()

    def stop(self) -> None:
        """Look no more; where the thread hangs in a call to the disk, it is left there."""
        self._stop.set()
        if self._thread is not None:
            self._thread.join(_INTERVAL_S)

    def run_began(self, written: Callable[[], int], queue: ReadoutQueue) -> None:
        """Now the disk fills; `written`: bytes in the files of the run."""
        with self._lock:
            self._rate, self._written, self._queue, self._queue_fills = WriteRate(), written, queue, False

    def run_ended(self) -> None:
        """Now it does not."""
        with self._lock:
            self._written = self._queue = None

    def look(self) -> Disk:
        """Look now; waits for the disk."""
        try:
            total_bytes, _, free_bytes = self._usage(self._data_dir)
        except OSError as error:
            return self._take(Disk(path=str(self._data_dir), level="warning", reason=reason_of(error)))
        with self._lock:
            waiting = 0 if self._queue is None else self._queue.size_bytes
            if self._written is not None:
                self._rate.add(self._written(), self._clock())
            room = self._limits.judge(free_bytes - waiting, None if self._written is None else self._rate.bytes_hz)
        self._look_at_queue()
        return self._take(
            Disk(
                path=str(self._data_dir),
                free_bytes=free_bytes,
                total_bytes=total_bytes,
                level=room.level,
                time_to_full_s=room.time_to_full_s,
                reason=room.reason,
            )
        )

    def latest(self) -> Disk:
        """What was seen last, at once; or that the disk does not answer."""
        disk, silent_s = self._disk, self._clock() - self._looked_at
        if self._thread is None or silent_s < _SILENT_S:
            return disk
        if not self._silent:
            self._silent = True
            log.warning("disk: %s does not answer", self._data_dir)
        return disk.model_copy(update={"level": "warning", "reason": f"no answer for {silent_s:.0f} s"})

    def _take(self, disk: Disk) -> Disk:
        with self._lock:
            before, self._disk, self._looked_at = self._disk, disk, self._clock()
            was_silent, self._silent = self._silent, False
        if was_silent:
            log.info("disk: %s answers again", self._data_dir)
        if disk.level != before.level:
            why = disk.reason or f"{disk.free_bytes / 1e6:.0f} MB are free"
            log.log(_LOG_LEVELS[disk.level], "disk %s: %s: %s", disk.level, disk.path, why)
        return disk

    def _look_at_queue(self) -> None:
        queue = self._queue
        if queue is None:
            return
        filled = queue.size_bytes / queue.limit_bytes
        if not self._queue_fills and filled >= _QUEUE_FILLS:
            self._queue_fills = True
            log.warning("disk slower than the board: the queue is %.0f %% full, the run ends at 100 %%", 100 * filled)
        elif self._queue_fills and filled < _QUEUE_RELAXED:
            self._queue_fills = False
            log.info("disk keeps up again: the queue is %.0f %% full", 100 * filled)

    def _watch(self, on_critical: Callable[[str], None]) -> None:
        while True:
            disk = self.look()
            if disk.level == "critical":
                on_critical(disk.reason)
            if self._stop.wait(_INTERVAL_S):
                return
