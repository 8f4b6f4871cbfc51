"""The record of the run that is being taken, kept on disk as it is known (docs/formats.md, "Run record")."""

import logging
import threading
from collections.abc import Callable
from typing import Any

from daqd.errors import DiskError
from daqd.runs.run_store import RunStore
from protocol.run_record import Counts, FileRecord, Gap, RunRecord

log = logging.getLogger(__name__)


class RecordKeeper:
    """Holds a run's record, takes changes from any thread, and writes them from a thread of its own.

    So neither the writer nor the event loop waits for the disk. The thread lives as long as there is something to
    write; what changes meanwhile goes to disk together, and older never replaces newer. `on_saved` is called from it
    after each version. A version that the disk refuses is said in the log; the next one brings all of it.
    """

    def __init__(self, store: RunStore, record: RunRecord, on_saved: Callable[[], None]) -> None:
        self._store = store
        self._on_saved = on_saved
        self._lock = threading.Lock()
        self._record = record
        self._saved: RunRecord | None = None
        self._saver: threading.Thread | None = None
        self._closed = False

    @property
    def record(self) -> RunRecord:
        """As it is now, on disk or about to be."""
        with self._lock:
            return self._record

    def begin(self) -> None:
        """Write the first version, here and now; `DiskError` where the disk refuses."""
        self._store.write_record(self._record)
        self._saved = self._record

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
