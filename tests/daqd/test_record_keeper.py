"""The record of a run on disk, while the run is taken."""

import logging
import threading
from collections.abc import Callable

import pytest

from daqd.errors import DiskError
from daqd.runs.run_store import RecordKeeper, RunStore
from protocol.run_record import Counts, FileRecord, Gap, RunRecord, file_name
from tests.daqd.waiting import DEADLINE_S, wait_until


def file_record(index: int) -> FileRecord:
    return FileRecord(
        name=file_name(1, index), index=index, size_bytes=9, sha256="00" * 32, readouts=1, begin_ns=1, end_ns=2
    )


class Disk:
    """Takes the place of `RunStore.write_record`: writes when it is let, and notes what it wrote."""

    def __init__(self, store: RunStore, monkeypatch: pytest.MonkeyPatch) -> None:
        self.written: list[RunRecord] = []
        self.begun = threading.Event()
        self.open = threading.Event()
        self.open.set()
        self.refuses = False
        self._write: Callable[[RunRecord], None] = store.write_record
        monkeypatch.setattr(store, "write_record", self.write)

    def write(self, record: RunRecord) -> None:
        self.begun.set()
        assert self.open.wait(DEADLINE_S)
        if self.refuses:
            raise DiskError("no space")
        self.written.append(record)
        self._write(record)


@pytest.fixture
def disk(store: RunStore, monkeypatch: pytest.MonkeyPatch) -> Disk:
    return Disk(store, monkeypatch)


@pytest.fixture
def saved() -> list[bool]:
    return []


@pytest.fixture
def keeper(store: RunStore, disk: Disk, saved: list[bool]) -> RecordKeeper:
    store.claim()
    record = RunRecord(daq="bench", run=1, state="running", begin_ns=1, software={}, readout_uid=4000, configuration={})
    return RecordKeeper(store, record, lambda: saved.append(True))


def test_what_changes_is_soon_on_disk(keeper: RecordKeeper, store: RunStore, disk: Disk, saved: list[bool]) -> None:
    keeper.add_file(file_record(0), Counts(readouts=1))
    wait_until("the file is on disk", lambda: store.read_record(1) == keeper.record)
    wait_until("that was told", lambda: saved)
    assert keeper.record.files == (file_record(0),)
    keeper.add_gap(Gap(from_ns=5, reason="cable"))
    wait_until("the gap is on disk", lambda: store.read_record(1) == keeper.record)
    assert keeper.record.counts == Counts(readouts=1)
    assert len(disk.written) == 3


def test_a_slow_disk_keeps_nobody_waiting_and_gets_many_changes_at_once(
    keeper: RecordKeeper, store: RunStore, disk: Disk
) -> None:
    disk.begun.clear()
    disk.open.clear()
    keeper.add_file(file_record(0), Counts(readouts=1))
    assert disk.begun.wait(DEADLINE_S)
    for index in range(1, 50):
        keeper.add_file(file_record(index), Counts(readouts=index + 1))
    keeper.add_gap(Gap(from_ns=5, reason="cable"))
    assert len(keeper.record.files) == 50
    disk.open.set()
    wait_until("all is on disk", lambda: store.read_record(1) == keeper.record)
    assert [len(record.files) for record in disk.written] == [0, 1, 50]


def test_changes_from_many_threads_are_all_there(keeper: RecordKeeper, store: RunStore) -> None:
    def change(first: int) -> None:
        for number in range(first, first + 25):
            keeper.add_gap(Gap(from_ns=number, reason="cable"))

    threads = [threading.Thread(target=change, args=(first,)) for first in (0, 25, 50)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(DEADLINE_S)
    last = keeper.close(state="finished")
    assert {gap.from_ns for gap in last.gaps} == set(range(75))
    assert store.read_record(1) == last


def test_the_last_version_comes_last(keeper: RecordKeeper, store: RunStore, disk: Disk) -> None:
    disk.begun.clear()
    disk.open.clear()
    keeper.add_file(file_record(0), Counts(readouts=1))
    assert disk.begun.wait(DEADLINE_S)
    closing = threading.Thread(target=keeper.close, kwargs={"state": "finished"})
    closing.start()
    wait_until("it is being closed", lambda: keeper.record.state == "finished")
    keeper.add_gap(Gap(from_ns=5, reason="too late"))
    disk.open.set()
    closing.join(DEADLINE_S)
    assert [record.state for record in disk.written] == ["running", "running", "finished"]
    assert store.read_record(1) == disk.written[-1] == keeper.record
    assert keeper.record.gaps == ()


def test_a_version_that_the_disk_refuses_is_told_and_comes_with_the_next(
    keeper: RecordKeeper, store: RunStore, disk: Disk, caplog: pytest.LogCaptureFixture
) -> None:
    disk.refuses = True
    with caplog.at_level(logging.WARNING):
        keeper.add_file(file_record(0), Counts(readouts=1))
        wait_until("it is told", lambda: "no space; it is written again" in caplog.text)
    disk.refuses = False
    keeper.add_file(file_record(1), Counts(readouts=2))
    wait_until("both are on disk", lambda: store.read_record(1) == keeper.record)
    assert len(keeper.record.files) == 2
    disk.refuses = True
    with pytest.raises(DiskError, match="no space"):
        keeper.close(state="finished")
    assert keeper.record.state == "finished"
