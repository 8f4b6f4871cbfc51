"""One daemon for each device and directory: locks that end with the process that holds them."""

import os
import re
from pathlib import Path

from daqd.errors import BoardError, DaqError
from protocol.storage import file_lock


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
        if not file_lock.try_lock(file):
            os.close(file)
            raise self._failure(f"{self.what} is in use by {self.holder() or 'another process'}: end that one first")
        file_lock.sign(file)
        self._file = file

    def release(self) -> None:
        """Let it go; does nothing where it is not held."""
        if self._file is not None:
            os.close(self._file)
            self._file = None

    def holder(self) -> str:
        """`process 1234`, if any process (this one included) has the lock; else an empty text. Changes nothing."""
        return file_lock.holder(self.path)


class DeviceLock(ProcessLock):
    """The lock on a device: a file of `folder` that is named after it. Fails with `BoardError`."""

    def __init__(self, folder: Path, device: str) -> None:
        name = f"{re.sub(r'[^A-Za-z0-9.-]+', '-', device).strip('-').lower()}.lock"
        super().__init__(folder / name, device, BoardError, "set daq.runtime_dir to a directory of this user")
