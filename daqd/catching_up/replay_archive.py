"""What a replay has published of its recordings, as far as it is, and nothing that it has not."""

import errno
import os
from collections.abc import Callable, Hashable, Sequence
from pathlib import Path

from daqd.catching_up.archive import Archive, ArchivedRun
from daqd.following.feed import Complaint, Feed, FeedEvent, ReadoutsRead, RunEnded
from daqd.following.followed_file import FollowedFile
from daqd.following.follower import Position
from daqd.following.recorded_runs import RecordedRun, ended, now_called
from daqd.following.replay_progress import ReplayedRun, ReplayView
from protocol.apx import ApxReader
from protocol.errors import ApxFormatError
from protocol.run_record import RunRecord
from protocol.wire.catch_up import HitsArgs, RunOnDisk, RunsArgs, RunsOnDisk


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
        return RecordedFollower(self._files, self.record, self._told, place)

    def _told(self) -> ReplayedRun:
        """Where the replay is in it; where it was last, when that is not known any more."""
        self._replayed = self._view.run(self._replayed.number) or self._replayed
        return self._replayed


class RecordedFollower(Feed):
    """Gives out the readouts in `files` from `position` on, up to where `told` says that the replay is.

    What comes then depends on how far that is by then; when it is over, `RunEnded` with `record`. A damaged file is
    left where the replay has left it. `OSError` from `poll` as the disk gives it.
    """

    def __init__(
        self, files: Sequence[Path], record: RunRecord, told: Callable[[], ReplayedRun], position: Position
    ) -> None:
        self._files = files
        self._record = record
        self._told = told
        self._index = position.file
        self._file = FollowedFile(now_called(files[position.file]), offset=position.offset)
        self._more = True
        self._ended = False

    @property
    def exhausted(self) -> bool:
        """Whether the end was told."""
        return self._ended

    def wait_s(self) -> float | None:
        """At once while there is more to read."""
        return 0.0 if self._more else None

    def poll(self) -> list[FeedEvent]:
        """One step: a chunk of readouts, another file, or the end."""
        if self._ended:
            return []
        told = self._told()
        last = self._index >= told.file
        self._more = True
        if not (last and (self._index > told.file or not told.offset)):
            try:
                block = self._file.read(told.offset if last else None)
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
        elif told.end_ns:
            self._ended = True
            return [RunEnded(ended(self._record, told.end_ns))]
        else:
            self._more = False
        return []

    def close(self) -> None:
        """Close the file that is open."""
        self._file.close()
