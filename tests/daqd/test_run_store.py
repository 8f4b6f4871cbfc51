"""Run numbers that never repeat, records that are never half there."""

import json
import threading
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from astropix_runtime.storage.durable import replace_text
from daqd.errors import DiskError
from daqd.runs import run_store
from daqd.runs.run_store import RunStore
from protocol.ledger import Ledger
from protocol.run_record import RunRecord
from tests.daqd.waiting import DEADLINE_S


def record(run: int, **values: Any) -> RunRecord:
    known = {"daq": "bench", "run": run, "state": "running", "begin_ns": 1, "software": {}, "readout_uid": 4000}
    return RunRecord.model_validate({**known, "configuration": {}, **values})


def test_names(store: RunStore) -> None:
    data = store.data_dir
    assert store.run_directory(7) == data / "run_000007"
    assert store.file_path(7, 3) == data / "run_000007" / "run_000007_0003.apx"
    assert store.part_path(7, 3) == data / "run_000007" / "run_000007_0003.apx.part"
    assert store.record_path(1234567) == data / "run_1234567" / "run_1234567.json"


def test_runs_are_counted_from_one(store: RunStore) -> None:
    assert store.last_run() == 0
    assert [store.claim() for _ in range(3)] == [1, 2, 3]
    assert store.runs() == [1, 2, 3]
    assert (store.data_dir / "last_run").read_text() == "3\n"


def test_a_number_can_be_asked_for_once_and_upwards(store: RunStore) -> None:
    assert store.claim(10) == 10
    for given_before in (10, 9, 1):
        with pytest.raises(
            ValueError,
            match=rf"run {given_before} (was|is not above run 10, which was) given before; the next free number is 11",
        ):
            store.claim(given_before)
    assert store.claim() == 11
    assert store.runs() == [10, 11]


def test_directories_that_are_gone_do_not_give_their_numbers_back(store: RunStore) -> None:
    for _ in range(3):
        store.run_directory(store.claim()).rmdir()
    assert store.runs() == []
    assert store.claim() == 4


@pytest.mark.parametrize("counter", [None, "", "nonsense", "2", "-5", "1e9", "\0\0\0\0"])
def test_a_counter_that_is_lost_or_damaged_does_not_give_numbers_back(store: RunStore, counter: str | None) -> None:
    assert store.claim(6) == 6
    path = store.data_dir / "last_run"
    if counter is None:
        path.unlink()
    else:
        path.write_text(counter)
    assert store.claim() == 7


def test_a_damaged_counter_without_runs_begins_at_one(store: RunStore) -> None:
    (store.data_dir / "last_run").write_text("-5\n")
    assert store.claim() == 1


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=200)
@given(counter=st.binary(max_size=30))
def test_no_counter_is_an_error(store: RunStore, counter: bytes) -> None:
    (store.data_dir / "last_run").write_bytes(counter)
    assert store.last_run() >= 0


def test_a_counter_that_cannot_be_read_is_an_error_that_says_so(store: RunStore) -> None:
    (store.data_dir / "last_run").mkdir()
    with pytest.raises(DiskError, match=r"cannot read .*last_run: Is a directory"):
        store.claim()
    assert store.runs() == []


def test_other_names_are_no_runs(store: RunStore) -> None:
    for name in ("run_12", "run_000012.old", "xrun_000012", "run_", "run_00001x"):
        (store.data_dir / name).mkdir()
    (store.data_dir / "run_000013").write_text("a file, not a directory")
    assert store.runs() == []


def test_a_name_in_the_way_is_an_error_and_nothing_is_overwritten(store: RunStore) -> None:
    (store.data_dir / "run_000001").write_text("somebody's")
    with pytest.raises(DiskError, match=r"cannot make a directory for run 1 in .*exists"):
        store.claim()
    assert (store.data_dir / "run_000001").read_text() == "somebody's"


