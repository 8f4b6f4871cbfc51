"""The writer: a thread that appends what the reader queued, flushes, and gives notice. Nothing else."""

import logging
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, field

from daqd.acquisition.readout_queue import ReadoutQueue, Worker
from daqd.boards.board import RawReadout
from daqd.errors import DiskError
from daqd.runs.run_files import RunFiles
from protocol.readout import RECORD_HEAD, RECORD_MARKER
from protocol.run_record import Counts, FileRecord
from protocol.text import reason_of

log = logging.getLogger(__name__)

_IDLE_WAIT_S = 0.25
_CHECK_S = 1.0
_RIPE = 0.75
"""Part of the flush time after which the next readout ends the gathering."""
_BATCH_BYTES = 4 << 20
"""Taken from the queue at once: what is being written takes memory beside the queue, several times over."""


@dataclass(frozen=True)
class WriterEnd:
    """How the writing of a run ended.

    `failure`: what the disk said, empty if all is well; `lost_readouts`: read from the board and not written for it.
    """

    failure: str = ""
    lost_readouts: int = 0


class Writer(Worker):
    """Writes one run from `queue` into `files`, until the queue is closed and empty.

    Gathers for `flush_s` at most, so that a batch is one write; in the last quarter of it only until a readout comes.
    What is written is handed to the operating system at once, and synced every `fsync_s`. From its own thread it calls
    `on_written()` after each batch, `on_rotated(file)` after each finished file, and `on_end(WriterEnd)` once.

    `progress` grows at least every half second as long as the disk takes what it is given, if only a piece of it, also
    while there is nothing to write. It stands still while a call to the disk does not come back.
    """

    def __init__(
        self,
        queue: ReadoutQueue,
        files: RunFiles,
        *,
        flush_s: float,
        fsync_s: float,
        on_written: Callable[[], None],
        on_rotated: Callable[[FileRecord], None],
        on_end: Callable[[WriterEnd], None],
    ) -> None:
        super().__init__("writer")
        self._queue = queue
        self._files = files
        self._without_padding = files.readout_class.without_padding
        self._flush_s = flush_s
        self._fsync_s = fsync_s
        self._on_written = on_written
        self._on_rotated = on_rotated
        self._on_end = on_end
        self._rotate = threading.Event()
        self._next_readout = 0
        self._empty_readouts = 0
        self._board_bytes = 0
        self._readout_bytes = 0
        self._turns = 0

    def rotate(self) -> None:
        """Finish the current file before the next record."""
        self._rotate.set()
        self._queue.wake()

    @property
    def progress(self) -> int:
        """How often it went round, or handed a piece to the disk."""
        return self._turns + self._files.writes

    @property
    def counts(self) -> Counts:
        """What has been written so far."""
        return Counts(
            readouts=self._next_readout,
            empty_readouts=self._empty_readouts,
            board_bytes=self._board_bytes,
            readout_bytes=self._readout_bytes,
            padding_bytes=self._board_bytes - self._readout_bytes,
            file_bytes=self._files.size_bytes,
        )

    def _run(self) -> None:
        end = WriterEnd("the writer ended without a reason")
        try:
            end = self._write_run()
        finally:
            self._on_end(end)

    def _write_run(self) -> WriterEnd:
        batch: list[RawReadout] = []
        try:
            self._write_batches(batch)
            self._finish_file(also_empty=True)
        except OSError as error:
            return self._give_up(batch, self._say(error))
        except Exception as error:  # whatever it is, the reader must hear of it, and the run must say why it ended
            log.exception("the writer failed")
            return self._give_up(batch, f"writer: {type(error).__name__}: {error}")
        return WriterEnd()

    def _give_up(self, batch: list[RawReadout], failure: str) -> WriterEnd:
        """Stop the reader, count what cannot be written any more, keep the files that there are."""
        self._queue.refuse()
        lost = len(batch)
        while (rest := self._queue.take(_IDLE_WAIT_S)) is not None:
            self._turns += 1
            lost += len(rest)
        said = [failure]
        try:
            finished = self._files.finish()
        except OSError as error:
            self._files.abandon()
            if self._say(error) not in said:
                said.append(self._say(error))
        else:
            if finished is not None:
                self._on_rotated(finished)
        if self._files.left:
            said.append(f"{self._files.left} keeps its name")
        return WriterEnd("; ".join(said), lost)

    def _say(self, error: OSError) -> str:
        if isinstance(error, DiskError):
            return str(error)
        return f"cannot write {self._files.directory}: {reason_of(error)}"

    def _write_batches(self, batch: list[RawReadout]) -> None:
        """Write until the queue ends; `batch` holds the readouts taken and not yet written."""
        last_sync = last_check = time.monotonic()
        dirty = False
        while (taken := self._queue.take(_IDLE_WAIT_S, _BATCH_BYTES)) is not None:
            self._turns += 1
            batch += taken
            if batch:
                self._write(batch)
                dirty = True
                self._on_written()
            if self._rotate.is_set():
                self._rotate.clear()
                self._finish_file()
            if dirty and time.monotonic() - last_sync >= self._fsync_s:
                self._files.sync()
                dirty = False
                last_sync = time.monotonic()
            if time.monotonic() - last_check >= _CHECK_S:
                self._files.check_place()
                last_check = time.monotonic()
            if taken:
                self._gather()

    def _gather(self) -> None:
        """Let readouts come for the flush time, so that they are one write; while that lasts, go round.

        The board is asked every few milliseconds: right after an answer, what waits is younger than at any other time,
        so most of what the last quarter of the flush time could still gather would be waiting.
        """
        began = time.monotonic()
        deadline, ripe_at = began + self._flush_s, began + _RIPE * self._flush_s
        while (left_s := deadline - time.monotonic()) > 0:
            if self._queue.gather(min(left_s, _IDLE_WAIT_S), _BATCH_BYTES, ripe_at):
                return
            self._turns += 1

    def _write(self, batch: list[RawReadout]) -> None:
        """Append the batch, in as few writes as rotation allows; takes out of `batch` what is written."""
        group = _Group()
        for readout in tuple(batch):
            data = self._without_padding(readout.data)
            if data:
                readout_id = self._next_readout + len(group.records)
                record = RECORD_HEAD.pack(RECORD_MARKER, readout_id, readout.timestamp_ns, len(data)) + data
                if not self._files.room_for(len(record), group.record_bytes):
                    self._append(group, batch)
                    group = _Group()
                    self._finish_file()
                    self._files.open_next()
                group.records.append(record)
                group.places.append(group.readouts)
                group.record_bytes += len(record)
            group.readouts += 1
        self._append(group, batch)

    def _append(self, group: "_Group", batch: list[RawReadout]) -> None:
        before = self._files.readouts
        try:
            if group.records:
                self._files.append(group.records, self._next_readout)
        finally:
            written = self._files.readouts - before
            done = group.readouts if written == len(group.records) else group.places[written]
            self._next_readout += written
            self._empty_readouts += done - written
            self._board_bytes += sum(len(readout.data) for readout in batch[:done])
            self._readout_bytes += sum(map(len, group.records[:written])) - written * RECORD_HEAD.size
            del batch[:done]

    def _finish_file(self, *, also_empty: bool = False) -> None:
        if also_empty or self._files.readouts_in_current:
            finished = self._files.finish()
            if finished is not None:
                self._on_rotated(finished)


@dataclass
class _Group:
    """Readouts that go into one file with one write.

    `readouts`: how many, also those that are padding alone and make no record; `places`: which of them make `records`.
    """

    readouts: int = 0
    records: list[bytes] = field(default_factory=list)
    places: list[int] = field(default_factory=list)
    record_bytes: int = 0
