"""The files of one run: records appended, rotated by size and time, named when whole."""

import bisect
import contextlib
import hashlib
import itertools
import os
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
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

_MAX_WRITE_BYTES = 1 << 20
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
        self._open: _OpenPart | None = None
        self._next_index = 0
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
        return None if self._open is None else self._open.path

    @property
    def size_bytes(self) -> int:
        """Size of all files of the run."""
        open_bytes = 0 if self._open is None else self._open.size_bytes
        return sum(file.size_bytes for file in self.finished) + self._left_bytes + open_bytes

    def open_next(self) -> None:
        """Begin the next file."""
        index, self._next_index = self._next_index, self._next_index + 1
        header = FileHeader(self.readout_class, {**self._header, "file": index}).to_bytes()
        path = self._store.part_path(self._run, index)
        part = self._open = _OpenPart(path, index, self._create(path), self._clock())
        _, refusal = self._write(part, header)
        try:
            if refusal is not None:
                raise refusal
            sync_directory(path.parent)
        except OSError:
            self._close()
            with contextlib.suppress(OSError):
                path.unlink()  # nothing is in it but a part of its header
            raise
        part.count(header)

    def room_for(self, record_bytes: int, pending_bytes: int) -> bool:
        """Whether a record, after `pending_bytes` that are about to be appended, still belongs into the open file."""
        part = self._open
        if part is None:
            return False
        if part.readouts == 0 and pending_bytes == 0:
            return True
        too_old = self._clock() - part.opened_at >= self._max_time_s
        return not too_old and part.size_bytes + pending_bytes + record_bytes <= self._max_size

    def append(self, records: Sequence[bytes], first_readout: int) -> None:
        """Write whole records, with ids from `first_readout` on, to the file that is open.

        Where the disk refuses in the middle, the records that are whole stay, `readouts` counts them, and its `OSError`
        is raised.
        """
        part = self._open
        if part is None:
            raise ValueError("no file of the run is open")
        data = b"".join(records)
        written, refusal = self._write(part, data)
        whole, size = (len(records), len(data)) if refusal is None else _whole_records(records, written)
        part.count(data[:size])
        if whole:
            if part.first_readout is None:
                part.first_readout = first_readout
            part.last_readout = first_readout + whole - 1
            part.readouts += whole
            self.readouts += whole
        if refusal is not None:
            if written > size:
                self._take_back_rest(part)
            raise refusal

    @property
    def readouts_in_current(self) -> int:
        """Readouts in the open file; 0 where none is open."""
        return 0 if self._open is None else self._open.readouts

    def check_place(self) -> None:
        """`DiskError` where the open file was removed or moved; what can be had back of it is in its place by then.

        Else nothing would tell: what is written to such a file is gone with the last descriptor of it.
        """
        part = self._open
        if part is None or self._is_copied or is_in_place(part.descriptor, part.path):
            return
        try:
            said = bring_back(part.descriptor, part.path)
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
        part = self._open
        if part is None:
            return
        try:
            os.fsync(part.descriptor)
        except OSError as error:
            self.abandon()
            unsure = range(self._synced_readouts, self.readouts)
            what = f"readouts {unsure[0]} to {unsure[-1]}" if unsure else "its end"
            said = f"{part.path.name} cannot be synced ({reason_of(error)}): {what} may not be on the disk"
            raise DiskError(said) from error
        self._synced_readouts = self.readouts

    def finish(self) -> FileRecord | None:
        """Close the open file and give it its final name; None where none is open.

        `DiskError` as of `check_place` and `sync`. Where the directory cannot be synced, the file has its name already,
        and is among those that are finished.
        """
        part = self._open
        if part is None:
            return None
        self.check_place()
        self.sync()
        path = self._store.file_path(self._run, part.index)
        try:
            if not _RENAMES_OPEN_FILES:
                self._close()
            if path.exists():
                raise FileExistsError(f"{path} exists")
            part.path.rename(path)
            with contextlib.suppress(OSError):  # all of it was synced
                self._close()
        except OSError as error:
            if isinstance(error, FileNotFoundError):
                self.check_place()  # it was taken away since, and as long as it is open, it can be had back
            self._leave(part)
            with contextlib.suppress(OSError):
                self._close()
            raise
        record = FileRecord(
            name=path.name,
            index=part.index,
            size_bytes=part.size_bytes,
            sha256=part.sha256.hexdigest(),
            readouts=part.readouts,
            first_readout=part.first_readout,
            last_readout=part.last_readout,
            begin_ns=part.begin_ns,
            end_ns=time.time_ns(),
        )
        self.finished.append(record)
        sync_directory(path.parent)
        return record

    def abandon(self) -> None:
        """Close the open file as it is, under the name that it has."""
        if self._open is not None:
            self._leave(self._open)
            with contextlib.suppress(OSError):  # it is not said to be safe anyway
                self._close()

    def _leave(self, part: "_OpenPart") -> None:
        self.left, self._left_bytes = part.path.name, part.size_bytes

    def _close(self) -> None:
        part, self._open = self._open, None
        if part is not None:
            os.close(part.descriptor)

    def _write(self, part: "_OpenPart", data: bytes) -> tuple[int, OSError | None]:
        """Write `data`; how many bytes of it were written, and what the disk said where that is not all of them."""
        view = memoryview(data)
        written = 0
        try:
            while written < len(view):
                written += os.write(part.descriptor, view[written : written + _MAX_WRITE_BYTES])
                self.writes += 1
        except OSError as error:
            return written, error
        return written, None

    def _take_back_rest(self, part: "_OpenPart") -> None:
        """Cut off the beginning of a record that could not be written to its end."""
        try:
            os.ftruncate(part.descriptor, part.size_bytes)
        except OSError:
            self.abandon()  # it keeps its torn end, and with that the name of an unfinished file


@dataclass
class _OpenPart:
    """The file that is appended to. `size_bytes` and `sha256` are of what is whole in it: its header and records."""

    path: Path
    index: int
    descriptor: int
    opened_at: float
    begin_ns: int = field(default_factory=time.time_ns)
    sha256: "hashlib._Hash" = field(default_factory=hashlib.sha256)
    size_bytes: int = 0
    readouts: int = 0
    first_readout: int | None = None
    last_readout: int | None = None

    def count(self, data: bytes) -> None:
        """Take in a header, or records, that are written."""
        self.size_bytes += len(data)
        self.sha256.update(data)


def _whole_records(records: Sequence[bytes], size_bytes: int) -> tuple[int, int]:
    """How many of `records` fit whole into `size_bytes`, and their size."""
    ends = list(itertools.accumulate(map(len, records)))
    whole = bisect.bisect_right(ends, size_bytes)
    return whole, ends[whole - 1] if whole else 0
