"""One process for each directory, device and socket: locks that end with the process that holds them."""

import os
from pathlib import Path

from astropix_runtime.storage import file_lock
from protocol.text import reason_of

_MOST_LOOKERS = 10
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
        for _ in range(_MOST_LOOKERS):
            try:
                if file_lock.try_lock(file):
                    file_lock.sign(file)
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
        return file_lock.holder(self.path)
