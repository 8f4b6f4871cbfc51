"""Programs whose standard output is full, closed, or read by nobody any more."""

import os
import subprocess
from pathlib import Path

import pytest

from tests.system.programs import program_path

REPOSITORY = Path(__file__).resolve().parents[2]
FULL = Path("/dev/full")


def run(redirection: str, program: str, *arguments: str) -> "subprocess.CompletedProcess[str]":
    """The program with buffered output, as users have it."""
    environment = {name: value for name, value in os.environ.items() if name != "PYTHONUNBUFFERED"}
    shell = ["sh", "-c", f'"$@" {redirection}', "sh", program_path(program), *arguments]
    return subprocess.run(
        shell, cwd=REPOSITORY, env=environment, stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=60
    )


@pytest.mark.skipif(not FULL.exists(), reason="no /dev/full here")
def test_a_full_disk_is_one_line() -> None:
    finished = run(f">{FULL}", "daqd", "check-config", "-c", "config/emulated.toml")
    assert finished.stderr == "daqd: standard output: No space left on device\n"
    assert finished.returncode == 1


@pytest.mark.skipif(not FULL.exists(), reason="no /dev/full here")
def test_a_recording_is_not_blamed_for_a_full_disk(tmp_path: Path) -> None:
    recording = tmp_path / "run.apx"
    recording.write_bytes(b"")
    finished = run(f">{FULL}", "apx", "verify", str(recording))
    assert finished.stderr == "apx: standard output: No space left on device\n"
    assert finished.returncode == 1


def test_closed_streams_go_nowhere(tmp_path: Path) -> None:
    """The next file that is opened would have the number of a standard stream, and what is printed would be in it."""
    finished = run("<&- >&- 2>&-", "daqctl", "keygen", "somebody", "--dir", str(tmp_path))
    assert (finished.returncode, finished.stdout, finished.stderr) == (0, "", "")
    assert (tmp_path / "somebody.key").read_text().lstrip("#").strip()
