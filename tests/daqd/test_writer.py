"""The writer: what it puts into the files, when, and what it says where it cannot."""

import itertools
import os
import threading
import time
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from daqd.acquisition.readout_queue import ReadoutQueue, cost_bytes
from daqd.acquisition.writer import WriterEnd
from daqd.boards.board import RawReadout
from daqd.runs.run_files import create_file
from tests.daqd.emulated_bench import HandClock
from tests.daqd.file_bytes import record_bytes
from tests.daqd.refusing_disk import file_size_limit
from tests.daqd.slow_disk import SlowDisk
from tests.daqd.waiting import DEADLINE_S, wait_until
from tests.daqd.writing import HEADER_BYTES, PADDING, Write, expected_records, raws


def test_every_byte_of_a_small_run(write: Write) -> None:
    writing = write()
    readouts = raws(b"\xbc\xbcabc\xff\xff", b"\xff\xff\xff", b"", b"\xffx", b"\xbc")
    writing.put(readouts)
    assert writing.end() == WriterEnd()
    assert writing.contents() == [
        record_bytes(0, 1000, b"\xbc\xbcabc") + record_bytes(1, 1003, b"\xffx") + record_bytes(2, 1004, b"\xbc")
    ]
    counts = writing.writer.counts
    assert (counts.readouts, counts.empty_readouts) == (3, 2)
    assert (counts.board_bytes, counts.readout_bytes, counts.padding_bytes) == (13, 8, 5)
    assert counts.file_bytes == HEADER_BYTES + 3 * 19 + 8
    assert [path.name for path in writing.files.directory.iterdir()] == ["run_000001_0000.apx"]
    assert writing.rotated == writing.files.finished


def test_a_run_without_readouts_has_one_file_with_a_header(write: Write) -> None:
    writing = write()
    assert writing.end() == WriterEnd()
    assert writing.contents() == [b""]
    assert [record.readouts for record in writing.rotated] == [0]


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=60, deadline=None)
@given(
    data=st.lists(
        st.one_of(st.binary(max_size=120), st.binary(max_size=3).map(lambda b: b + PADDING * 9)), max_size=40
    ),
    max_size_bytes=st.integers(1, 1500),
    pauses=st.sets(st.integers(0, 40)),
    rotations=st.sets(st.integers(0, 40)),
)
def test_whatever_comes_in_whatever_batches_is_in_the_files(
    write: Write, data: list[bytes], max_size_bytes: int, pauses: set[int], rotations: set[int]
) -> None:
    writing = write(max_size_bytes=max_size_bytes)
    readouts = raws(*data)
    for number, readout in enumerate(readouts):
        writing.put([readout])
        if number in rotations:
            writing.writer.rotate()
        if number in pauses:
            writing.wait_for_a_batch()
    assert writing.end() == WriterEnd()
    contents = writing.contents()
    assert b"".join(contents) == b"".join(expected_records(readouts))
    records = writing.files.finished
    assert len(records) == len(contents)
    assert all(record.readouts for record in records[1:])
    ids = [(record.first_readout, record.last_readout) for record in records if record.readouts]
    assert all(before[1] + 1 == after[0] for before, after in itertools.pairwise(ids))
    counts = writing.writer.counts
    assert counts.readouts + counts.empty_readouts == len(readouts)
    assert counts.board_bytes == sum(map(len, data)) == counts.readout_bytes + counts.padding_bytes
    assert counts.file_bytes == sum(record.size_bytes for record in records)


def test_rotation_by_size_within_one_batch(write: Write) -> None:
    writing = write(max_size_bytes=HEADER_BYTES + 2 * 29)
    writing.put(raws(*[b"0123456789"] * 5))
    writing.end()
    assert [record.readouts for record in writing.files.finished] == [2, 2, 1]
    writing.contents()


def test_rotation_by_time_at_the_next_readout(write: Write) -> None:
    clock = HandClock()
    writing = write(max_time_s=10.0, clock=clock)
    writing.put(raws(b"a"))
    writing.wait_for_a_batch()
    clock.sleep(10.0)
    assert writing.rotated == []
    writing.put(raws(b"b"))
    writing.wait_for_a_batch()
    assert [record.readouts for record in writing.rotated] == [1]
    writing.end()
    assert [record.last_readout for record in writing.files.finished] == [0, 1]


