"""A writer in a test, with its queue and files; what it told."""

import hashlib
import itertools
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

from daqd.acquisition.readout_queue import ReadoutQueue
from daqd.acquisition.writer import Writer, WriterEnd
from daqd.boards.board import RawReadout
from daqd.runs.run_files import RunFiles
from daqd.runs.run_store import RunStore
from protocol.readout import AstroPix4Readout
from protocol.run_record import FileRecord
from tests.daqd.file_bytes import header_bytes, record_bytes
from tests.daqd.waiting import DEADLINE_S

HEADER: dict[str, Any] = {"run": 1}
HEADER_BYTES = len(header_bytes(**HEADER, file=0))
PADDING = b"\xff"


def raws(*data: bytes) -> list[RawReadout]:
    return [RawReadout(each, 1000 + number) for number, each in enumerate(data)]


def expected_records(readouts: list[RawReadout]) -> list[bytes]:
    """What must be in the files of a run, from the format's text: padding gone, empty readouts left out, ids on."""
    kept = [(readout.data.rstrip(PADDING), readout.timestamp_ns) for readout in readouts]
    numbers = itertools.count()
    return [record_bytes(next(numbers), timestamp_ns, data) for data, timestamp_ns in kept if data]


class Writing:
    """A writer with its queue and files; what it told."""

    def __init__(
        self, store: RunStore, *, flush_s: float = 0.0, fsync_s: float = 1e9, limit_bytes: int = 1 << 30, **options: Any
    ) -> None:
        self.store = store
        self.run = store.claim()
        limits: dict[str, Any] = {"max_size_bytes": 1 << 30, "max_time_s": 1e9, **options}
        self.files = RunFiles(store, self.run, AstroPix4Readout, HEADER, **limits)
        self.queue = ReadoutQueue(limit_bytes)
        self.written = threading.Semaphore(0)
        self.rotated: list[FileRecord] = []
        self.ends: list[WriterEnd] = []
        self.writer = Writer(
            self.queue,
            self.files,
            flush_s=flush_s,
            fsync_s=fsync_s,
            on_written=self.written.release,
            on_rotated=self.rotated.append,
            on_end=self.ends.append,
        )
        self.files.open_next()
        self.writer.start()

    def put(self, readouts: list[RawReadout]) -> None:
        for readout in readouts:
            self.queue.put(readout)

    def wait_for_a_batch(self) -> None:
        assert self.written.acquire(timeout=DEADLINE_S)

    def end(self) -> WriterEnd:
        self.queue.close()
        assert self.writer.join(DEADLINE_S)
        (end,) = self.ends
        return end

    def contents(self) -> list[bytes]:
        """All files without their headers, which are checked; finished ones with their records."""
        paths = sorted(self.files.directory.glob("run_*.apx*"))
        contents = []
        for index, path in enumerate(paths):
            content = path.read_bytes()
            header = header_bytes(**HEADER, file=index)
            assert content.startswith(header)
            contents.append(content[len(header) :])
        for record in self.files.finished:
            content = self.path(record).read_bytes()
            assert (record.size_bytes, record.sha256) == (len(content), hashlib.sha256(content).hexdigest())
        return contents

    def path(self, record: FileRecord) -> Path:
        return self.files.directory / record.name


Write = Callable[..., Writing]
