"""Processes as the kernel tells of them in /proc: who is whose child, who carries a test's mark."""

import contextlib
import os
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

from tests.deadline import DEADLINE_S

T = TypeVar("T")


MARK = "ASTROPIX_TEST_MARK"
"""Environment variable that every program of a test has, and so all processes that it starts."""

_PROC = Path("/proc")
_POLL_S = 0.02


@dataclass(frozen=True)
class Process:
    """One process, as it was when it was looked at."""

    pid: int
    parent: int
    command: str


def wait_until(what: str, condition: Callable[[], T | None], deadline_s: float = DEADLINE_S) -> T:
    """The first true value of `condition`; fails, naming `what`, where none has come in time."""
    end = time.monotonic() + deadline_s
    while True:
        value = condition()
        if value:
            return value
        assert time.monotonic() < end, f"after {deadline_s:g} s still not: {what}"
        time.sleep(_POLL_S)


def running() -> Iterator[Process]:
    """All processes that have not ended (a zombie has)."""
    for entry in _PROC.iterdir():
        if entry.name.isdigit() and (process := look_at(int(entry.name))) is not None:
            yield process


def look_at(pid: int) -> Process | None:
    """The process `pid`; None where there is none, or it has ended and only waits to be told."""
    try:
        fields = (_PROC / str(pid) / "stat").read_text().rpartition(")")[2].split()
        command = (_PROC / str(pid) / "cmdline").read_bytes().replace(b"\0", b" ").decode(errors="replace").strip()
    except (FileNotFoundError, ProcessLookupError):
        return None
    state, parent = fields[0], int(fields[1])
    return None if state in "ZX" else Process(pid, parent, command)


def children(pid: int) -> list[Process]:
    """What `pid` has started itself and is still there."""
    return [process for process in running() if process.parent == pid]


def marked(mark: str) -> list[Process]:
    """All processes that belong to the test with this mark, wherever they are in the tree."""
    wanted = f"{MARK}={mark}".encode()
    found = []
    for process in running():
        try:
            environment = (_PROC / str(process.pid) / "environ").read_bytes().split(b"\0")
        except (FileNotFoundError, ProcessLookupError, PermissionError):
            continue
        if wanted in environment:
            found.append(process)
    return found


def connections(pid: int) -> int:
    """How many sockets a process has open, those that it listens with among them."""
    number = 0
    for entry in (_PROC / str(pid) / "fd").iterdir():
        with contextlib.suppress(FileNotFoundError):  # closed meanwhile
            number += entry.readlink().name.startswith("socket:")
    return number


def end_at_once(pid: int, signal_number: int) -> None:
    """Send a signal to one process, which may be gone by now."""
    try:
        os.kill(pid, signal_number)
    except ProcessLookupError:
        return


def wait_until_gone(process: Process) -> None:
    """Until that process has ended."""
    wait_until(f"{process.command} has ended", lambda: look_at(process.pid) != process)