def test_rotation_on_request_while_nothing_comes(write: Write) -> None:
    writing = write()
    writing.put(raws(b"a"))
    writing.wait_for_a_batch()
    writing.writer.rotate()
    wait_until("the file is finished", lambda: len(writing.rotated) == 1)
    assert writing.files.current is None
    writing.writer.rotate()  # there is no file now, and an empty one is not made
    wait_until("the request is taken", lambda: not writing.writer._rotate.is_set())
    writing.put(raws(b"b"))
    writing.wait_for_a_batch()
    current = writing.files.current
    assert current is not None
    assert current.name == "run_000001_0001.apx.part"
    writing.end()
    assert [record.readouts for record in writing.files.finished] == [1, 1]


def test_rotation_before_the_first_readout_makes_no_empty_file(write: Write) -> None:
    writing = write()
    writing.writer.rotate()
    writing.put(raws(b"a"))
    writing.end()
    assert [record.readouts for record in writing.files.finished] == [1]


def test_each_batch_is_in_the_file_when_it_is_told(write: Write) -> None:
    writing = write()
    part = writing.files.current
    assert part is not None
    for number in range(1, 4):
        writing.put(raws(b"abc"))
        writing.wait_for_a_batch()
        assert part.stat().st_size == HEADER_BYTES + number * 22
        assert writing.writer.counts.readouts == number
    writing.end()


def test_what_comes_within_the_flush_time_is_one_write(write: Write, monkeypatch: pytest.MonkeyPatch) -> None:
    gathering = threading.Event()
    go_on = threading.Event()

    def gather(_: ReadoutQueue, seconds: float, *__: float) -> bool:
        assert seconds > 0
        gathering.set()
        return go_on.wait(DEADLINE_S)

    monkeypatch.setattr(ReadoutQueue, "gather", gather)
    writing = write(flush_s=1000.0)
    writing.put(raws(b"a"))
    writing.wait_for_a_batch()
    assert gathering.wait(DEADLINE_S)
    writing.put(raws(b"b", b"c"))
    writes = writing.files.writes
    go_on.set()
    wait_until("they are written", lambda: writing.writer.counts.readouts == 3)
    assert writing.files.writes == writes + 1
    monkeypatch.undo()
    writing.end()


def test_when_the_flush_time_is_nearly_over_the_next_readout_ends_it(
    write: Write, monkeypatch: pytest.MonkeyPatch
) -> None:
    ripe_in_s: list[float] = []
    gather = ReadoutQueue.gather

    def note(queue: ReadoutQueue, seconds: float, enough_bytes: float, ripe_at: float) -> bool:
        ripe_in_s.append(ripe_at - time.monotonic())
        return gather(queue, seconds, enough_bytes, ripe_at=0.0)

    monkeypatch.setattr(ReadoutQueue, "gather", note)
    writing = write(flush_s=1000.0)
    writing.put(raws(b"a"))
    writing.wait_for_a_batch()
    wait_until("it gathers", lambda: bool(ripe_in_s))
    assert 700 < ripe_in_s[0] <= 750
    while not writing.written.acquire(timeout=0.001):
        writing.put(raws(b"b"))
    monkeypatch.undo()
    writing.end()


def test_the_end_does_not_wait_for_the_flush_time(write: Write) -> None:
    writing = write(flush_s=1000.0)
    writing.put(raws(b"a"))
    writing.wait_for_a_batch()
    turns = writing.writer.progress
    wait_until("it goes round meanwhile", lambda: writing.writer.progress > turns + 2)
    writing.put(raws(b"b"))
    writing.end()
    assert writing.writer.counts.readouts == 2


def test_what_is_written_is_synced_in_time(write: Write, monkeypatch: pytest.MonkeyPatch) -> None:
    fsync = os.fsync
    synced: list[int] = []

    def note(descriptor: int) -> None:
        synced.append(os.fstat(descriptor).st_size)
        fsync(descriptor)

    writing = write(fsync_s=1e-9)
    monkeypatch.setattr("os.fsync", note)
    writing.put(raws(b"abc"))
    writing.wait_for_a_batch()
    wait_until("it is synced", lambda: synced)
    assert synced[0] == HEADER_BYTES + 22
    writing.end()


