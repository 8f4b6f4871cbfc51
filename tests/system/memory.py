"""How much memory processes hold, watched while something goes on."""

import threading
from collections import defaultdict
from pathlib import Path
from typing import Self

_EVERY_S = 0.2


def resident_bytes(pid: int) -> int:
    """What the process has in memory now; 0 where it is gone."""
    try:
        lines = (Path("/proc") / str(pid) / "status").read_text().splitlines()
    except (FileNotFoundError, ProcessLookupError):
        return 0
    return next((int(line.split()[1]) * 1024 for line in lines if line.startswith("VmRSS:")), 0)


class MemoryWatch:
    """Looks at some processes again and again, in a thread of its own; a context manager."""

    def __init__(self, pids: dict[str, int]) -> None:
        self._pids = pids
        self._seen: dict[str, list[int]] = defaultdict(list)
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._watch, name="memory watch")

    def _watch(self) -> None:
        while not self._stop.wait(_EVERY_S):
            for name, pid in self._pids.items():
                if size := resident_bytes(pid):
                    self._seen[name].append(size)

    def halves(self) -> dict[str, tuple[int, int]]:
        """The most that each process held in the first half of the time, after its first tenth, and in the second."""
        found = {}
        for name, sizes in self._seen.items():
            begin, middle = len(sizes) // 10, len(sizes) // 2
            found[name] = (max(sizes[begin:middle]), max(sizes[middle:]))
        return found

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stop.set()
        self._thread.join()
