"""One run while it is taken: reader, queue, writer and files, wired; and its record."""

import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from daqd.acquisition.reader import Reader, ReaderEnd, Recovery
from daqd.acquisition.readout_queue import ReadoutQueue
from daqd.acquisition.writer import Writer, WriterEnd
from daqd.boards.board import Board
from daqd.configuration.config import Config
from daqd.errors import DiskError
from daqd.runs.run_files import CreateFile, RunFiles, create_file
from daqd.runs.run_store import RecordKeeper, RunStore
from protocol.chips.chip_setup import ChipSetup
from protocol.run_record import Counts, FileRecord, Gap, RunRecord
from protocol.text import reason_of

_MB = 1_000_000


@dataclass(frozen=True)
class RunRequest:
    """What the operator asked for. `run`: number, None for the next; limits: 0 for none."""

    run: int | None = None
    comment: str = ""
    duration_s: float = 0.0
    readouts: int = 0


@dataclass(frozen=True)
class RunHooks:
    """Called from the run's threads.

    After each batch in the files; once when all has ended; when the board is lost (why); when it is back, or given up.
    """

    on_written: Callable[[], None]
    on_end: Callable[[], None]
    on_lost: Callable[[str], None] = lambda _: None
    on_gap: Callable[[Gap], None] = lambda _: None


class ActiveRun:
    """One run: its directory, first file and record are made here; `begin` starts it, and `stop` asks for its end.

    `DiskError` where the disk refuses. Making it waits for the disk, and so does `close_record`; nothing else does.
    """

    def __init__(
        self,
        config: Config,
        board: Board,
        store: RunStore,
        request: RunRequest,
        software: dict[str, str],
        hooks: RunHooks,
        create: CreateFile = create_file,
        setup: ChipSetup | None = None,
    ) -> None:
        self._board = board
        self._setup = setup
        self._hooks = hooks
        self._lock = threading.Lock()
        self._reader_end: ReaderEnd | None = None
        self._writer_end: WriterEnd | None = None
        self.run = store.claim(request.run)
        self.began_at = time.monotonic()
        self.request = request
        configuration: dict[str, Any] = config.model_dump(mode="json")
        chip_configuration = None if setup is None else setup.describe()
        record = RunRecord(
            daq=config.daq.name,
            run=self.run,
            state="running",
            comment=request.comment,
            begin_ns=time.time_ns(),
            software=software,
            readout_uid=board.readout_class.uid(),
            configuration=configuration,
            chip_configuration=chip_configuration,
            board=board.record(),
            **board.description.model_dump(),
        )
        header = {
            "run": self.run,
            "daq": config.daq.name,
            "comment": request.comment,
            "begin_ns": record.begin_ns,
            **board.description.model_dump(exclude_none=True),
            "software": software,
            "configuration": configuration,
            "chip_configuration": chip_configuration,
            "board": record.board,
        }
        self.files = RunFiles(
            store,
            self.run,
            board.readout_class,
            header,
            max_size_bytes=int(config.files.max_size_mb * _MB),
            max_time_s=config.files.max_time_s,
            create=create,
        )
        try:
            store.reserve(self.run)
            self.files.open_next()
            self._keeper = RecordKeeper(store, record, hooks.on_written)
        except OSError as error:
            self.files.abandon()
            store.release(self.run)
            if isinstance(error, DiskError):
                raise
            what = f"run {self.run} cannot begin in {self.files.directory}"
            raise DiskError(f"{what}: {reason_of(error)}") from error
        self.queue = ReadoutQueue(int(config.acquisition.queue_mb * _MB))
        recovery = Recovery(self._bring_up, hooks.on_lost, hooks.on_gap)
        self._reader = Reader(board, self.queue, self._reader_ended, request.readouts, recovery)
        self._writer = Writer(
            self.queue,
            self.files,
            flush_s=config.acquisition.flush_ms / 1000,
            fsync_s=config.acquisition.fsync_s,
            on_written=hooks.on_written,
            on_rotated=self._rotated,
            on_end=self._writer_ended,
        )

    def begin(self) -> None:
        """Start to take data."""
        self._writer.start()
        self._reader.start()

    def stop(self, reason: str) -> None:
        """Ask for the end; `RunHooks.on_end` tells when it has come."""
        self._reader.stop(reason)

    def rotate(self) -> None:
        """Finish the current file now; the next readout opens the next one."""
        self._writer.rotate()

    def join(self, timeout_s: float) -> bool:
        """Wait for both threads; False where they have not ended in time."""
        deadline = time.monotonic() + timeout_s
        return self._reader.join(timeout_s) and self._writer.join(max(0.0, deadline - time.monotonic()))

    @property
    def progress(self) -> dict[str, int]:
        """Of each thread of the run that has not ended, by its name: a number that stands still where it is stuck."""
        threads: dict[str, Reader | Writer] = {"reader": self._reader, "writer": self._writer}
        return {f"{name} of run {self.run}": each.progress for name, each in threads.items() if each.is_alive}

    @property
    def record(self) -> RunRecord:
        """The record as it is now."""
        return self._keeper.record

    @property
    def counts(self) -> Counts:
        """What is in the files."""
        return self._writer.counts

    def close_record(self) -> RunRecord:
        """Write the record of the run that has ended; `DiskError` where the disk refuses even that."""
        reader, writer = self._reader_end, self._writer_end
        reason = reader.reason if reader is not None else "the reader did not end"
        failure = reader is None or reader.failure
        if writer is None or writer.failure:
            failure = True
            reason = writer.failure if writer is not None else "the writer did not end"
            if writer is not None and writer.lost_readouts:
                reason += f"; {writer.lost_readouts} readouts that had been read could not be written"
        return self._keeper.close(
            state="failed" if failure else "finished",
            end_ns=time.time_ns(),
            end_reason=reason,
            counts=self.counts,
            files=tuple(self.files.finished),
        )

    def add_gap(self, gap: Gap) -> None:
        """Note a stretch without data in the record, which goes to disk at once, but is not waited for."""
        self._keeper.add_gap(gap)

    def _bring_up(self) -> None:
        self._board.open()
        self._board.configure(self._setup)

    def _rotated(self, file: FileRecord) -> None:
        """In the writer's thread, so that the counts are those of the moment when the file was finished."""
        self._keeper.add_file(file, self.counts)
        self._hooks.on_written()

    def _reader_ended(self, end: ReaderEnd) -> None:
        with self._lock:
            self._reader_end = end
            both = self._writer_end is not None
        if both:
            self._hooks.on_end()

    def _writer_ended(self, end: WriterEnd) -> None:
        with self._lock:
            self._writer_end = end
            both = self._reader_end is not None
        if both:
            self._hooks.on_end()
