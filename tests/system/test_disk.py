"""The disk is full, refuses, or is far too slow: the run ends and says why; nothing that was read is lost silently."""

import re
import resource
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from astropix_runtime.errors import RefusedError
from daqd.acquisition.readout_queue import READOUT_COST_BYTES
from protocol.run_record import RunRecord
from protocol.wire.messages import Stat
from tests.system.emulated_board import sent_by_board
from tests.system.laboratory import Daemon, Laboratory
from tests.system.processes import wait_until
from tests.system.subscriber import Subscriber
from tests.system.taken_run import TakenRun

FLAT_OUT = {"rate_hz": "max"}
DISK_BYTES = 8 << 20
FILLER_BYTES = 5 << 20
NO_LIMITS = {"warning_mb": 0.0, "critical_mb": 0.0, "warning_hours": 0.0}

SLOW_DISK = """
import os, sys, time

write_at_once = os.write

def write_slowly(descriptor, data):
    if not os.readlink(f"/proc/self/fd/{descriptor}").endswith(".part"):
        return write_at_once(descriptor, data)
    part = bytes(data[:65536])
    time.sleep(len(part) / 1e6)
    return write_at_once(descriptor, part)

os.write = write_slowly

from daqd.cli import main

sys.exit(main())
"""
"""`daqd` on a disk that takes 1 MB/s."""

GATED_DISK = """
import os, sys, threading, time

write_at_once = os.write

def write_when_open(descriptor, data):
    while threading.current_thread().name == "writer" and not os.path.exists(os.environ["GATE"]):
        time.sleep(0.01)
    return write_at_once(descriptor, data)

os.write = write_when_open

from daqd.cli import main

sys.exit(main())
"""
"""`daqd` on a disk that takes nothing until there is a file `GATE`."""