def test_a_number_is_used_up_where_only_the_counter_could_not_be_written(
    store: RunStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    with monkeypatch.context() as patch:
        patch.setattr(run_store, "replace_text", _disk_full)
        with pytest.raises(DiskError, match="No space left"):
            store.claim()
    assert store.claim() == 2


def _disk_full(*_: object) -> None:
    raise OSError(28, "No space left on device")


def test_claims_at_the_same_time_never_get_the_same_number(store: RunStore) -> None:
    claimed: list[int] = []
    barrier = threading.Barrier(4)

    def claim() -> None:
        own = RunStore(store.data_dir)
        barrier.wait(DEADLINE_S)
        for _ in range(25):
            try:
                claimed.append(own.claim())
            except (DiskError, ValueError):
                continue  # somebody else was faster

    threads = [threading.Thread(target=claim) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(DEADLINE_S)
    assert len(claimed) == len(set(claimed)) > 0
    assert set(claimed) <= set(store.runs())


def test_the_directory_is_made(tmp_path: Path) -> None:
    store = RunStore(tmp_path / "far" / "away")
    assert store.runs() == []
    assert store.last_run() == 0
    store.prepare()
    store.prepare()
    assert store.claim() == 1


def test_a_directory_that_cannot_be_made(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(DiskError, match=r"cannot make the data directory .*file/data: Not a directory"):
        RunStore(tmp_path / "file" / "data").prepare()


def test_a_directory_that_cannot_be_written(store: RunStore, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("os.access", lambda *_: False)  # the tests may run as root, who can write everywhere
    with pytest.raises(DiskError, match=r"cannot be written; change its owner or daq\.data_dir"):
        store.prepare()


def test_records_come_back(store: RunStore) -> None:
    run = store.claim()
    assert store.read_record(run) is None
    written = record(run, comment="40 mV, Cd-109, 20 °C, 高", configuration={"a": [1, 2.5, None]})
    store.write_record(written)
    assert store.read_record(run) == written
    text = store.record_path(run).read_bytes()
    assert text.endswith(b"}\n")
    assert b"\r" not in text
    assert json.loads(text.decode("utf-8"))["comment"] == written.comment
    assert sorted(path.name for path in store.run_directory(run).iterdir()) == [f"run_{run:06}.json"]


@pytest.mark.parametrize("text", ["", "{", "[]", "null", '{"run": 1}', "\xff\xfe", '{"format": 2}'])
def test_what_is_no_record_is_an_error_of_one_line(store: RunStore, text: str) -> None:
    run = store.claim()
    store.record_path(run).write_bytes(text.encode("latin-1"))
    with pytest.raises(ValueError, match="not a run record") as caught:
        store.read_record(run)
    assert "\n" not in str(caught.value)


def test_a_record_that_cannot_be_written_is_an_error_and_the_old_one_stays(
    store: RunStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    run = store.claim()
    store.write_record(record(run))
    with monkeypatch.context() as patch:
        patch.setattr("os.fsync", _disk_full)
        with pytest.raises(DiskError, match=f"cannot write the record of run {run}: .*No space left"):
            store.write_record(record(run, state="finished"))
    assert store.read_record(run) == record(run)


def test_a_reader_sees_whole_records_only(store: RunStore) -> None:
    run = store.claim()
    versions = [record(run, comment=str(number) * 5000) for number in range(10)]
    store.write_record(versions[0])
    done = threading.Event()
    seen: list[RunRecord | None] = []

    def look() -> None:
        while not done.is_set():
            seen.append(store.read_record(run))

    thread = threading.Thread(target=look)
    thread.start()
    for version in versions * 5:
        store.write_record(version)
    done.set()
    thread.join(DEADLINE_S)
    assert seen
    assert all(each in versions for each in seen)


def test_replacing_a_text_leaves_nothing_else(tmp_path: Path) -> None:
    path = tmp_path / "text"
    replace_text(path, "one\n")
    replace_text(path, "zwölf\n")
    assert path.read_bytes() == "zwölf\n".encode()
    assert list(tmp_path.iterdir()) == [path]


def test_space_is_kept_for_the_record_and_given_back(store: RunStore) -> None:
    run = store.claim()
    store.reserve(run)
    (reserve,) = store.run_directory(run).iterdir()
    assert reserve.stat().st_size > 100_000
    store.release(run)
    store.release(run)
    assert list(store.run_directory(run).iterdir()) == []


def test_a_ledger_completes_the_record_of_a_run_that_has_ended(store: RunStore) -> None:
    run = store.claim()
    ledger = Ledger(bytes_read=8, hit=8, hits=1).to_dict()
    store.add_ledger(run, ledger)
    assert store.read_record(run) is None
    store.write_record(record(run))
    store.add_ledger(run, ledger)
    assert store.read_record(run) == record(run)
    store.write_record(record(run, state="finished", end_ns=2))
    store.add_ledger(run, ledger)
    assert store.read_record(run) == record(run, state="finished", end_ns=2, ledger=ledger)


def test_a_record_is_written_where_its_directory_was_taken_away(store: RunStore) -> None:
    run = store.claim()
    store.run_directory(run).rmdir()
    written = record(run)
    store.write_record(written)
    assert store.read_record(run) == written
