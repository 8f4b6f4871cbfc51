"""The disk is looked at, and what changes is said once."""

import logging
import threading
from pathlib import Path

import pytest

from daqd.acquisition.disk_watch import DiskWatch
from daqd.acquisition.readout_queue import READOUT_COST_BYTES, ReadoutQueue
from daqd.boards.board import RawReadout
from daqd.configuration.config_sections import DiskSection
from protocol.wire.messages import Disk
from tests.daqd.emulated_bench import HandClock
from tests.daqd.waiting import DEADLINE_S, wait_until

MB = 1_000_000
LIMITS = DiskSection(warning_mb=100.0, critical_mb=10.0, warning_hours=1.0)


class MadeDisk:
    """A disk of a GB with as much free as the test says; asking it takes as long as the test wants."""

    def __init__(self) -> None:
        self.free_mb = 500.0
        self.error: OSError | None = None
        self.answers = threading.Event()
        self.answers.set()
        self.held_up = threading.Event()
        self.asked = 0

    def usage(self, _: Path) -> tuple[int, int, int]:
        self.asked += 1
        if not self.answers.is_set():
            self.held_up.set()
        assert self.answers.wait(DEADLINE_S)
        if self.error is not None:
            raise self.error
        free_bytes = int(self.free_mb * MB)
        return 1000 * MB, 1000 * MB - free_bytes, free_bytes


class Watched:
    """A made disk, watched on a hand-moved clock."""

    def __init__(self) -> None:
        self.disk = MadeDisk()
        self.clock = HandClock()
        self.watch = DiskWatch(Path("/data"), LIMITS, self.clock, self.disk.usage)

    def look(self, free_mb: float) -> Disk:
        self.disk.free_mb = free_mb
        self.clock.sleep(1.0)
        return self.watch.look()


@pytest.fixture
def watched() -> Watched:
    return Watched()


def said(caplog: pytest.LogCaptureFixture) -> list[tuple[str, str]]:
    return [(record.levelname, record.getMessage()) for record in caplog.records]


def test_the_real_disk(tmp_path: Path) -> None:
    watch = DiskWatch(tmp_path, LIMITS)
    assert watch.latest() == Disk(path=str(tmp_path))
    disk = watch.look()
    assert watch.latest() == disk
    assert disk.path == str(tmp_path)
    assert 0 < disk.free_bytes < disk.total_bytes


def test_what_is_seen(watched: Watched) -> None:
    assert watched.look(50) == Disk(
        path="/data",
        free_bytes=50 * MB,
        total_bytes=1000 * MB,
        level="warning",
        reason="50 MB are free, disk.warning_mb = 100",
    )


def test_changes_of_the_level_are_said_once_each(watched: Watched, caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.INFO):
        for free_mb in (500, 400, 99, 98, 90, 9, 8, 500, 400):
            watched.look(free_mb)
    assert said(caplog) == [
        ("WARNING", "disk warning: /data: 99 MB are free, disk.warning_mb = 100"),
        ("ERROR", "disk critical: /data: 9 MB are free, disk.critical_mb = 10"),
        ("INFO", "disk ok: /data: 500 MB are free"),
    ]


def test_the_time_to_full_is_that_of_the_run(watched: Watched) -> None:
    assert watched.look(500).time_to_full_s is None
    written = 0
    watched.watch.run_began(lambda: written, ReadoutQueue(MB))
    for second in range(10):
        disk = watched.look(500 - second)
        assert (disk.time_to_full_s is None) == (second < 6)
        written += MB
    assert disk.time_to_full_s == pytest.approx(491 - 10)
    assert disk.level == "warning"
    assert disk.reason == "full in 0.1 h at the present rate, disk.warning_hours = 1"
    watched.watch.run_ended()
    disk = watched.look(490)
    assert (disk.level, disk.time_to_full_s) == ("ok", None)
    watched.watch.run_began(lambda: 0, ReadoutQueue(MB))
    assert watched.look(490).time_to_full_s is None, "the rate of the run before says nothing"


def test_what_waits_to_be_written_is_not_free_any_more(watched: Watched) -> None:
    queue = ReadoutQueue(100 * MB)
    watched.watch.run_began(lambda: 0, queue)
    assert watched.look(12).level == "warning"
    queue.put(RawReadout(bytes(3 * MB), 0))
    disk = watched.look(12)
    assert (disk.level, disk.free_bytes) == ("critical", 12 * MB)


def test_a_queue_that_fills_is_said_once(watched: Watched, caplog: pytest.LogCaptureFixture) -> None:
    queue = ReadoutQueue(1000)
    watched.watch.run_began(lambda: 0, queue)
    with caplog.at_level(logging.INFO):
        for size_bytes in (400, 90, 100, 100):
            queue.put(RawReadout(bytes(size_bytes - READOUT_COST_BYTES if size_bytes > READOUT_COST_BYTES else 0), 0))
            watched.look(500)
        queue.take(0)
        watched.look(500)
        watched.look(500)
    assert said(caplog) == [
        ("WARNING", "disk slower than the board: the queue is 54 % full, the run ends at 100 %"),
        ("INFO", "disk keeps up again: the queue is 0 % full"),
    ]


def test_a_disk_that_cannot_be_asked(watched: Watched, caplog: pytest.LogCaptureFixture) -> None:
    watched.disk.error = OSError(5, "Input/output error")
    for _ in range(2):
        disk = watched.look(500)
        assert (disk.level, disk.reason, disk.free_bytes) == ("warning", "Input/output error", 0)
    assert said(caplog) == [("WARNING", "disk warning: /data: Input/output error")]


@pytest.fixture
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    """Looks more often than once a second."""
    monkeypatch.setattr("daqd.acquisition.disk_watch._INTERVAL_S", 0.01)


@pytest.mark.usefixtures("quick")
def test_the_thread_looks_again_and_again_and_tells_what_is_critical(watched: Watched) -> None:
    told: list[str] = []
    watched.watch.start(told.append)
    wait_until("it has looked three times", lambda: watched.disk.asked >= 3)
    assert told == []
    watched.disk.free_mb = 9
    wait_until("it has told", lambda: told)
    assert told[0] == "9 MB are free, disk.critical_mb = 10"
    watched.watch.stop()
    assert all(thread.name != "disk" for thread in threading.enumerate())


@pytest.mark.usefixtures("quick")
def test_a_disk_that_hangs_hangs_nobody(watched: Watched, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO)
    watched.watch.start(lambda _: None)
    wait_until("it has looked", lambda: watched.watch.latest().free_bytes)
    watched.disk.answers.clear()
    wait_until("it asks and is not answered", watched.disk.held_up.is_set)
    watched.clock.sleep(7.0)
    for _ in range(2):
        disk = watched.watch.latest()
        assert (disk.level, disk.reason, disk.free_bytes) == ("warning", "no answer for 7 s", 500 * MB)
    watched.disk.answers.set()
    wait_until("it answers again", lambda: watched.watch.latest().level == "ok")
    watched.watch.stop()
    assert said(caplog) == [("WARNING", "disk: /data does not answer"), ("INFO", "disk: /data answers again")]


@pytest.mark.usefixtures("quick")
def test_a_disk_that_hangs_does_not_keep_the_program_from_ending(watched: Watched) -> None:
    watched.disk.answers.clear()
    watched.watch.start(lambda _: None)
    wait_until("it asks", lambda: watched.disk.asked)
    watched.watch.stop()
    (thread,) = [thread for thread in threading.enumerate() if thread.name == "disk"]
    assert thread.daemon
    watched.disk.answers.set()
    thread.join(DEADLINE_S)
