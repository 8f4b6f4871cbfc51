"""The files of one run: records appended, rotated by size and time, named when whole."""

import bisect
import contextlib
import hashlib
import itertools
import os
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from astropix_runtime.storage.durable import O_BINARY, sync_directory
from daqd.errors import DiskError
from daqd.runs.lost_file import bring_back, is_in_place
from daqd.runs.run_store import RunStore
from protocol.apx import FileHeader
from protocol.readout import AbstractAstroPixReadout
from protocol.run_record import FileRecord
from protocol.text import reason_of

_MOST_AT_ONCE_BYTES = 1 << 20
"""Of one write: on a slow disk it shall be seen that it goes on."""

_RENAMES_OPEN_FILES = os.name == "posix"

CreateFile = Callable[[Path], int]


def create_file(path: Path) -> int:
    """A descriptor of a new file to append to, which can be read, too; `FileExistsError` where there is one."""
    return os.open(path, os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_APPEND | O_BINARY, 0o644)


class RunFiles:
    """Appends records to `run_NNNNNN_SSSS.apx.part`; a finished file loses the `.part`.

    `header`: content of the files' header, to which `file` (its index) is added. `max_size_bytes`, `max_time_s`: a file
    that would grow beyond, or is older, is finished before the next record; no file is without a record but the first.
    `OSError` as the disk gives them; `finished` then still says what is whole, and `left` which file kept the name of
    an unfinished one (no more than one, and nothing is written after it). `readouts`: in all files together.
    `writes`: pieces that the disk has taken, of 1 MiB at most.
    """

    def __init__(
        self,
        store: RunStore,
        run: int,
        readout_class: type[AbstractAstroPixReadout],
        header: dict[str, Any],
        *,
        max_size_bytes: int,
        max_time_s: float,
        create: CreateFile = create_file,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._store = store
        self._run = run
        self.readout_class = readout_class
        self._header = header
        self._max_size = max_size_bytes
        self._max_time_s = max_time_s
        self._create = create
        self._clock = clock
        self._descriptor: int | None = None
        self._index = -1
        self.readouts = 0
        self.writes = 0
        self.finished: list[FileRecord] = []
        self.left = ""
        self._left_bytes = 0
        self._synced_readouts = 0
        self._is_copied = False

    @property
    def directory(self) -> Path:
        """Where the files are."""
        return self._store.run_directory(self._run)

    @property
    def current(self) -> Path | None:
        """The file that is being written."""
        return None if self._descriptor is None else self._part

    @property
    def size_bytes(self) -> int:
        """Size of all files of the run."""
        open_bytes = 0 if self._descriptor is None else self._size
        return sum(file.size_bytes for file in self.finished) + self._left_bytes + open_bytes

    def open_next(self) -> None:
        """Begin the next file."""
        self._index += 1
        part = self._part
        header = FileHeader(self.readout_class, {**self._header, "file": self._index}).to_bytes()
        descriptor = self._create(part)
        self._sha256 = hashlib.sha256()
        self._size = 0
        self._readouts = 0
        self._first_readout: int | None = None
        self._last_readout: int | None = None
        self._begin_ns = time.time_ns()
        self._opened_at = self._clock()
        self._descriptor = descriptor
        _, refusal = self._write(header)
        try:
            if refusal is not None:
                raise refusal
            sync_directory(self._store.run_directory(self._run))
        except OSError:
            self._close()
            with contextlib.suppress(OSError):
                part.unlink()  # nothing is in it but a part of its header
            raise
        self._count(header)

    def room_for(self, record_bytes: int, pending_bytes: int) -> bool:
        """Whether a record, after `pending_bytes` that are about to be appended, still belongs into the open file."""
        if self._descriptor is None:
            return False
        if self._readouts == 0 and pending_bytes == 0:
            return True
        too_old = self._clock() - self._opened_at >= self._max_time_s
        return not too_old and self._size + pending_bytes + record_bytes <= self._max_size

    def append(self, records: Sequence[bytes], first_readout: int) -> None:
        """Write whole records, with ids from `first_readout` on, to the file that is open.

        Where the disk refuses in the middle, the records that are whole stay, `readouts` counts them, and its `OSError`
        is raised.
        """
        data = b"".join(records)
        written, refusal = self._write(data)
        whole, size = (len(records), len(data)) if refusal is None else _whole_records(records, written)
        self._count(data[:size])
        if whole:
            if self._first_readout is None:
                self._first_readout = first_readout
            self._last_readout = first_readout + whole - 1
            self._readouts += whole
            self.readouts += whole
        if refusal is not None:
            if written > size:
                self._take_back_rest()
            raise refusal

    @property
    def readouts_in_current(self) -> int:
        """Readouts in the open file; 0 where none is open."""
        return 0 if self._descriptor is None else self._readouts

    def check_place(self) -> None:
        """`DiskError` where the open file was removed or moved; what can be had back of it is in its place by then.

        Else nothing would tell: what is written to such a file is gone with the last descriptor of it.
        """
        if self._descriptor is None or self._is_copied or is_in_place(self._descriptor, self._part):
            return
        try:
            said = bring_back(self._descriptor, self._part)
        except DiskError:
            self._close()
            raise
        self._is_copied = True
        missing = sum(not self._store.file_path(self._run, file.index).exists() for file in self.finished)
        raise DiskError(said if not missing else f"{said}; {missing} finished files are not in their place any more")

    def sync(self) -> None:
        """Make what is written last through a power cut.

        There is no second try where that fails: the system may have dropped what it could not write, and would say
        then that all is well. The file is left, and the error says what may not be on the disk.
        """
        if self._descriptor is None:
            return
        try:
            os.fsync(self._descriptor)
        except OSError as error:
            self.abandon()
            unsure = range(self._synced_readouts, self.readouts)
            what = f"readouts {unsure[0]} to {unsure[-1]}" if unsure else "its end"
            said = f"{self._part.name} cannot be synced ({reason_of(error)}): {what} may not be on the disk"
            raise DiskError(said) from error
        self._synced_readouts = self.readouts

    def finish(self) -> FileRecord | None:
        """Close the open file and give it its final name; None where none is open.

        `DiskError` as of `check_place` and `sync`. Where the directory cannot be synced, the file has its name already,
        and is among those that are finished.
        """
        if self._descriptor is None:
            return None
        self.check_place()
        self.sync()
        path = self._store.file_path(self._run, self._index)
        try:
            if not _RENAMES_OPEN_FILES:
                self._close()
            if path.exists():
                raise FileExistsError(f"{path} exists")
            self._part.rename(path)
            with contextlib.suppress(OSError):  # all of it was synced
                self._close()
        except OSError as error:
            if isinstance(error, FileNotFoundError):
                self.check_place()  # it was taken away since, and as long as it is open, it can be had back
            self._leave()
            with contextlib.suppress(OSError):
                self._close()
            raise
        record = FileRecord(
            name=path.name,
            index=self._index,
            size_bytes=self._size,
            sha256=self._sha256.hexdigest(),
            readouts=self._readouts,
            first_readout=self._first_readout,
            last_readout=self._last_readout,
            begin_ns=self._begin_ns,
            end_ns=time.time_ns(),
        )
        self.finished.append(record)
        sync_directory(path.parent)
        return record

    def abandon(self) -> None:
        """Close the open file as it is, under the name that it has."""
        if self._descriptor is not None:
            self._leave()
            with contextlib.suppress(OSError):  # it is not said to be safe anyway
                self._close()

    def _leave(self) -> None:
        self.left = self._part.name
        self._left_bytes = self._size

    def _close(self) -> None:
        if self._descriptor is not None:
            descriptor, self._descriptor = self._descriptor, None
            os.close(descriptor)

    @property
    def _part(self) -> Path:
        return self._store.part_path(self._run, self._index)

    def _write(self, data: bytes) -> tuple[int, OSError | None]:
        """Write `data`; how many bytes of it were written, and what the disk said where that is not all of them."""
        assert self._descriptor is not None  # noqa: S101 - callers open first
        view = memoryview(data)
        written = 0
        try:
            while written < len(view):
                written += os.write(self._descriptor, view[written : written + _MOST_AT_ONCE_BYTES])
                self.writes += 1
        except OSError as error:
            return written, error
        return written, None

    def _count(self, data: bytes) -> None:
        self._size += len(data)
        self._sha256.update(data)

    def _take_back_rest(self) -> None:
        """Cut off the beginning of a record that could not be written to its end."""
        assert self._descriptor is not None  # noqa: S101 - it was just written to
        try:
            os.ftruncate(self._descriptor, self._size)
        except OSError:
            self.abandon()  # it keeps its torn end, and with that the name of an unfinished file


def _whole_records(records: Sequence[bytes], size_bytes: int) -> tuple[int, int]:
    """How many of `records` fit whole into `size_bytes`, and their size."""
    ends = list(itertools.accumulate(map(len, records)))
    whole = bisect.bisect_right(ends, size_bytes)
    return whole, ends[whole - 1] if whole else 0
