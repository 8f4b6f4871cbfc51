"""Locks that end with the process that holds them; the file says whose it is (docs/formats.md, "Run directory")."""

import contextlib
import os
import sys
from pathlib import Path

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
