"""What can be asked for: the runs of a data directory, or those that a replay has published."""

import contextlib
from abc import ABC, abstractmethod
from collections.abc import Hashable
from pathlib import Path

from daqd.following.feed import Feed
from daqd.following.follower import Follower, Position
from daqd.runs.run_store import RunStore
from protocol.run_record import RunRecord
from protocol.wire.catch_up import HitsArgs, RunOnDisk, RunsArgs, RunsOnDisk


class ArchivedRun(ABC):
    """A run that can be asked for; `record`: as it is now."""

    def __init__(self, record: RunRecord) -> None:
        self.record = record

    @property
    @abstractmethod
    def identity(self) -> Hashable:
        """What tells it from all others that were or will be here."""

    @property
    @abstractmethod
    def recording(self) -> Hashable:
        """What tells its files from those of others."""

    @property
    def pass_(self) -> int | None:
        """In a replay the pass through the files, from 1; None of a run that was taken here."""
        return None

    @abstractmethod
    def names(self, file: int) -> tuple[Path, ...]:
        """What the file with this index may be called, from 0; empty where there is none."""

    @abstractmethod
    def follow(self, place: Position) -> Feed:
        """Its readouts from there on, and its end."""


class Archive(ABC):
    """The runs that can be asked for."""

    @abstractmethod
    def list_runs(self, args: RunsArgs) -> RunsOnDisk:
        """What there is, in the order of their numbers."""

    @abstractmethod
    def find(self, args: HitsArgs) -> ArchivedRun | None:
        """The run that is meant, None where there is none; `OSError`, `ValueError` where its record cannot be read."""


class DataDirectory(Archive):
    """The runs in a data directory, also the one that is being taken; those up to `settled_run` have no writer."""

    def __init__(self, store: RunStore, settled_run: int) -> None:
        self._store = store
        self._settled_run = settled_run

    def list_runs(self, args: RunsArgs) -> RunsOnDisk:
        """What there is on disk."""
        found: list[RunOnDisk] = []
        later = [run for run in self._store.runs() if run > args.after]
        for run in later[: args.number]:
            with contextlib.suppress(OSError, ValueError):  # one that cannot be read cannot be asked for
                record = self._store.read_record(run)
                if record is not None:
                    found.append(RunOnDisk.of(record))
        return RunsOnDisk(runs=tuple(found), more=len(later) > args.number)

    def find(self, args: HitsArgs) -> "StoredRun | None":
        """The run with that number; a daemon has no passes but the one that is live."""
        record = None if args.pass_ else self._store.read_record(args.run)
        return None if record is None else StoredRun(self._store, record, self._settled_run)


class StoredRun(ArchivedRun):
    """A run of a data directory."""

    def __init__(self, store: RunStore, record: RunRecord, settled_run: int) -> None:
        super().__init__(record)
        self._store = store
        self._settled_run = settled_run

    @property
    def identity(self) -> int:
        """Its number."""
        return self.record.run

    @property
    def recording(self) -> int:
        """Its number."""
        return self.record.run

    def names(self, file: int) -> tuple[Path, ...]:
        """Renamed from the first to the second, perhaps just now."""
        run = self.record.run
        return self._store.part_path(run, file), self._store.file_path(run, file)

    def follow(self, place: Position) -> Follower:
        """As the publisher follows it."""
        before = self.record.run - 1
        return Follower(self._store, after_run=before, settled_run=self._settled_run, position=place)
