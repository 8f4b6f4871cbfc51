"""One daemon for each device: a lock that ends with the process that holds it."""

import os
import re
import sys
from pathlib import Path

from daqd.errors import BoardError


class DeviceLock:
    """An advisory lock on a file of `folder` that is named after the device. The file says whose it is, and stays.

    Where the system knows no such locks (Windows), it is always free.
    """

    def __init__(self, folder: Path, device: str) -> None:
        self.device = device
        self.path = folder / f"{re.sub(r'[^A-Za-z0-9.-]+', '-', device).strip('-').lower()}.lock"
        self._file: int | None = None

    def acquire(self) -> None:
        """Take the lock; does nothing where it is held already.

        Raises `BoardError` that names the process that has it, or says why the file cannot be used.
        """
        if self._file is not None:
            return
        try:
            self.path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
            file = os.open(self.path, os.O_RDWR | os.O_CREAT | getattr(os, "O_CLOEXEC", 0), 0o600)
        except OSError as error:
            raise BoardError(
                f"no lock for {self.device}: {self.path}: {error.strerror}: set daq.runtime_dir to a directory of "
                "this user"
            ) from error
        if not _lock(file):
            os.close(file)
            raise BoardError(f"{self.device} is in use by {self.holder() or 'another process'}: end that one first")
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
