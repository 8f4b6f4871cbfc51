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
        self._record: RunRecord | None = None
        self._record_stamp: tuple[int, int] = (0, 0)
        self._gaps_told = 0
        self._index = 0
        self._file = self._open(0, 0)
        self._more = True
        self._refusal = ""

    @property
    def position(self) -> Position | None:
        """Where it is: everything before was given out; None between runs."""
        if self._record is None:
            return None
        return Position(self._record.run, self._index, self._file.offset)

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
        return self._file.lag_bytes

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
        if self._record is None:
            return self._begin()
        events = self._read()
        if events is not None:
            return events
        # Asked before the last read: what is written after that comes with the next call.
        over, finished = self._is_over(), self._file.is_finished()
        events = self._read()
        if events is not None:
            return events
        if self._record is not None and len(self._record.gaps) > self._gaps_told:
            self._gaps_told = len(self._record.gaps)
            return [RunInterrupted(self._record)]
        if finished:
            return self._next_file()
        return self._end() if over else []

    def _read(self) -> list[FeedEvent] | None:
        """What the open file has to give; None for nothing."""
        try:
            block = self._file.read()
        except ApxFormatError as error:
            self._file.skip_rest()
            self._more = True
            return [Complaint(f"{error}; the rest of this file is not on the stream")]
        if block is None:
            self._more = False
            return None
        self._more = self._file.filled_chunk or not len(block)  # what brought nothing may have more behind it
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
        self._record = record
        self._gaps_told = len(record.gaps)
        self._last_run = run
        self._file = self._open(run, 0) if position is None else self._open(run, position.file, position.offset)
        self._more = True
        return [RunBegan(record, resumed=position is not None)]

    def _open(self, run: int, index: int, offset: int = 0) -> FollowedFile:
        self._index = index
        return FollowedFile(self._store.file_path(run, index), self._store.part_path(run, index), offset)

    def _next_file(self) -> list[FeedEvent]:
        complaints = self._leave_file()
        self._file = self._open(self._last_run, self._index + 1)
        self._more = True
        return complaints

    def _leave_file(self) -> list[FeedEvent]:
        left_over = self._file.leftover_bytes
        self._file.close()
        if not left_over:
            return []
        return [Complaint(f"{self._file.path.name}: {left_over} bytes after the last whole readout")]

    def _end(self) -> list[FeedEvent]:
        record = self._record
        assert record is not None  # noqa: S101 - only called within a run
        complaints = self._leave_file()
        self._file = self._open(0, 0)
        self._record = None
        self._more = True
        if record.state == "running":
            record = record.model_copy(
                update={"state": "interrupted", "end_reason": "the daemon ended without closing it"}
            )
        return [*complaints, RunEnded(record)]

    def close(self) -> None:
        """Close the file that is open."""
        self._file.close()

    def _is_over(self) -> bool:
        """Whether the writer has left this run; reads the record again where it has changed."""
        record = self._record
        assert record is not None  # noqa: S101 - only called within a run
        try:
            status = self._store.record_path(record.run).stat()
            stamp = (status.st_mtime_ns, status.st_ino)
            if stamp != self._record_stamp:
                self._record = record = self._store.read_record(record.run) or record
                self._record_stamp = stamp
        except (OSError, ValueError):
            # Perhaps it can be read the next time; the writer brings back what was removed or moved in its run.
            return record.run <= self._settled_run or self._store.runs()[-1:] > [record.run]
        return record.state != "running" or record.run <= self._settled_run
