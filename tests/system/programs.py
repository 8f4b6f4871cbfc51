"""Real programs, started as a user would, each with its log."""

import json
import os
import re
import signal
import subprocess
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tests.system.processes import DEADLINE_S, Process, children, wait_until


def program_path(name: str) -> str:
    """The installed program of that name, beside the Python that runs the tests."""
    return str(Path(sys.executable).with_name(name))


@dataclass(frozen=True)
class Finished:
    """A program that has ended by itself."""

    code: int
    stdout: str
    stderr: str

    def json(self) -> Any:
        """What it printed with `--json`."""
        return json.loads(self.stdout)


class Program:
    """A program that runs; what it says goes into `log_path`. It leads a session and a process group of its own."""

    def __init__(self, argv: Sequence[str], log_path: Path, environment: Mapping[str, str], cwd: Path) -> None:
        self.name = Path(argv[0]).name
        self.log_path = log_path
        with log_path.open("wb") as log:
            self._process = subprocess.Popen(
                list(argv),
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
                env=dict(environment),
                cwd=cwd,
                start_new_session=True,
            )

    @property
    def pid(self) -> int:
        return self._process.pid

    @property
    def code(self) -> int | None:
        """Exit code; None while it runs."""
        return self._process.poll()

    @property
    def output(self) -> str:
        """What it has said so far."""
        return self.log_path.read_text(errors="replace")

    def children(self) -> list[Process]:
        return children(self.pid)

    def child(self, command: str) -> Process:
        """The child whose command line contains `command`, as soon as there is one."""
        return wait_until(
            f"{self.name} has a child {command}",
            lambda: next((each for each in self._living_children() if command in each.command), None),
        )

    def _living_children(self) -> list[Process]:
        assert self.code is None, f"{self.name} has ended with {self.code}:\n{self.output}"
        return self.children()

    def wait_for_output(self, pattern: str, deadline_s: float = DEADLINE_S) -> re.Match[str]:
        """The first match of `pattern` in what it says."""

        def look() -> re.Match[str] | None:
            ended = self.code is not None
            match = re.search(pattern, self.output, re.MULTILINE)
            assert match or not ended, f"{self.name} ended with {self.code} without saying {pattern!r}:\n{self.output}"
            return match

        return wait_until(f"{self.name} says {pattern!r}", look, deadline_s)

    def send(self, number: signal.Signals) -> None:
        """To this process only."""
        self._process.send_signal(number)

    def send_to_group(self, number: signal.Signals) -> None:
        """To the whole process group, as a terminal does on Ctrl-C."""
        os.killpg(self.pid, number)

    def wait(self, deadline_s: float = DEADLINE_S) -> int:
        """Exit code, when it has ended by itself."""
        try:
            return self._process.wait(deadline_s)
        except subprocess.TimeoutExpired:
            raise AssertionError(f"{self.name} has not ended in {deadline_s:g} s; it said:\n{self.output}") from None

    def end(self) -> int:
        """Ask it to end (SIGTERM) where it runs, and wait; its exit code."""
        if self.code is None:
            self.send(signal.SIGTERM)
        return self.wait()

    def end_again_and_again(self) -> int:
        """Send SIGINT and SIGTERM in turn to its process group until it has ended; its exit code."""
        numbers = [signal.SIGTERM, signal.SIGINT]

        def look() -> bool:
            if self.code is None:
                numbers.reverse()
                self.send_to_group(numbers[0])
            return self.code is not None

        wait_until(f"{self.name} has ended", look)
        return self.wait()

    def kill(self) -> None:
        """`kill -9`."""
        self._process.kill()
        self._process.wait()
