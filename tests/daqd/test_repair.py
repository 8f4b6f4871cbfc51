"""What the daemon's start does about runs that were left open."""

import logging
from pathlib import Path

import pytest

from daqd.following.feed import Complaint
from daqd.following.follower import Follower
from daqd.runs.repair import repair_runs
from daqd.runs.run_store import RunStore
from protocol.run_record import RunRecord
from tests.daqd.run_on_disk import RunOnDisk, kinds, number_readouts, poll_all, readouts_of

CHUNKS = [b"\xbcone", b"\xbctwo", b"\xbcthree", b"\xbcfour"]
TORN = b"\xfe\xdc\xba\x04\0\0"


@pytest.fixture(autouse=True)
def _warnings(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.DEBUG, "daqd")


def left_open(store: RunStore, run: int = 1, tail: bytes = TORN) -> RunOnDisk:
    """A run of two files, the second of which is not finished."""
    steps = RunOnDisk(store, run)
    for step in steps.steps([number_readouts(CHUNKS[:2]), number_readouts(CHUNKS[2:], 2)])[:-2]:
        step()
    steps.append(tail)
    return steps


def record_of(store: RunStore, run: int = 1) -> RunRecord:
    record = store.read_record(run)
    assert record is not None
    return record


def test_each_run_that_was_left_open_is_repaired_with_a_line_in_the_log(
    store: RunStore, caplog: pytest.LogCaptureFixture
) -> None:
    for run in (1, 2):
        left_open(store, run)
    RunOnDisk(store, 3).write_all([number_readouts(CHUNKS)])
    closed = record_of(store, 3)
    repair_runs(store)
    lines = [record.getMessage() for record in caplog.records]
    assert len(lines) == 2
    assert lines[0].startswith(
        "run 1, which was left open, is repaired: run_000001_0001.apx is finished, 2 readouts, 6 bytes put aside in"
        " run_000001_0001.apx.cut; the record says interrupted, 4 readouts, "
    )
    assert [record_of(store, run).state for run in (1, 2, 3)] == ["interrupted", "interrupted", "finished"]
    assert record_of(store, 3) == closed
    caplog.clear()
    repair_runs(store)
    assert not caplog.records


def test_a_run_that_cannot_be_repaired_does_not_stand_in_the_way_of_others(
    store: RunStore, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    for run in (1, 2, 3, 4):
        left_open(store, run)
    store.record_path(1).write_text('{"format": 2}')
    read = Path.read_bytes

    def refuse(path: Path) -> bytes:
        if path == store.record_path(2):
            raise PermissionError(13, "Permission denied", str(path))
        return read(path)

    monkeypatch.setattr(Path, "read_bytes", refuse)
    store.record_path(3).unlink()
    store.part_path(3, 1).unlink()
    store.file_path(3, 0).unlink()
    (store.data_dir / "run_0000009").mkdir()
    repair_runs(store)
    said = [(record.levelname, record.getMessage()) for record in caplog.records]
    assert said[0][1].startswith("run 1, which was left open, is repaired: run_000001_0001.apx is finished")
    assert said[1][1].startswith("run 1: run_000001.json is not a run record: ")
    assert said[2][0] == "ERROR"
    assert said[2][1].startswith("run 2 could not be repaired: [Errno 13] Permission denied")
    assert said[3][1].startswith("run 4, which was left open, is repaired")
    assert record_of(store, 4).state == "interrupted"


def test_it_ends_early_where_the_daemon_is_told_to_end(store: RunStore) -> None:
    for run in (1, 2):
        left_open(store, run)
    answers = iter([False, True])
    repair_runs(store, lambda: next(answers))
    assert [record_of(store, run).state for run in (1, 2)] == ["interrupted", "running"]


def test_run_numbers_go_on_behind_what_was_repaired(store: RunStore) -> None:
    assert store.claim() == 1
    left_open(store, 5)
    repair_runs(store)
    assert (store.last_run(), store.claim()) == (5, 6)


@pytest.mark.parametrize("settled", [0, 1])
def test_a_repaired_run_is_read_as_any_other(store: RunStore, settled: int) -> None:
    left_open(store)
    repair_runs(store)
    follower = Follower(store, after_run=0, settled_run=settled)
    events = poll_all(follower)
    follower.close()
    assert kinds(events) == ["begin", "readouts", "end"]
    assert readouts_of(events) == number_readouts(CHUNKS)
    assert not [event for event in events if isinstance(event, Complaint)]


@pytest.mark.parametrize("seen", range(6))
def test_a_publisher_that_outlives_its_daemon_is_not_confused_by_the_repair(store: RunStore, seen: int) -> None:
    """It may have the file open that becomes shorter and gets another name, and be anywhere in it."""
    left_open(store)
    follower = Follower(store, after_run=0)
    events = [event for _ in range(seen) for event in follower.poll()]
    repair_runs(store)
    events += poll_all(follower)
    follower.close()
    assert [kind for kind in kinds(events) if kind != "complaint"] == ["begin", "readouts", "end"]
    assert readouts_of(events) == number_readouts(CHUNKS)
