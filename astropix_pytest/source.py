"""A program that publishes, for the time of a test."""

import os
import re
import subprocess
import sys
import time
from abc import ABC, abstractmethod
from pathlib import Path
from typing import Self

from astropix_pytest.recording import Recording
from protocol.hit import HitTable
from protocol.ledger import Ledger

DEADLINE_S = 60.0
"""Nothing takes so long, but on a busy machine."""

_LOOK_S = 0.01
_LAST_LINES = 20
_SERVICE = ("RUNTIME_DIRECTORY", "NOTIFY_SOCKET", "WATCHDOG_USEC", "WATCHDOG_PID", "JOURNAL_STREAM")
"""What a service manager says to those that it starts; the tests may be one of them, the program here is not."""


class SourceError(Exception):
    """The program did not start, failed, or was not done in time; the last lines that it said are in the text."""


class Source(ABC):
    """A context manager. `endpoint`: where the stream is. `catch_up`: where the past can be asked for; "": nowhere."""

    endpoint: str
    catch_up: str = ""

    def __init__(self, folder: Path, *arguments: str) -> None:
        self._log_path = folder / "log.txt"
        self._name = f"daqd {arguments[0]}"
        with self._log_path.open("wb") as log:
            self._process = subprocess.Popen(
                [sys.executable, "-m", "daqd.cli", *arguments],
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
                cwd=folder,
                env={name: value for name, value in os.environ.items() if name not in _SERVICE},
                start_new_session=True,  # Ctrl-C is for pytest, which then closes this
            )

    @property
    @abstractmethod
    def recording(self) -> Recording:
        """The run in files."""

    @property
    def hits(self) -> HitTable:
        """What a reader of the stream must get of the run: all hits in order, as `protocol.hit` describes the table."""
        return self.recording.hits

    @property
    def ledger(self) -> Ledger:
        """What each byte of the run was, as the stream tells at its end."""
        return self.recording.ledger

    @property
    def pid(self) -> int:
        """Number of the process, for tests that stop or kill it."""
        return self._process.pid

    @property
    def log(self) -> str:
        """What the program has said so far."""
        return self._log_path.read_text(encoding="utf-8", errors="replace")

    @abstractmethod
    def wait_until_done(self, timeout_s: float = DEADLINE_S) -> None:
        """Until everything was published; `SourceError` where it was not in time."""

    def close(self) -> None:
        """End the program."""
        if self._process.poll() is None:
            self._process.terminate()
        try:
            self._process.wait(DEADLINE_S)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()
            raise self._error("has not ended when it was asked to") from None

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def _wait_until_said(
        self, pattern: str, timeout_s: float = DEADLINE_S, what: str = "has not started"
    ) -> re.Match[str]:
        """The first match of `pattern` in what the program says."""
        deadline = time.monotonic() + timeout_s
        while (found := re.search(pattern, self.log)) is None:
            if self._process.poll() is not None:
                raise self._error(f"ended with {self._process.returncode}")
            if time.monotonic() > deadline:
                self.close()
                raise self._error(f"{what} within {timeout_s:g} s")
            time.sleep(_LOOK_S)
        return found

    def _error(self, what: str) -> SourceError:
        said = "\n".join(self.log.splitlines()[-_LAST_LINES:])
        return SourceError(f"{self._name} {what}; it said:\n{said}")
