"""Reads a recorded run as far as it was replayed, as one reads the files of a run that is taken."""

import errno
import os
from collections.abc import Callable, Sequence
from pathlib import Path

from daqd.following.feed import Complaint, Feed, FeedEvent, ReadoutsRead, RunEnded
from daqd.following.followed_file import FollowedFile
from daqd.following.follower import Position
from daqd.following.recorded_runs import ended, now_called
from daqd.following.replay_progress import ReplayedRun
from protocol.errors import ApxFormatError
from protocol.run_record import RunRecord


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
