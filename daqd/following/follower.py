"""The follower: reads the files of runs while they grow, as one reads a log."""

import os
from dataclasses import dataclass
from pathlib import Path

from daqd.following.feed import Complaint, Feed, FeedEvent, ReadoutsRead, RunBegan, RunEnded, RunInterrupted
from daqd.runs.run_store import RunStore
from protocol.apx import HEADER_LENGTH, MAGIC, MAX_HEADER_BYTES
from protocol.block import ReadoutBlock
from protocol.errors import ApxFormatError
from protocol.records import RecordScanner
from protocol.run_record import RunRecord

_CHUNK_BYTES = 1 << 20


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
        self._file = _OpenFile(store, 0, 0)
        self._more = True
        self._refusal = ""

    @property
    def position(self) -> Position | None:
        """Where it is: everything before was given out; None between runs."""
        if self._record is None:
            return None
        return Position(self._record.run, self._file.index, self._file.offset)

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
        position, self._resume = self._resume, None
        run = position.run if position is not None else next(iter(later), None)
        if run is None:
            return []
        try:
            record = self._store.read_record(run)
        except (OSError, ValueError) as error:
            self._last_run = run
            self._more = True
            return [Complaint(f"run {run} is not on the stream: {error}")]
        if record is None:
            if run <= self._settled_run or later[-1:] > [run]:
                self._last_run = run  # whoever claimed the number did not live to begin the run
                self._more = True
            return []
        self._record = record
        self._gaps_told = len(record.gaps)
        self._last_run = run
        self._file = _OpenFile(self._store, run, 0)
        if position is not None:
            self._file = _OpenFile(self._store, run, position.file, position.offset)
        self._more = True
        return [RunBegan(record, resumed=position is not None)]

    def _next_file(self) -> list[FeedEvent]:
        complaints = self._leave_file()
        self._file = _OpenFile(self._store, self._file.run, self._file.index + 1)
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
        self._file = _OpenFile(self._store, 0, 0)
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


class _OpenFile:
    """One file of a run, while it is written or after; opened when it is there."""

    def __init__(self, store: RunStore, run: int, index: int, offset: int = 0) -> None:
        self.run = run
        self.index = index
        self._final = store.file_path(run, index)
        self._part = store.part_path(run, index)
        self._descriptor: int | None = None
        self._offset = offset
        self._scanner: RecordScanner | None = None
        self._skipping = False
        self.filled_chunk = False

    @property
    def path(self) -> Path:
        """Name of the finished file."""
        return self._final

    @property
    def offset(self) -> int:
        """Position after the last whole record given out."""
        return self._offset if self._scanner is None else self._scanner.offset

    @property
    def leftover_bytes(self) -> int:
        """Bytes after the last whole record, of a file that was read to its end; all of one with half a header."""
        if self._descriptor is None or self._skipping:
            return 0
        if self._scanner is None:
            return os.fstat(self._descriptor).st_size
        return self._scanner.leftover_bytes

    @property
    def lag_bytes(self) -> int:
        """Bytes on disk that were not given out."""
        if self._descriptor is None or self._skipping:
            return 0
        return max(0, os.fstat(self._descriptor).st_size - self.offset)

    def read(self) -> ReadoutBlock | None:
        """The next readouts (perhaps none of them whole yet), or None where there is nothing to read now.

        `ApxFormatError` where the header or a record is damaged; the whole records before are given first.
        """
        self.filled_chunk = False
        if self._descriptor is None and not self._open():
            return None
        assert self._descriptor is not None  # noqa: S101 - just opened
        if self._skipping:
            return None
        try:
            if self._scanner is None and not self._pass_header():
                return None
            assert self._scanner is not None  # noqa: S101 - made when the header is passed
            chunk = os.read(self._descriptor, _CHUNK_BYTES)
            self.filled_chunk = len(chunk) == _CHUNK_BYTES
            block = self._scanner.feed(chunk)
        except ApxFormatError as error:
            raise ApxFormatError(error.reason, error.offset, self._final.name) from None
        return block if chunk else None

    def is_finished(self) -> bool:
        """Whether the writer has left it: nothing will be added any more."""
        return self._final.exists()

    def skip_rest(self) -> None:
        """Give nothing more out of this file."""
        self._skipping = True

    def close(self) -> None:
        """Close it if it is open."""
        if self._descriptor is not None:
            os.close(self._descriptor)
            self._descriptor = None

    def _open(self) -> bool:
        for path in (self._part, self._final):  # renamed from the first to the second, perhaps just now
            try:
                self._descriptor = os.open(path, os.O_RDONLY | getattr(os, "O_BINARY", 0))
            except FileNotFoundError:
                continue
            return True
        return False

    def _pass_header(self) -> bool:
        """Find the first record; False while the header is not whole, `ApxFormatError` where it is none."""
        assert self._descriptor is not None  # noqa: S101 - callers open first
        if self._offset == 0:
            os.lseek(self._descriptor, 0, os.SEEK_SET)
            head = os.read(self._descriptor, len(MAGIC) + HEADER_LENGTH.size)
            if len(head) < len(MAGIC) + HEADER_LENGTH.size:
                return False
            (length,) = HEADER_LENGTH.unpack_from(head, len(MAGIC))
            if not head.startswith(MAGIC) or length > MAX_HEADER_BYTES:
                raise ApxFormatError("no header of an .apx file", 0)
            self._offset = len(head) + length
        if os.fstat(self._descriptor).st_size < self._offset:
            return False
        os.lseek(self._descriptor, self._offset, os.SEEK_SET)
        self._scanner = RecordScanner(self._offset)
        return True
