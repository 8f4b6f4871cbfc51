"""What the paths on the command line mean: files, runs, or whole data directories; and who else works there."""

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from apx.subcommand import ToolError
from astropix_runtime.storage import process_lock
from astropix_runtime.storage.run_directory import run_directory_of, run_name_of, run_number

_LOCK = ".lock"


def places_of(path: Path) -> list[Path]:
    """What there is to look at for a path: a file, or directories of runs.

    `OSError` as the disk says, `ToolError` for a directory of something else.
    """
    if not path.is_dir():
        path.stat()
        return [path]
    if run_number(path) is not None:
        return [path]
    runs = sorted((run, each) for each in path.iterdir() if (run := run_number(each)) is not None and each.is_dir())
    named = sorted({name for each in path.iterdir() if (name := run_name_of(each)) is not None})
    if not runs and named:
        raise ToolError(f"{path} has files of {named[0]} and another name: rename it to {named[0]}, or give files")
    if not runs:
        raise ToolError(f"{path} is neither the directory of a run nor one that holds runs: give files")
    return [each for _, each in runs]


def run_directory(place: Path) -> Path | None:
    """The directory of the run that it is, or is a file of; None for a file on its own."""
    return place if place.is_dir() else run_directory_of(place)


def may_be_taken(directory: Path) -> bool:
    """Whether a run that is open can be one that is being taken: a daemon has its data directory, and it is the last.

    Also where this user may not see whether a daemon is there.
    """
    data_dir = directory.absolute().parent
    lock = data_dir / _LOCK
    last = max((run_number(each) or 0 for each in data_dir.iterdir()), default=0)
    if not lock.exists() or run_number(directory.absolute()) != last:
        return False
    return not os.access(lock, os.R_OK | os.W_OK) or bool(process_lock.holder(lock))


@contextmanager
def held(directory: Path | None) -> Iterator[None]:
    """Keep daemons out of the data directory of the run in `directory`; `ToolError` where one is in it.

    None, and a data directory that no daemon has ever had, need no keeping.
    """
    path = None if directory is None else directory.absolute().parent / _LOCK
    if path is None or not path.exists():
        yield
        return
    file = os.open(path, os.O_RDWR | getattr(os, "O_CLOEXEC", 0))
    try:
        if not process_lock.try_lock(file):
            who = process_lock.holder(path) or "another process"
            raise ToolError(f"{path.parent} is in use by {who}: end that daemon first (daqctl shutdown)")
        process_lock.sign(file)
        yield
    finally:
        os.close(file)
