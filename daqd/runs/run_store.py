"""Where runs live on disk: their numbers, directories and records (docs/formats.md, "Run directory")."""

import contextlib
import logging
import os
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

from astropix_runtime.storage.durable import replace_text
from astropix_runtime.storage.process_lock import ProcessLock
from astropix_runtime.storage.run_directory import run_of_name
from daqd.errors import DiskError
from protocol.ledger import LedgerCounts
from protocol.run_record import PART_SUFFIX, Counts, FileRecord, Gap, RunRecord, file_name, run_name
from protocol.text import reason_of

_COUNTER = "last_run"
_RESERVE_BYTES = 1 << 18


class RunStore:
    """The data directory. One daemon at a time writes to it; any number of readers."""

    def __init__(self, data_dir: Path) -> None:
        self.data_dir = data_dir

    def prepare(self) -> None:
        """Make the directory if it is not there; `DiskError` where it cannot be written."""
        try:
            self.data_dir.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise DiskError(f"cannot make the data directory {self.data_dir}: {reason_of(error)}") from error
        if not os.access(self.data_dir, os.W_OK | os.X_OK):
            raise DiskError(f"the data directory {self.data_dir} cannot be written; change its owner or daq.data_dir")

    def lock(self) -> ProcessLock:
        """What keeps a second daemon from writing here."""
        what = f"the data directory {self.data_dir}"
        return ProcessLock(self.data_dir / ".lock", what, DiskError, "choose another daq.data_dir")

    def runs(self) -> list[int]:
        """Numbers of the runs that are there, ascending."""
        try:
            names = [entry.name for entry in os.scandir(self.data_dir) if entry.is_dir()]
        except FileNotFoundError:
            return []
        return sorted(run for name in names if (run := run_of_name(name)) is not None)

    def last_run(self) -> int:
        """The largest run number ever given, 0 for none: from the counter and from what is there.

        `DiskError` where the counter cannot be read; one that is lost or damaged counts as 0.
        """
        try:
            counted = int((self.data_dir / _COUNTER).read_text())
        except (FileNotFoundError, ValueError):
            counted = 0
        except OSError as error:
            raise DiskError(f"cannot read {self.data_dir / _COUNTER}: {reason_of(error)}") from error
        return max([0, counted, *self.runs()[-1:]])

    def claim(self, run: int | None = None) -> int:
        """Make the directory of a new run, the next one or the one given, and count it; never one that was there.

        `ValueError` for a number that is not above all that were given before, `DiskError` where the disk refuses.
        """
        last = self.last_run()
        number = last + 1 if run is None else run
        if number <= last:
            why = "was given before" if number == last else f"is not above run {last}, which was given before"
            raise ValueError(f"run {number} {why}; the next free number is {last + 1}")
        try:
            self.run_directory(number).mkdir()
            replace_text(self.data_dir / _COUNTER, f"{number}\n")
        except OSError as error:
            raise DiskError(f"cannot make a directory for run {number} in {self.data_dir}: {error}") from error
        return number

    def run_directory(self, run: int) -> Path:
        """Directory of a run."""
        return self.data_dir / run_name(run)

    def file_path(self, run: int, index: int) -> Path:
        """Path of a finished file of a run."""
        return self.run_directory(run) / file_name(run, index)

    def part_path(self, run: int, index: int) -> Path:
        """Path of a file of a run while it is written."""
        return self.run_directory(run) / (file_name(run, index) + PART_SUFFIX)

    def record_path(self, run: int) -> Path:
        """Path of the record of a run."""
        return self.run_directory(run) / f"{run_name(run)}.json"

    def reserve(self, run: int) -> None:
        """Keep a little space, so that the record of the run can be closed on a disk that is full by then."""
        self._reserve_path(run).write_bytes(bytes(_RESERVE_BYTES))

    def release(self, run: int) -> None:
        """Give the kept space back."""
        with contextlib.suppress(OSError):
            self._reserve_path(run).unlink()

    def _reserve_path(self, run: int) -> Path:
        return self.run_directory(run) / ".reserve"

    def write_record(self, record: RunRecord) -> None:
        """Replace the record of a run, whole or not at all; `DiskError` where the disk refuses.

        Its directory is made again where somebody has taken it away.
        """
        try:
            self.run_directory(record.run).mkdir(exist_ok=True)
            replace_text(self.record_path(record.run), record.to_json())
        except OSError as error:
            raise DiskError(f"cannot write the record of run {record.run}: {error}") from error

    def read_record(self, run: int) -> RunRecord | None:
        """The record of a run, None where there is none; `ValueError` where it cannot be read."""
        try:
            return RunRecord.from_json(self.record_path(run).read_bytes())
        except FileNotFoundError:
            return None

    def add_ledger(self, run: int, ledger: LedgerCounts) -> None:
        """Complete the record of a run that has ended with what the publisher found when it had decoded all of it.

        Raises as `read_record` and `write_record` do; does nothing where there is no such record.
        """
        record = self.read_record(run)
        if record is not None and record.state != "running":
            self.write_record(record.model_copy(update={"ledger": ledger}))


log = logging.getLogger(__name__)


class RecordKeeper:
    """Holds a run's record, takes changes from any thread, and writes them from a thread of its own.

    So neither the writer nor the event loop waits for the disk. The thread lives as long as there is something to
    write; what changes meanwhile goes to disk together, and older never replaces newer. `on_saved` is called from it
    after each version. The first version is written here and now (`DiskError` where the disk refuses); a later one that
    the disk refuses is said in the log; the next one brings all of it.
    """

    def __init__(self, store: RunStore, record: RunRecord, on_saved: Callable[[], None]) -> None:
        self._store = store
        self._on_saved = on_saved
        self._lock = threading.Lock()
        self._record = record
        store.write_record(record)
        self._saved: RunRecord | None = record
        self._saver: threading.Thread | None = None
        self._closed = False

    @property
    def record(self) -> RunRecord:
        """As it is now, on disk or about to be."""
        with self._lock:
            return self._record

    def add_file(self, file: FileRecord, counts: Counts) -> None:
        """A file is finished, and with it the run has `counts`."""
        with self._lock:
            self._change(files=(*self._record.files, file), counts=counts)

    def add_gap(self, gap: Gap) -> None:
        """A stretch without data."""
        with self._lock:
            self._change(gaps=(*self._record.gaps, gap))

    def close(self, **last: Any) -> RunRecord:
        """Write the last version, with the values `last`, here and now; `DiskError` where the disk refuses."""
        with self._lock:
            self._record = self._record.model_copy(update=last)
            self._closed = True
            saver = self._saver
        if saver is not None:
            saver.join()
        self._store.release(self._record.run)
        self._store.write_record(self._record)
        return self._record

    def _change(self, **values: Any) -> None:
        """Called with the lock held."""
        if self._closed:
            return
        self._record = self._record.model_copy(update=values)
        if self._saver is None:
            self._saver = threading.Thread(target=self._save, name="record")
            self._saver.start()

    def _save(self) -> None:
        while (record := self._unsaved()) is not None:
            try:
                self._store.write_record(record)
            except DiskError as error:
                log.warning("%s; it is written again with the next change, and at the end of the run", error)
            self._saved = record
            self._on_saved()

    def _unsaved(self) -> RunRecord | None:
        """What is to be written next; None ends the thread, and then the next change begins another."""
        with self._lock:
            if self._closed or self._record is self._saved:
                self._saver = None
                return None
            return self._record
