"""Programs of `daqd demo`, and Ctrl-C at the worst moment; that they end with who started them, test_demo.py has."""

import os
import signal
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from daqd.commands.dependent import start_dependent


@pytest.fixture
def life_line() -> Iterator[int]:
    reading, writing = os.pipe()
    yield reading
    os.close(writing)
    os.close(reading)


@pytest.fixture
def interrupts() -> Iterator[list[int]]:
    """The interrupts that this process has got."""
    got: list[int] = []
    before = signal.signal(signal.SIGINT, lambda number, _: got.append(number))
    yield got
    signal.signal(signal.SIGINT, before)


@pytest.mark.parametrize("quiet", [False, True], ids=["on the terminal", "with a log"])
def test_ctrl_c_while_a_program_is_started(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, life_line: int, interrupts: list[int], quiet: bool
) -> None:
    """It is for who starts the program, and gets there; the program is not ended while it is being imported."""
    (tmp_path / "says_so.py").write_text("import pathlib; pathlib.Path('alive').write_text('yes')")
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join([str(tmp_path), os.environ.get("PYTHONPATH", "")]))
    monkeypatch.chdir(tmp_path)

    class Interrupted(subprocess.Popen[bytes]):
        def __init__(self, *args: Any, **kwargs: Any) -> None:
            os.kill(os.getpid(), signal.SIGINT)
            super().__init__(*args, **kwargs)
            os.kill(os.getpid(), signal.SIGINT)
            self.send_signal(signal.SIGINT)

    monkeypatch.setattr(subprocess, "Popen", Interrupted)
    with (tmp_path / "log").open("w") as log:
        program = start_dependent(life_line, "says_so", log=log if quiet else None)
        assert interrupts
        assert program.wait() == 0
    assert (tmp_path / "alive").read_text() == "yes"