def test_a_disk_that_is_full_in_the_middle_of_a_batch(write: Write, monkeypatch: pytest.MonkeyPatch) -> None:
    """Ten readouts in one write, room for four and a half: four are there, six are lost and counted, one is empty."""
    disk = SlowDisk(monkeypatch)
    writing = write()
    first = raws(b"first")
    batch = raws(*[b"0123456789"] * 2, PADDING * 4, *[b"0123456789"] * 8)
    writing.put(first)
    assert disk.waiting.wait(DEADLINE_S)
    writing.put(batch)
    with file_size_limit(HEADER_BYTES + 24 + 4 * 29 + 15):
        disk.take()
        wait_until("the writer refuses", lambda: writing.queue.refusing)
        end = writing.end()
    assert end.failure.startswith(f"cannot write {writing.files.directory}: File too large")
    assert end.lost_readouts == 6
    assert writing.contents() == [b"".join(expected_records(first + batch)[:5])]
    counts = writing.writer.counts
    assert (counts.readouts, counts.empty_readouts) == (5, 1)
    assert (counts.board_bytes, counts.readout_bytes) == (5 + 40 + 4, 5 + 40)
    assert counts.file_bytes == HEADER_BYTES + 24 + 4 * 29
    assert [path.name for path in writing.files.directory.iterdir()] == ["run_000001_0000.apx"]


def test_what_still_comes_after_a_refusal_is_counted_as_lost(write: Write) -> None:
    writing = write()
    with file_size_limit(HEADER_BYTES):
        writing.put(raws(b"a"))
        wait_until("the writer refuses", lambda: writing.queue.refusing)
        assert not writing.queue.put(raws(b"b")[0])
        assert writing.end().lost_readouts == 2
    assert writing.contents() == [b""]


def test_a_disk_that_is_full_when_the_next_file_begins(write: Write, monkeypatch: pytest.MonkeyPatch) -> None:
    """The new file does not even take its header: it goes away, the one before is complete."""

    def create(path: Path) -> int:
        return create_file(path) if path.name.endswith("_0000.apx.part") else os.open("/dev/full", os.O_WRONLY)

    writing = write(max_size_bytes=HEADER_BYTES + 2 * 20, create=create)
    disk = SlowDisk(monkeypatch)
    writing.put(raws(b"a"))
    assert disk.waiting.wait(DEADLINE_S)
    writing.put(raws(b"b", b"c", b"d"))
    disk.take()
    end = writing.end()
    assert end == WriterEnd(f"cannot write {writing.files.directory}: No space left on device", 2)
    assert writing.contents() == [b"".join([*expected_records(raws(b"a")), record_bytes(1, 1000, b"b")])]
    assert [record.readouts for record in writing.files.finished] == [2]


def test_a_pipe_whose_reader_goes_away(write: Write) -> None:
    """Any descriptor that stops taking bytes: what it took last stays in the file's unfinished name."""
    reading, writing_end = os.pipe()
    writing = write(create=lambda path: writing_end)
    os.close(reading)
    writing.put(raws(b"a", b"b"))
    wait_until("the writer refuses", lambda: writing.queue.refusing)
    end = writing.end()
    assert end.failure.startswith(f"cannot write {writing.files.directory}: Broken pipe")
    assert end.lost_readouts == 2
    assert writing.files.finished == []


def test_a_sync_that_fails_is_a_failure(write: Write, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(_: int) -> None:
        raise OSError(5, "Input/output error")

    writing = write()
    writing.put(raws(b"a"))
    writing.wait_for_a_batch()
    with monkeypatch.context() as patch:
        patch.setattr("os.fsync", fail)
        end = writing.end()
    assert end == WriterEnd(
        "run_000001_0000.apx.part cannot be synced (Input/output error): readouts 0 to 0 may not be on the disk;"
        " run_000001_0000.apx.part keeps its name",
        0,
    )
    assert writing.contents() == [record_bytes(0, 1000, b"a")]
    assert [path.name for path in writing.files.directory.iterdir()] == ["run_000001_0000.apx.part"]


def test_an_error_nobody_expected_stops_the_reader_and_is_told(
    write: Write, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    writing = write()
    writing.put([RawReadout(b"a", -1)])  # there is no such time
    wait_until("the writer refuses", lambda: writing.queue.refusing)
    end = writing.end()
    assert end.failure.startswith("writer: error: ")
    assert end.lost_readouts == 1
    assert writing.contents() == [b""]
    assert "the writer failed" in caplog.text


def test_what_is_taken_from_the_queue_at_once_is_bounded(write: Write, monkeypatch: pytest.MonkeyPatch) -> None:
    """Else a queue could fill once more while what it held is being written."""
    monkeypatch.setattr("daqd.acquisition.writer._BATCH_BYTES", 10_000)
    disk = SlowDisk(monkeypatch)
    writing = write()
    readouts = raws(*[bytes(1000)] * 100)
    writing.put(readouts)
    assert disk.waiting.wait(DEADLINE_S)
    assert writing.queue.size_bytes >= sum(map(cost_bytes, readouts)) - 3 * 10_000
    disk.take()
    assert writing.end() == WriterEnd()
    assert b"".join(writing.contents()) == b"".join(expected_records(readouts))
