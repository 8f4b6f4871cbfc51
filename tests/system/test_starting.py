"""What signals do to programs that are still being imported."""

import os
import signal
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

from tests.conftest import REPOSITORY
from tests.system.processes import DEADLINE_S, wait_until

PROGRAMS = tomllib.loads((REPOSITORY / "pyproject.toml").read_text())["project"]["scripts"]

GATE = """
import pathlib, time
pathlib.Path(__file__).with_suffix(".reached").touch()
time.sleep(600)
"""


def start(program: str, folder: Path) -> "subprocess.Popen[str]":
    """As the installed script of that name does, with modules of `folder` before all others."""
    module, _, function = PROGRAMS[program].partition(":")
    path = os.pathsep.join([str(folder), str(REPOSITORY)])
    return subprocess.Popen(
        [sys.executable, "-c", f"import sys; from {module} import {function}; sys.exit({function}())"],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env={**os.environ, "PYTHONPATH": path},
        start_new_session=True,
    )


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
@pytest.mark.parametrize("program", sorted(PROGRAMS))
def test_a_signal_while_it_is_imported(tmp_path: Path, program: str, number: signal.Signals) -> None:
    """NumPy, which all of them need, takes for ever to be imported here."""
    (tmp_path / "numpy.py").write_text(GATE)
    process = start(program, tmp_path)
    try:
        wait_until("it is being imported", (tmp_path / "numpy.reached").exists)
        process.send_signal(number)
        out, err = process.communicate(timeout=DEADLINE_S)
    finally:
        process.kill()
        process.wait()
    assert (process.returncode, out, err) == (-number, "", "")
