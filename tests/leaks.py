"""What a test must not leave behind: threads, processes, ZeroMQ contexts, open files."""

import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from zmq.utils import garbage

from tests.deadline import DEADLINE_S

_PROC = Path("/proc/self")
_POLL_S = 0.002


@contextmanager
def nothing_left_behind(folder: Path) -> Iterator[None]:
    """Fail where the block leaves something running, or a file in `folder` open, that was not so before.

    What is about to end is given some time. ZeroMQ contexts are seen by their threads, which live from the first socket
    of a context to its end. Where there is no `/proc`, only Python's own threads are seen.
    """
    if not garbage.gc.is_alive():
        garbage.gc.start()  # pyzmq's own thread and context, which are there for the rest of the process
    before = _running()
    yield
    deadline = time.monotonic() + DEADLINE_S
    while left := (_running() - before) | _open_files(folder):
        assert time.monotonic() < deadline, f"left behind: {', '.join(sorted(left))}"
        time.sleep(_POLL_S)


def _running() -> set[str]:
    names = {thread.native_id: thread.name for thread in threading.enumerate()}
    found = {f"thread {name} ({native_id})" for native_id, name in names.items()}
    for task in (_PROC / "task").iterdir() if _PROC.is_dir() else ():
        if int(task.name) not in names:
            found.add(f"thread of a ZeroMQ context or another library ({task.name})")
        try:
            children = (task / "children").read_text().split()
        except (FileNotFoundError, ProcessLookupError):
            continue
        found |= {f"process {pid}" for pid in children}
    return found


def _open_files(folder: Path) -> set[str]:
    found = set()
    for descriptor in (_PROC / "fd").iterdir() if _PROC.is_dir() else ():
        try:
            path = str(descriptor.readlink())
        except FileNotFoundError:
            continue
        if path.startswith(f"{folder}/"):
            found.add(f"open file {path}")
    return found
