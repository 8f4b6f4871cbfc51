"""One daemon for each device and directory: locks that end with the process that holds them."""

import os
import re
import sys
from pathlib import Path

from daqd.errors import BoardError, DaqError


class ProcessLock:
    """An advisory lock on `what`, by the file at `path`. The file says whose it is, and stays.

    Where the system knows no such locks (Windows), it is always free. `failure`: the error that says that it cannot be
    had, and `advice` what to do where the file cannot be used.
    """

    def __init__(self, path: Path, what: str, failure: type[DaqError], advice: str) -> None:
        self.path = path
        self.what = what
        self._failure = failure
        self._advice = advice
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
            raise self._failure(f"no lock for {self.what}: {self.path}: {error.strerror}: {self._advice}") from error
        if not _lock(file):
            os.close(file)
            raise self._failure(f"{self.what} is in use by {self.holder() or 'another process'}: end that one first")
        os.ftruncate(file, 0)
        os.write(file, f"{os.getpid()}\n".encode())
        self._file = file

    def release(self) -> None:
        """Let it go; does nothing where it is not held."""
        if self._file is not None:
            os.close(self._file)
            self._file = None

    def holder(self) -> str:
        """`process 1234`, if any process (this one included) has the lock; else an empty text. Changes nothing."""
        try:
            file = os.open(self.path, os.O_RDWR | getattr(os, "O_CLOEXEC", 0))
        except OSError:
            return ""
        try:
            if _lock(file):
                return ""
            pid = os.read(file, 32).decode(errors="replace").strip()
        finally:
            os.close(file)
        return f"process {pid}" if pid.isdigit() else "another process"


class DeviceLock(ProcessLock):
    """The lock on a device: a file of `folder` that is named after it. Fails with `BoardError`."""

    def __init__(self, folder: Path, device: str) -> None:
        name = f"{re.sub(r'[^A-Za-z0-9.-]+', '-', device).strip('-').lower()}.lock"
        super().__init__(folder / name, device, BoardError, "set daq.runtime_dir to a directory of this user")


if sys.platform == "win32":

    def _lock(_: int) -> bool:
        return True

else:
    import fcntl

    def _lock(file: int) -> bool:
        """Whether the lock could be had; it lasts as long as the file is open."""
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            return False
        return True
