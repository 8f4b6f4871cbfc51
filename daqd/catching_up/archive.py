"""What can be asked for: the runs of a data directory, or those that a replay has published."""

import contextlib
import errno
import os
from abc import ABC, abstractmethod
from collections.abc import Callable, Hashable, Sequence
from pathlib import Path

from daqd.following.feed import Complaint, Feed, FeedEvent, ReadoutsRead, RunEnded
from daqd.following.followed_file import FollowedFile
from daqd.following.follower import Follower, Position
from daqd.following.recorded_runs import RecordedRun, ended, now_called
from daqd.following.replay_progress import ReplayedRun, ReplayView
from daqd.runs.run_store import RunStore
from protocol.apx import ApxReader
from protocol.errors import ApxFormatError
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


class ReplayArchive(Archive):
    """The runs that a replay has begun, by what it tells of itself."""

    def __init__(self, view: ReplayView) -> None:
        self._view = view
        self._recorded: dict[int, RecordedRun] = {}

    def list_runs(self, args: RunsArgs) -> RunsOnDisk:
        """Each run once, as it was on the stream the last time."""
        latest = {self._number_of(each): each for each in self._view.runs()}
        later = sorted(run for run in latest if run > args.after)
        found = []
        for run in later[: args.number]:
            try:
                record = self._record(latest[run])
            except (OSError, ValueError):  # its file is gone: it cannot be asked for
                continue
            found.append(RunOnDisk.of(record).model_copy(update={"pass_": latest[run].pass_}))
        return RunsOnDisk(runs=tuple(found), more=len(later) > args.number)

    def find(self, args: HitsArgs) -> "ReplayedPast | None":
        """The pass that is meant, or else the last one; None where another publisher is."""
        if args.pub not in (None, self._view.description.pub):
            return None
        meant = [
            each for each in self._view.runs() if self._number_of(each) == args.run and args.pass_ in (None, each.pass_)
        ]
        return ReplayedPast(self._view, meant[-1], self._record(meant[-1])) if meant else None

    def _number_of(self, replayed: ReplayedRun) -> int:
        return self._view.description.runs[replayed.place][0]

    def _record(self, replayed: ReplayedRun) -> RunRecord:
        """Its record as it is now; `OSError`, `ValueError` where the file can be read no more."""
        if replayed.place not in self._recorded:
            run, files = self._view.description.runs[replayed.place]
            with ApxReader(now_called(files[0])) as reader:
                self._recorded[replayed.place] = RecordedRun(run, reader.header, files)
        record = self._recorded[replayed.place].record(replayed.begin_ns, self._view.description.chips)
        return ended(record, replayed.end_ns) if replayed.end_ns else record


class ReplayedPast(ArchivedRun):
    """A run that a replay has begun."""

    def __init__(self, view: ReplayView, replayed: ReplayedRun, record: RunRecord) -> None:
        super().__init__(record)
        self._view = view
        self._replayed = replayed
        self._files = view.description.runs[replayed.place][1]

    @property
    def identity(self) -> Hashable:
        """How many were begun before it."""
        return self._replayed.number

    @property
    def recording(self) -> Hashable:
        """Where it is in what is replayed."""
        return self._replayed.place

    @property
    def pass_(self) -> int:
        """The pass through the files."""
        return self._replayed.pass_

    def names(self, file: int) -> tuple[Path, ...]:
        """As it was given, or as it is called since its daemon has finished it."""
        return (now_called(self._files[file]),) if file < len(self._files) else ()

    def follow(self, place: Position) -> Feed:
        """As far as it was published."""
        return RecordedFollower(self._files, self.record, self._progress, place)

    def _progress(self) -> ReplayedRun:
        """Where the replay is in it; where it was last, when that is not known any more."""
        self._replayed = self._view.run(self._replayed.number) or self._replayed
        return self._replayed


class RecordedFollower(Feed):
    """Gives out the readouts in `files` from `position` on, up to where `progress` says that the replay is.

    What comes then depends on how far that is by then; when it is over, `RunEnded` with `record`. A damaged file is
    left where the replay has left it. `OSError` from `poll` as the disk gives it.
    """

    def __init__(
        self, files: Sequence[Path], record: RunRecord, progress: Callable[[], ReplayedRun], position: Position
    ) -> None:
        self._files = files
        self._record = record
        self._progress = progress
        self._index = position.file
        self._file = FollowedFile(now_called(files[position.file]), offset=position.offset)
        self._more = True
        self._ended = False

    @property
    def exhausted(self) -> bool:
        """Whether the end was replayed."""
        return self._ended

    def wait_s(self) -> float | None:
        """At once while there is more to read."""
        return 0.0 if self._more else None

    def poll(self) -> list[FeedEvent]:
        """One step: a chunk of readouts, another file, or the end."""
        if self._ended:
            return []
        replayed = self._progress()
        last = self._index >= replayed.file
        self._more = True
        if not (last and (self._index > replayed.file or not replayed.offset)):
            try:
                block = self._file.read(replayed.offset if last else None)
            except ApxFormatError as error:
                self._file.skip_rest()
                return [Complaint(str(error))]
            if not self._file.is_open:
                path = self._files[self._index]
                raise FileNotFoundError(errno.ENOENT, os.strerror(errno.ENOENT), str(path))
            if block is not None:
                return [ReadoutsRead(block)] if len(block) else []
        if not last:
            self._file.close()
            self._index += 1
            self._file = FollowedFile(now_called(self._files[self._index]))
        elif replayed.end_ns:
            self._ended = True
            return [RunEnded(ended(self._record, replayed.end_ns))]
        else:
            self._more = False
        return []

    def close(self) -> None:
        """Close the file that is open."""
        self._file.close()
