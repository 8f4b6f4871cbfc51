"""Programs started for a measurement, and what the system knows of them."""

import json
import os
import re
import subprocess
import sys
from pathlib import Path
from types import TracebackType
from typing import Any, Self

REPOSITORY = Path(__file__).resolve().parents[2]
END_S = 60.0


class Program:
    """A Python module that runs as a program; a context manager that ends it."""

    def __init__(self, *arguments: str) -> None:
        self._process = subprocess.Popen(
            [sys.executable, "-m", *arguments],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            cwd=REPOSITORY,
        )

    @property
    def pid(self) -> int:
        """Process id."""
        return self._process.pid

    def wait_for(self, pattern: str) -> re.Match[str]:
        """The first match of `pattern` in what it says on standard error; `RuntimeError` where it ends without."""
        assert self._process.stderr is not None
        said = ""
        while line := self._process.stderr.readline():
            said += line
            match = re.search(pattern, line)
            if match:
                return match
        raise RuntimeError(f"{self._process.args!r} did not say {pattern!r} but:\n{said}")

    def result(self) -> Any:
        """What it printed as JSON, when it has ended; `RuntimeError` where it fails."""
        printed, complaints = self._process.communicate(timeout=END_S)
        if self._process.returncode:
            raise RuntimeError(f"{self._process.args!r} failed:\n{complaints}")
        return json.loads(printed)

    def cpu_s(self) -> tuple[float, float]:
        """Processor time that it, and its children, have used so far, in seconds (Linux)."""
        ticks_per_s = os.sysconf("SC_CLK_TCK")
        return _cpu_ticks(self.pid) / ticks_per_s, sum(map(_cpu_ticks, _children(self.pid))) / ticks_per_s

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._process.poll() is None:
            self._process.terminate()
        try:
            self._process.communicate(timeout=END_S)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.communicate()


def _cpu_ticks(pid: int) -> int:
    # After the name in parentheses, which may hold anything: state is field 3, utime 14, stime 15.
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return int(fields[11]) + int(fields[12])


def _children(pid: int) -> list[int]:
    tasks = Path(f"/proc/{pid}/task")
    return [int(child) for task in tasks.iterdir() for child in (task / "children").read_text().split()]
