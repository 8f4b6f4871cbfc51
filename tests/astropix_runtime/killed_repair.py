"""Repairs that are killed at one of their steps.

    python -m tests.astropix_runtime.killed_repair

forks one for each line of its input, and prints how it ended. Pytest itself has threads: what they hold when a process
is forked, nobody lets go of in the new one, which may then wait for ever.
"""

import io
import json
import os
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from types import TracebackType
from typing import Any, Final, Self

from apx.cli import main as apx
from astropix_runtime.storage.run_repair import plan_run_repair

REPOSITORY = Path(__file__).resolve().parent.parent.parent

STEPS: Final = ("open", "write", "fsync", "replace", "rename", "unlink", "ftruncate", "close")
"""What changes a disk, or could."""


def repair_run(directory: str) -> None:
    """As the daemon does at its start."""
    plan_run_repair(Path(directory)).carry_out()


def mend_run(directory: str) -> None:
    """Finished files, too."""
    plan_run_repair(Path(directory), thorough=True).carry_out()


def repair_file(path: str) -> None:
    """A lone one."""
    if apx(["repair", path]) != 0:
        raise AssertionError(f"apx repair {path} failed")


WORK: Final[dict[str, Callable[[str], None]]] = {work.__name__: work for work in (repair_run, mend_run, repair_file)}


class KilledRepairs:
    """The process that forks them; a context manager."""

    def __enter__(self) -> Self:
        self._process = subprocess.Popen(
            [sys.executable, "-m", __name__], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, cwd=REPOSITORY
        )
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._process.communicate()

    def killed_at(self, step: int, work: Callable[[str], None], path: Path) -> bool:
        """Do `work` in a process that is killed just before its `step`th call that could change the disk, from 0.

        Whether it was: False where it came to its end before. Its errors are errors of the test.
        """
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._process.stdin.write(json.dumps([step, work.__name__, str(path)]) + "\n")
        self._process.stdin.flush()
        code = int(self._process.stdout.readline())
        assert code in (0, -signal.SIGKILL)
        return code != 0


def _die_at(step: int) -> None:
    left = [step]
    os.fsync = lambda _: None  # a kill takes nothing that was written; only a power cut would

    def deadly(function: Callable[..., Any]) -> Callable[..., Any]:
        def call(*arguments: Any, **options: Any) -> Any:
            if left[0] == 0:
                os.kill(os.getpid(), signal.SIGKILL)
            left[0] -= 1
            return function(*arguments, **options)

        return call

    for name in STEPS:
        setattr(os, name, deadly(getattr(os, name)))
    io.open = deadly(io.open)  # what Path.open calls


def main() -> None:
    """Until the end of the input."""
    for line in sys.stdin:
        step, name, path = json.loads(line)
        pid = os.fork()
        if pid == 0:
            code = 1
            try:
                os.dup2(2, 1)  # what it says is for whoever looks at the test
                _die_at(step)
                WORK[name](path)
                code = 0
            finally:
                os._exit(code)
        print(os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]), flush=True)


if __name__ == "__main__":
    main()
