"""The follower: reads the files of runs while they grow, as one reads a log."""

from dataclasses import dataclass

from daqd.following.feed import Complaint, Feed, FeedEvent, ReadoutsRead, RunBegan, RunEnded, RunInterrupted
from daqd.following.followed_file import FollowedFile
from daqd.runs.run_store import RunStore
from protocol.errors import ApxFormatError
from protocol.run_record import RunRecord


@dataclass(frozen=True)
class Position:
    """A place between two records: byte `offset` of file `file` of run `run`."""

    run: int
    file: int
    offset: int


class Follower(Feed):
    """Follows the runs in a data directory from `position` on, or those after `after_run`.

    Runs up to `settled_run` have no writer any more: they end where their files end, whatever their record says.
    """

    def __init__(
        self, store: RunStore, *, after_run: int, settled_run: int = 0, position: Position | None = None
    ) -> None:
        self._store = store
        self._last_run = after_run
        self._settled_run = settled_run
        self._resume = position
        self._current: _FollowedRun | None = None
        self._more = True
        self._refusal = ""

    @property
    def position(self) -> Position | None:
        """Where it is: everything before was given out; None between runs."""
        run = self._current
        return None if run is None else Position(run.record.run, run.index, run.file.offset)

    @property
    def last_run(self) -> int:
        """The run it is in, or was in last."""
        return self._last_run

    @property
    def exhausted(self) -> bool:
        """Never: another run may begin."""
        return False

    @property
    def lag_bytes(self) -> int:
        """Bytes of the open file that were not given out."""
        return 0 if self._current is None else self._current.file.lag_bytes

    def wait_s(self) -> float | None:
        """At once while there is more to read."""
        return 0.0 if self._more else None

    def poll(self) -> list[FeedEvent]:
        """One step: a run's beginning, a chunk of its readouts, or its end.

        Where the disk or its permissions refuse, that is said once, and the step is tried again the next time.
        """
        try:
            events = self._step()
        except OSError as error:
            self._more = False
            said, self._refusal = self._refusal, f"the files cannot be read: {error}"
            return [] if said == self._refusal else [Complaint(self._refusal)]
        self._refusal = ""
        return events

    def _step(self) -> list[FeedEvent]:
        run = self._current
        if run is None:
            return self._begin()
        events = self._read(run.file)
        if events is not None:
            return events
        # Asked before the last read: what is written after that comes with the next call.
        over, finished = self._is_over(run), run.file.is_finished()
        events = self._read(run.file)
        if events is not None:
            return events
        if len(run.record.gaps) > run.gaps_reported:
            run.gaps_reported = len(run.record.gaps)
            return [RunInterrupted(run.record)]
        if finished:
            return self._next_file(run)
        return self._end(run) if over else []

    def _read(self, file: FollowedFile) -> list[FeedEvent] | None:
        """What the open file has to give; None for nothing."""
        try:
            block = file.read()
        except ApxFormatError as error:
            file.skip_rest()
            self._more = True
            return [Complaint(f"{error}; the rest of this file is not on the stream")]
        if block is None:
            self._more = False
            return None
        self._more = file.filled_chunk or not len(block)  # what brought nothing may have more behind it
        return [ReadoutsRead(block)] if len(block) else []

    def _begin(self) -> list[FeedEvent]:
        self._more = False
        later = [run for run in self._store.runs() if run > self._last_run]
        position = self._resume
        run = position.run if position is not None else next(iter(later), None)
        if run is None:
            return []
        try:
            record = self._store.read_record(run)
        except (OSError, ValueError) as error:
            if isinstance(error, OSError) and run > self._settled_run and later in ([], [run]):
                raise  # it goes on, and none waits behind it: perhaps it can be read the next time
            self._resume = None
            self._last_run = run
            self._more = True
            return [Complaint(f"run {run} is not on the stream: {error}")]
        self._resume = None
        if record is None:
            if run <= self._settled_run or later[-1:] > [run]:
                self._last_run = run  # whoever claimed the number did not live to begin the run
                self._more = True
            return []
        self._last_run = run
        index, offset = (0, 0) if position is None else (position.file, position.offset)
        self._current = _FollowedRun(record, index, self._file(run, index, offset), len(record.gaps))
        self._more = True
        return [RunBegan(record, resumed=position is not None)]

    def _file(self, run: int, index: int, offset: int = 0) -> FollowedFile:
        return FollowedFile(self._store.file_path(run, index), self._store.part_path(run, index), offset)

    def _next_file(self, run: "_FollowedRun") -> list[FeedEvent]:
        complaints = run.leave_file()
        run.index += 1
        run.file = self._file(run.record.run, run.index)
        self._more = True
        return complaints

    def _end(self, run: "_FollowedRun") -> list[FeedEvent]:
        complaints = run.leave_file()
        self._current = None
        self._more = True
        record = run.record
        if record.state == "running":
            record = record.model_copy(
                update={"state": "interrupted", "end_reason": "the daemon ended without closing it"}
            )
        return [*complaints, RunEnded(record)]

    def close(self) -> None:
        """Close the file that is open."""
        if self._current is not None:
            self._current.file.close()

    def _is_over(self, run: "_FollowedRun") -> bool:
        """Whether the writer has left this run; reads the record again where it has changed."""
        number = run.record.run
        try:
            status = self._store.record_path(number).stat()
            stamp = (status.st_mtime_ns, status.st_ino)
            if stamp != run.record_stamp:
                run.record = self._store.read_record(number) or run.record
                run.record_stamp = stamp
        except (OSError, ValueError):
            # Perhaps it can be read the next time; the writer brings back what was removed or moved in its run.
            return number <= self._settled_run or self._store.runs()[-1:] > [number]
        return run.record.state != "running" or number <= self._settled_run


@dataclass
class _FollowedRun:
    """The run that the follower is in, and where in it: in file `index`. `record_stamp`: that of the record's file."""

    record: RunRecord
    index: int
    file: FollowedFile
    gaps_reported: int
    record_stamp: tuple[int, int] = (0, 0)

    def leave_file(self) -> list[FeedEvent]:
        """Close the file; a complaint about bytes at its end that were not given out."""
        left_over = self.file.leftover_bytes
        self.file.close()
        if not left_over:
            return []
        return [Complaint(f"{self.file.path.name}: {left_over} bytes after the last whole readout")]
