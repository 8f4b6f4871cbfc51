"""The lock on a device: who has it, and that it goes with its process."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from daqd.errors import BoardError
from daqd.process.process_lock import DeviceLock

HOLD = """
import sys
from pathlib import Path
from daqd.process.process_lock import DeviceLock
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
