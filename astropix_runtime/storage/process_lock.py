"""One process for each directory, device and socket: locks that end with the process that holds them."""

import contextlib
import os
import sys
from pathlib import Path

from astropix_runtime.storage import process_lock
from protocol.text import reason_of

if sys.platform == "win32":

    def try_lock(_: int) -> bool:
        """Where the system knows no such locks, they are always free."""
        return True

else:
    import fcntl

    def try_lock(file: int) -> bool:
        """Whether the lock on an open file could be had; it lasts as long as the file is open."""
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            return False
        return True


def sign(file: int) -> None:
    """Write into a locked file whose it is, as far as the disk takes it: on a full one, nobody can read who has it."""
    with contextlib.suppress(OSError):
        os.ftruncate(file, 0)
        os.write(file, f"{os.getpid()}\n".encode())


def holder(path: Path) -> str:
    """`process 1234`, if any process (this one included) has the lock; else an empty text. Changes nothing."""
    try:
        file = os.open(path, os.O_RDWR | getattr(os, "O_CLOEXEC", 0))
    except OSError:
        return ""
    try:
        if try_lock(file):
            return ""
        pid = os.read(file, 32).decode(errors="replace").strip()
    finally:
        os.close(file)
    return f"process {pid}" if pid.isdigit() else "another process"


_MAX_ATTEMPTS = 10
"""Who looks whose a lock is has it for that moment: so often, nobody is found to have it, and it is tried again."""


class ProcessLock:
    """An advisory lock on `what`, by the file at `path`. The file says whose it is, and stays.

    Where the system knows no such locks (Windows), it is always free. `failure`: the error that says that it cannot be
    had, and `advice` what to do where the file cannot be used; `way_out`: what to do where somebody has it.
    """

    def __init__(
        self, path: Path, what: str, failure: type[Exception], advice: str, way_out: str = "end that one first"
    ) -> None:
        self.path = path
        self.what = what
        self._failure = failure
        self._advice = advice
        self._way_out = way_out
        self._file: int | None = None

    def acquire(self) -> None:
        """Take the lock; does nothing where it is held already.

        Raises `failure`, which names the process that has it, or says why the file cannot be used.
        """
        if self._file is not None:
            return
        try:
            self.path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
            file = os.open(self.path, os.O_RDWR | os.O_CREAT | getattr(os, "O_CLOEXEC", 0), 0o600)
        except OSError as error:
            raise self._unusable(error) from error
        try:
            self._take(file)
        except BaseException:
            os.close(file)
            raise
        self._file = file

    def _take(self, file: int) -> None:
        holder = ""
        for _ in range(_MAX_ATTEMPTS):
            try:
                if process_lock.try_lock(file):
                    process_lock.sign(file)
                    return
            except OSError as error:
                raise self._unusable(error) from error
            if holder := self.holder():
                break
        raise self._failure(f"{self.what} is in use by {holder or 'another process'}: {self._way_out}")

    def _unusable(self, error: OSError) -> Exception:
        return self._failure(f"no lock for {self.what}: {self.path}: {reason_of(error)}: {self._advice}")

    def release(self) -> None:
        """Let it go; does nothing where it is not held."""
        if self._file is not None:
            os.close(self._file)
            self._file = None

    def holder(self) -> str:
        """`process 1234`, if any process (this one included) has the lock; else an empty text. Changes nothing."""
        return process_lock.holder(self.path)
