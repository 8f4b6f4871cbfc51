"""The lock on a device: who has it, and that it goes with its process."""

import errno
import os
import subprocess
import sys
from pathlib import Path

import pytest

from astropix_runtime.storage import process_lock
from daqd.errors import BoardError
from daqd.process.device_lock import DeviceLock

HOLD = """
import sys
from pathlib import Path
from daqd.process.device_lock import DeviceLock
DeviceLock(Path(sys.argv[1]), "FTDI device 1").acquire()
print("held", flush=True)
sys.stdin.read()
"""


def test_taken_and_given_back(tmp_path: Path) -> None:
    first, second = DeviceLock(tmp_path / "run", "FTDI device 1"), DeviceLock(tmp_path / "run", "FTDI device 1")
    assert first.holder() == ""
    first.acquire()
    first.acquire()
    assert second.holder() == f"process {os.getpid()}"
    with pytest.raises(BoardError, match=f"FTDI device 1 is in use by process {os.getpid()}: end that one first"):
        second.acquire()
    other = DeviceLock(tmp_path / "run", "FTDI device 2")
    other.acquire()
    other.release()
    first.release()
    first.release()
    assert second.holder() == ""
    second.acquire()
    second.release()


def test_it_goes_with_its_process_however_that_ends(tmp_path: Path) -> None:
    command = [sys.executable, "-c", HOLD, str(tmp_path)]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == "held\n"
        lock = DeviceLock(tmp_path, "FTDI device 1")
        with pytest.raises(BoardError, match=f"in use by process {process.pid}:"):
            lock.acquire()
        process.kill()
    assert lock.holder() == ""
    lock.acquire()
    assert lock.path.read_text() == f"{os.getpid()}\n"
    lock.release()


def test_names_that_are_no_file_names(tmp_path: Path) -> None:
    lock = DeviceLock(tmp_path, "serial port /dev/serial/by-id/usb FTDI: 1")
    assert lock.path == tmp_path / "serial-port-dev-serial-by-id-usb-ftdi-1.lock"


def test_no_place_for_locks(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(BoardError, match=r"no lock for FTDI device 1: .*: set daq\.runtime_dir"):
        DeviceLock(tmp_path / "file" / "run", "FTDI device 1").acquire()


def test_a_file_system_without_locks(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*_: object) -> None:
        raise OSError(errno.ENOLCK, "No locks available")

    lock = DeviceLock(tmp_path, "FTDI device 1")
    with monkeypatch.context() as patched:
        patched.setattr("fcntl.flock", fail)
        with pytest.raises(BoardError, match=r"^no lock for FTDI device 1: .*: No locks available: set daq\."):
            lock.acquire()
    lock.acquire()
    lock.release()


def test_a_full_disk_takes_no_signature_and_the_lock_holds_all_the_same(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*_: object) -> int:
        raise OSError(errno.ENOSPC, "No space left on device")

    first, second = DeviceLock(tmp_path, "FTDI device 1"), DeviceLock(tmp_path, "FTDI device 1")
    with monkeypatch.context() as patched:
        patched.setattr("os.write", full)
        first.acquire()
    with pytest.raises(BoardError, match="in use by another process"):
        second.acquire()
    first.release()


def test_who_only_looks_keeps_nobody_away(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """`apx verify` and `daqd probe` have the lock for the moment in which they see that nobody has it."""
    looker = os.open(tmp_path / "ftdi-device-1.lock", os.O_RDWR | os.O_CREAT)
    assert process_lock.try_lock(looker)
    try_lock = process_lock.try_lock
    tried = []

    def try_and_let_go(file: int) -> bool:
        had = try_lock(file)
        if not tried:
            os.close(looker)
        tried.append(had)
        return had

    monkeypatch.setattr(process_lock, "try_lock", try_and_let_go)
    lock = DeviceLock(tmp_path, "FTDI device 1")
    lock.acquire()
    lock.release()
    assert tried[0] is False
