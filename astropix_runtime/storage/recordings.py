"""Which recordings somebody means who names files, directories of runs, or whole data directories."""

from collections.abc import Iterable
from pathlib import Path

from astropix_runtime.storage.run_directory import RunDirectory, run_number
from protocol.errors import NoRecordingsError


def recordings_in(paths: Iterable[Path]) -> list[Path]:
    """The files to read for `paths`, in order: of a directory those of its run, or of all runs in it, or any in it.

    Of a run the finished files come first, then one that is being written. What is no directory is taken as it is,
    there or not. `NoRecordingsError` for a directory without recordings, `OSError` for one that cannot be looked into.
    """
    return [file for path in paths for file in (_in_directory(path) if path.is_dir() else [path])]


def _in_directory(directory: Path) -> list[Path]:
    if run_number(directory) is not None:
        files = _of_run(directory)
    else:
        runs = sorted((run, each) for each in directory.iterdir() if (run := run_number(each)) is not None)
        files = [file for _, each in runs if each.is_dir() for file in _of_run(each)]
        files = files or sorted(directory.glob("*.apx"))
    if not files:
        raise NoRecordingsError(f"{directory} holds no recordings: give .apx files, or the directory of a run")
    return files


def _of_run(directory: Path) -> list[Path]:
    run = RunDirectory(directory)
    return [files[index] for files in (run.finished, run.parts) for index in sorted(files)]