STUCK_DISK = """
import os, sys, threading

write_at_once, sync_at_once = os.write, os.fsync

def write_never(descriptor, data):
    if threading.current_thread().name == "writer":
        threading.Event().wait()
    return write_at_once(descriptor, data)

def sync_never(descriptor):
    if os.readlink(f"/proc/self/fd/{descriptor}").endswith("run_000001"):
        threading.Event().wait()
    sync_at_once(descriptor)

if "SYNC" in os.environ:
    os.fsync = sync_never
else:
    os.write = write_never

from daqd.process import watchdog
from daqd.cli import main

watchdog._STUCK_S = 1.0
sys.exit(main())
"""
"""`daqd` on a disk that does not answer when there are data, or with `SYNC` earlier, and less patient than usual."""


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A file system of `DISK_BYTES`, mounted for this test."""
    folder = tmp_path / "data"
    folder.mkdir()
    mounted = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", f"size={DISK_BYTES}", "tmpfs", str(folder)],
        capture_output=True,
        text=True,
        check=False,
    )
    if mounted.returncode:
        pytest.skip(f"a small file system cannot be mounted here: {mounted.stderr.strip()}")
    yield folder
    subprocess.run(["umount", str(folder)], check=True)


@pytest.fixture
def laboratory_on_small_disk(small_disk: Path, laboratory: Laboratory) -> Laboratory:
    """A laboratory that is closed before its disk is taken away."""
    assert small_disk == laboratory.folder / "data"
    return laboratory


def check_nothing_lost(daemon: Daemon, run: TakenRun, status: Stat) -> RunRecord:
    """That the files hold what the board sent, from the first byte on, and that the record accounts for the rest."""
    record = run.check_closed()
    run.check_ledger()
    written = run.board_bytes(daemon.config.board.readout_bytes)
    assert written == sent_by_board(daemon.config, len(written))
    lost = re.search(r"(\d+) readouts that had been read could not be written", record.end_reason)
    assert record.counts.readouts + int(lost[1] if lost else 0) == status.board.counters["readouts"]
    return record


def check_stream(subscriber: Subscriber, run: TakenRun) -> None:
    """That the subscriber got what is in the files."""
    subscriber.wait_for_end(run=1)
    np.testing.assert_array_equal(subscriber.hits(run=1), run.hits)
    assert subscriber.ledger(run=1) == run.ledger


def take_another_run(daemon: Daemon) -> None:
    """Reset after an error, and take run 2."""
    with pytest.raises(RefusedError, match="mend it, then reset"):
        daemon.call("start")
    daemon.call("reset")
    daemon.call("start", readouts=50)
    daemon.wait_for_status("the second run is over", state="configured", run=2)
    assert daemon.end() == 0
    assert daemon.run(2).check_closed().counts.readouts >= 50  # and what the board had sent by then


def test_full_disk(laboratory_on_small_disk: Laboratory, small_disk: Path) -> None:
    filler = small_disk / "filler"
    filler.write_bytes(bytes(FILLER_BYTES))
    daemon = laboratory_on_small_disk.configure(
        {"emulator": FLAT_OUT, "files": {"max_size_mb": 1.0}, "disk": NO_LIMITS}
    ).start()
    subscriber = daemon.subscribe()
    subscriber.wait_until_heard()
    daemon.call("start")
    status = daemon.wait_for_status("the run has failed", state="error")
    assert "No space left on device" in status.reason

    run = daemon.run(1)
    assert run.record.state == "failed"  # closed although the disk is full
    check_stream(subscriber, run)
    filler.unlink()
    take_another_run(daemon)

    record = check_nothing_lost(daemon, run, status)
    assert "No space left on device" in record.end_reason
    assert record.counts.file_bytes > (DISK_BYTES - FILLER_BYTES) // 2
    assert len(record.files) > 1


def test_run_ends_while_there_is_still_room(laboratory_on_small_disk: Laboratory, small_disk: Path) -> None:
    """At the warning, it is said; at the critical limit, the run is closed with all it has, and no other begins."""
    limits = {"warning_mb": 5.0, "critical_mb": 3.0, "warning_hours": 0.0}
    daemon = laboratory_on_small_disk.configure({"disk": limits}).start()
    subscriber = daemon.subscribe()
    subscriber.wait_until_heard()
    daemon.call("start")
    daemon.wait_for_readouts(100)
    assert daemon.status().disk.level == "ok"

    fillers = [small_disk / name for name in ("first", "second")]
    fillers[0].write_bytes(bytes(DISK_BYTES - 4_500_000))
    wait_until("there is a warning", lambda: daemon.status().disk.level == "warning")
    assert "disk.warning_mb = 5" in daemon.status().disk.reason
    assert daemon.status().state == "running"
    fillers[1].write_bytes(bytes(2_000_000))
    status = daemon.wait_for_status("the run has ended", state="configured", run=1)
    run = daemon.run(1)
    record = run.record
    assert record.state == "finished"
    assert re.fullmatch(r"too little room on the disk: \d MB are free, disk.critical_mb = 3", record.end_reason)
    check_stream(subscriber, run)
    said = [text.split(":")[0] for text in subscriber.logs() if text.startswith("disk ")]
    assert said == ["disk warning", "disk critical"]

    refused = daemon.ctl("start", "--json")
    assert refused.json()["error"]["code"] == "disk"
    assert "make room first" in refused.json()["error"]["message"]
    assert "CRITICAL" in daemon.ctl("status").stdout
    for filler in fillers:
        filler.unlink()
    daemon.call("start", readouts=50)
    daemon.wait_for_status("the second run is over", state="configured", run=2)
    assert daemon.end() == 0
    assert record.counts.readouts == status.board.counters["readouts"]
    run.check_closed()
    run.check_ledger()


def test_disk_refuses_in_the_middle_of_a_file(laboratory: Laboratory) -> None:
    daemon = laboratory.configure({"emulator": FLAT_OUT}).start()
    subscriber = daemon.subscribe()
    subscriber.wait_until_heard()
    unlimited = resource.prlimit(daemon.program.pid, resource.RLIMIT_FSIZE)
    resource.prlimit(daemon.program.pid, resource.RLIMIT_FSIZE, (3_000_000, unlimited[1]))
    daemon.call("start")
    status = daemon.wait_for_status("the run has failed", state="error")
    assert "File too large" in status.reason

    run = daemon.run(1)
    check_stream(subscriber, run)
    resource.prlimit(daemon.program.pid, resource.RLIMIT_FSIZE, unlimited)
    take_another_run(daemon)

    record = check_nothing_lost(daemon, run, status)
    assert record.state == "failed"
    assert 3_000_000 - 2100 < record.counts.file_bytes <= 3_000_000  # all but the record that was refused


def test_disk_cannot_keep_up(laboratory: Laboratory) -> None:
    daemon = laboratory.configure({"emulator": FLAT_OUT, "acquisition": {"queue_mb": 0.25}})
    daemon.launch_command([sys.executable, "-c", SLOW_DISK, "run", "-c", str(daemon.config_path)])
    daemon.wait_until_serving()
    subscriber = daemon.subscribe()
    subscriber.wait_until_heard()
    daemon.call("start")
    status = daemon.wait_for_status("the run has failed", state="error")
    assert "disk cannot keep up" in status.reason
    assert "acquisition.queue_mb" in status.reason

    run = daemon.run(1)
    check_stream(subscriber, run)
    assert daemon.end() == 0

    record = check_nothing_lost(daemon, run, status)
    assert record.state == "failed"
    assert record.end_reason == status.reason
    assert record.counts.board_bytes >= 200_000
    board, emulator = daemon.config.board, daemon.config.emulator
    most_readouts = 1 + board.queue_ahead + emulator.fifo_bytes // board.readout_bytes
    assert status.queue.high_water_bytes <= 250_000 + most_readouts * (board.readout_bytes + READOUT_COST_BYTES)


def test_disk_that_does_not_answer_does_not_keep_the_program_from_ending(laboratory: Laboratory) -> None:
    daemon = laboratory.configure({"emulator": {"rate_hz": 1000.0}})
    daemon.launch_command([sys.executable, "-c", STUCK_DISK, "run", "-c", str(daemon.config_path), "--autostart"])
    daemon.wait_until_serving()
    wait_until("something waits for the disk", lambda: daemon.status().queue.bytes)
    daemon.program.send(signal.SIGTERM)
    assert daemon.program.wait() == 1
    laboratory.wait_until_empty()
    assert "ending without waiting any longer (writer of run 1: no answer from the disk" in daemon.program.output
    assert not daemon.control_socket.exists()
    daemon.start()
    assert daemon.end() == 0


@pytest.mark.soak
def test_nor_while_a_run_is_begun(laboratory: Laboratory) -> None:
    daemon = laboratory.configure()
    command = [sys.executable, "-c", STUCK_DISK, "run", "-c", str(daemon.config_path), "--autostart"]
    daemon.launch_command(command, environment={"SYNC": "1"})
    daemon.wait_until_serving()
    wait_until("the run is being begun", lambda: daemon.run(1).parts)
    assert daemon.status().state == "configured"
    daemon.program.send(signal.SIGTERM)
    assert daemon.program.wait() == 1
    laboratory.wait_until_empty()
    assert "ending without waiting any longer" in daemon.program.output


def test_queue_that_fills_is_said_before_the_run_ends(laboratory: Laboratory) -> None:
    daemon = laboratory.configure({"emulator": {"rate_hz": 20_000.0}, "acquisition": {"queue_mb": 3.0}})
    command = [sys.executable, "-c", GATED_DISK, "run", "-c", str(daemon.config_path)]
    gate = laboratory.folder / "gate"
    daemon.launch_command(command, environment={"GATE": str(gate)})
    daemon.wait_until_serving()
    subscriber = daemon.subscribe()
    subscriber.wait_until_heard()
    daemon.call("start")
    daemon.program.wait_for_output("disk slower than the board: the queue is [0-9]+ % full")
    wait_until("it is full", lambda: daemon.status().queue.bytes >= 3_000_000)
    daemon.program.wait_for_output("stopped")
    gate.touch()
    status = daemon.wait_for_status("the run has failed", state="error")
    assert "disk cannot keep up" in status.reason
    subscriber.wait_for_end(run=1)
    logs = subscriber.logs()
    warned = [number for number, text in enumerate(logs) if text.startswith("disk slower than the board")]
    ended = [number for number, text in enumerate(logs) if "disk cannot keep up" in text]
    assert len(warned) == 1
    assert warned < ended
    assert daemon.end() == 0
    record = daemon.run(1).check_closed()
    assert record.counts.readouts + record.counts.empty_readouts == status.board.counters["readouts"]
