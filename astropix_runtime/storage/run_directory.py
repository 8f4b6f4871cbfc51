"""What there is in the directory of a run (docs/formats.md, "Run directory")."""

import re
from collections.abc import Iterable
from pathlib import Path

from astropix_runtime.storage.durable import DRAFT_SUFFIX
from protocol.errors import NoRecordingsError
from protocol.run_record import CUT_SUFFIX, PART_SUFFIX, RunRecord, file_name, run_name

_RUN_DIRECTORY = re.compile(r"run_(\d{6,})")
_FILE = re.compile(rf"(run_\d{{6,}})_(\d{{4,}})\.apx({re.escape(PART_SUFFIX)})?")
_RESERVE = ".reserve"


def run_number(directory: Path) -> int | None:
    """The run whose directory this is by its name; None where it is none."""
    return run_of_name(directory.name)


def run_of_name(name: str) -> int | None:
    """The same for the name alone: the inverse of `run_name`."""
    match = _RUN_DIRECTORY.fullmatch(name)
    return int(match[1]) if match else None


def run_name_of(path: Path) -> str | None:
    """`run_NNNNNN` where a file (finished or not) is called as one of that run, wherever it is; None for others."""
    match = _FILE.fullmatch(path.name)
    return match[1] if match else None


def run_directory_of(path: Path) -> Path | None:
    """The directory of the run that a file (finished or not) belongs to by its name and place; None for others."""
    match = _FILE.fullmatch(path.name)
    parent = path.absolute().parent
    return parent if match and match[1] == parent.name and run_number(parent) is not None else None


class RunDirectory:
    """A run's directory, as it was when it was looked at.

    `finished` and `parts`: its files by their index. `cuts`: what was put aside of them. `leftovers`: what a daemon
    that did not live to tidy up has left, and means nothing any more. `ValueError` for a directory of another name.
    """

    def __init__(self, path: Path) -> None:
        run = run_number(path)
        if run is None:
            raise ValueError(f"{path} is not the directory of a run: those are called {run_name(0)} and so on")
        self.path = path
        self.run = run
        self.record_path = path / f"{path.name}.json"
        self.finished: dict[int, Path] = {}
        self.parts: dict[int, Path] = {}
        self.cuts: list[Path] = []
        self.leftovers: list[Path] = []
        for entry in sorted(path.iterdir()):
            self._sort_in(entry)

    def _sort_in(self, entry: Path) -> None:
        match = _FILE.fullmatch(entry.name)
        if match and match[1] == self.path.name:
            files = self.parts if match[3] else self.finished
            files[int(match[2])] = entry
        elif entry.name.startswith(self.path.name) and f".apx{CUT_SUFFIX}" in entry.name.removesuffix(DRAFT_SUFFIX):
            (self.leftovers if entry.name.endswith(DRAFT_SUFFIX) else self.cuts).append(entry)
        elif entry.name == _RESERVE or entry.name.endswith(DRAFT_SUFFIX):
            self.leftovers.append(entry)

    @property
    def draft(self) -> Path:
        """A version of the record that was not in its place yet, if it is there."""
        return self.record_path.with_name(self.record_path.name + DRAFT_SUFFIX)

    def read_record(self) -> RunRecord | None:
        """The record, None where there is none; `ValueError` where it cannot be read, `OSError` as from `open`."""
        return _read(self.record_path)

    def read_draft(self) -> RunRecord | None:
        """The version of the record that was not in its place yet, None where there is none that is whole."""
        try:
            return _read(self.draft)
        except ValueError:
            return None

    def file_path(self, index: int) -> Path:
        """Where a finished file is, or would be."""
        return self.path / file_name(self.run, index)


def _read(path: Path) -> RunRecord | None:
    try:
        return RunRecord.from_json(path.read_bytes())
    except FileNotFoundError:
        return None


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
