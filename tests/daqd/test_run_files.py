"""The files of a run, byte by byte: content, rotation, names, and what a full disk leaves of them."""

import hashlib
import os
import shutil
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from daqd.errors import DiskError
from daqd.runs.run_files import RunFiles, create_file
from daqd.runs.run_store import RunStore
from protocol.apx import apx_open
from protocol.readout import AstroPix4Readout
from tests.daqd.emulated_bench import HandClock
from tests.daqd.file_bytes import header_bytes, record_bytes
from tests.daqd.refusing_disk import file_size_limit

HEADER: dict[str, Any] = {"run": 1, "comment": "40 mV, 20 °C"}
MakeFiles = Callable[..., RunFiles]


@pytest.fixture
def make(store: RunStore) -> Iterator[MakeFiles]:
    """Makes the files of a new run, and closes them."""
    made: list[RunFiles] = []

    def make_files(max_size_bytes: int = 1 << 30, max_time_s: float = 1e9, **options: Any) -> RunFiles:
        run = store.claim()
        files = RunFiles(
            store,
            run,
            AstroPix4Readout,
            HEADER,
            max_size_bytes=max_size_bytes,
            max_time_s=max_time_s,
            **options,
        )
        made.append(files)
        return files

    yield make_files
    for files in made:
        files.abandon()


def append(files: RunFiles, records: Sequence[bytes]) -> None:
    """As the writer does: one by one, a new file where there is no room."""
    for record in records:
        if not files.room_for(len(record), 0):
            if files.readouts_in_current:
                files.finish()
            files.open_next()
        files.append([record], files.readouts)


def names(directory: Path) -> list[str]:
    return sorted(path.name for path in directory.iterdir())


def test_one_file_byte_by_byte(make: MakeFiles) -> None:
    files = make()
    files.open_next()
    records = [record_bytes(0, 17, b"\xbc\xbc"), record_bytes(1, 1 << 63, b""), record_bytes(2, 0, bytes(range(256)))]
    files.append(records[:1], 0)
    files.append(records[1:], 1)
    part = files.current
    assert part is not None
    assert part.name == "run_000001_0000.apx.part"
    expected = header_bytes(**HEADER, file=0) + b"".join(records)
    assert part.read_bytes() == expected
    assert files.size_bytes == len(expected)
    record = files.finish()
    assert record is not None
    assert files.current is None
    assert names(files.directory) == ["run_000001_0000.apx"]
    assert (files.directory / record.name).read_bytes() == expected
    assert record.size_bytes == files.size_bytes == len(expected)
    assert record.sha256 == hashlib.sha256(expected).hexdigest()
    assert (record.index, record.readouts, record.first_readout, record.last_readout) == (0, 3, 0, 2)
    assert record.begin_ns <= record.end_ns
    assert files.finished == [record]


def test_a_file_without_readouts_is_a_header(make: MakeFiles) -> None:
    files = make()
    files.open_next()
    record = files.finish()
    assert record is not None
    assert (record.readouts, record.first_readout, record.last_readout) == (0, None, None)
    assert (files.directory / record.name).read_bytes() == header_bytes(**HEADER, file=0)
    assert files.finish() is None
    assert files.finished == [record]


def test_rotation_by_size_cuts_between_records(make: MakeFiles) -> None:
    record = record_bytes(0, 0, bytes(100))
    header = len(header_bytes(**HEADER, file=0))
    files = make(max_size_bytes=header + 3 * len(record))
    files.open_next()
    append(files, [record] * 7)
    files.finish()
    assert [file.readouts for file in files.finished] == [3, 3, 1]
    assert [(file.first_readout, file.last_readout) for file in files.finished] == [(0, 2), (3, 5), (6, 6)]
    assert [file.size_bytes - header for file in files.finished] == [3 * len(record), 3 * len(record), len(record)]
    assert names(files.directory) == [f"run_000001_{index:04}.apx" for index in range(3)]


def test_a_record_larger_than_a_file_may_be_has_a_file_of_its_own(make: MakeFiles) -> None:
    files = make(max_size_bytes=1)
    files.open_next()
    append(files, [record_bytes(number, 0, bytes(50)) for number in range(3)])
    files.finish()
    assert [file.readouts for file in files.finished] == [1, 1, 1]


def test_room_counts_what_is_about_to_be_written(make: MakeFiles) -> None:
    header = len(header_bytes(**HEADER, file=0))
    files = make(max_size_bytes=header + 100)
    assert not files.room_for(10, 0)
    files.open_next()
    assert files.room_for(1000, 0)
    assert files.room_for(50, 50)
    assert not files.room_for(51, 50)
    files.append([bytes(60)], 0)
    assert files.room_for(40, 0)
    assert not files.room_for(41, 0)
    assert not files.room_for(40, 1)


def test_rotation_by_time(make: MakeFiles) -> None:
    clock = HandClock()
    files = make(max_time_s=10.0, clock=clock)
    files.open_next()
    clock.sleep(20.0)
    assert files.room_for(10, 0), "the first record belongs into the file that is there, however old"
    files.append([bytes(10)], 0)
    assert not files.room_for(10, 0)
    files.finish()
    files.open_next()
    files.append([bytes(10)], 1)
    clock.sleep(9.9)
    assert files.room_for(10, 0)
    clock.sleep(0.1)
    assert not files.room_for(10, 0)


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=60, deadline=None)
@given(st.lists(st.binary(max_size=200), max_size=30), st.integers(1, 1500))
def test_the_files_of_a_run_are_one_stream(make: MakeFiles, readouts: list[bytes], max_size_bytes: int) -> None:
    files = make(max_size_bytes=max_size_bytes)
    files.open_next()
    records = [record_bytes(number, 10 * number, data) for number, data in enumerate(readouts)]
    append(files, records)
    files.finish()
    stream = b""
    for index, file in enumerate(files.finished):
        content = (files.directory / file.name).read_bytes()
        header = header_bytes(**HEADER, file=index)
        assert content.startswith(header)
        assert len(content) == file.size_bytes
        assert len(content) <= max_size_bytes or file.readouts <= 1
        assert hashlib.sha256(content).hexdigest() == file.sha256
        stream += content[len(header) :]
        with apx_open(files.directory / file.name) as opened:
            assert opened.header["file"] == index
            assert opened.header["comment"] == HEADER["comment"]
            assert [readout.readout_id for readout in opened] == list(
                range(file.first_readout or 0, (file.last_readout or 0) + 1) if file.readouts else ()
            )
    assert stream == b"".join(records)
    assert sum(file.readouts for file in files.finished) == files.readouts == len(readouts)
    assert files.size_bytes == sum(file.size_bytes for file in files.finished)


def test_no_file_is_opened_over_another(make: MakeFiles, store: RunStore) -> None:
    files = make()
    path = store.part_path(1, 0)
    path.write_bytes(b"somebody's")
    with pytest.raises(FileExistsError):
        files.open_next()
    assert path.read_bytes() == b"somebody's"
    assert files.finish() is None


def test_no_file_is_renamed_over_another(make: MakeFiles, store: RunStore) -> None:
    files = make()
    files.open_next()
    files.append([record_bytes(0, 0, b"a")], 0)
    store.file_path(1, 0).write_bytes(b"somebody's")
    with pytest.raises(FileExistsError, match=r"run_000001_0000\.apx exists"):
        files.finish()
    assert store.file_path(1, 0).read_bytes() == b"somebody's"
    assert store.part_path(1, 0).read_bytes() == header_bytes(**HEADER, file=0) + record_bytes(0, 0, b"a")
    assert files.finished == []
    assert files.left == "run_000001_0000.apx.part"
    assert files.size_bytes == store.part_path(1, 0).stat().st_size
    assert files.finish() is None


@pytest.mark.parametrize("fitting_bytes", [0, 1, 18, 19, 20, 69, 70, 137, 138, 139, 206])
def test_what_fits_whole_on_a_full_disk_stays(make: MakeFiles, fitting_bytes: int) -> None:
    """A batch of three records of 69 bytes: what was whole may have been read by now, and must not go again."""
    records = [record_bytes(number, 0, bytes([number]) * 50) for number in range(3)]
    files = make()
    files.open_next()
    header = files.size_bytes
    with file_size_limit(header + fitting_bytes), pytest.raises(OSError, match="File too large"):
        files.append(records, 0)
    whole = fitting_bytes // 69
    assert files.readouts == files.readouts_in_current == whole
    expected = header_bytes(**HEADER, file=0) + b"".join(records[:whole])
    record = files.finish()
    assert record is not None
    assert (files.directory / record.name).read_bytes() == expected
    assert (record.size_bytes, record.readouts) == (len(expected), whole)
    assert record.sha256 == hashlib.sha256(expected).hexdigest()
    assert (record.first_readout, record.last_readout) == ((0, whole - 1) if whole else (None, None))


def test_ids_go_on_after_a_refusal(make: MakeFiles) -> None:
    files = make()
    files.open_next()
    with file_size_limit(files.size_bytes + 69), pytest.raises(OSError, match="File too large"):
        files.append([record_bytes(number, 0, bytes(50)) for number in range(2)], 0)
    files.append([record_bytes(1, 0, bytes(50))], 1)
    record = files.finish()
    assert record is not None
    assert (record.first_readout, record.last_readout, record.readouts) == (0, 1, 2)


def test_a_header_that_does_not_fit_leaves_no_file(make: MakeFiles) -> None:
    files = make()
    with file_size_limit(20), pytest.raises(OSError, match="File too large"):
        files.open_next()
    assert files.current is None
    assert names(files.directory) == []
    assert files.finish() is None


def test_a_torn_end_that_cannot_be_cut_off_keeps_the_name_of_an_unfinished_file(
    make: MakeFiles, monkeypatch: pytest.MonkeyPatch
) -> None:
    records = [record_bytes(number, 0, bytes(50)) for number in range(2)]
    files = make()
    files.open_next()
    with monkeypatch.context() as patch, file_size_limit(files.size_bytes + 80):
        patch.setattr("os.ftruncate", _broken_disk)
        with pytest.raises(OSError, match="File too large"):
            files.append(records, 0)
    assert files.readouts == 1
    assert files.current is None
    assert files.finish() is None
    assert names(files.directory) == ["run_000001_0000.apx.part"]
    with apx_open(files.directory / "run_000001_0000.apx.part") as opened:
        assert [readout.data() for readout in opened] == [bytes(50)]
        assert opened.leftover_bytes == 11


def _broken_disk(*_: object) -> None:
    raise OSError(5, "Input/output error")


def test_a_full_device_gives_its_own_error(make: MakeFiles) -> None:
    files = make(create=lambda path: os.open("/dev/full", os.O_WRONLY))
    with pytest.raises(OSError, match="No space left on device"):
        files.open_next()
    assert files.current is None


def test_short_writes_are_completed(make: MakeFiles, monkeypatch: pytest.MonkeyPatch) -> None:
    write = os.write
    files = make()
    with monkeypatch.context() as patch:
        patch.setattr("os.write", lambda descriptor, data: write(descriptor, bytes(data[:7])))
        files.open_next()
        files.append([record_bytes(0, 0, bytes(50)), record_bytes(1, 0, b"")], 0)
    record = files.finish()
    assert record is not None
    content = (files.directory / record.name).read_bytes()
    assert content == header_bytes(**HEADER, file=0) + record_bytes(0, 0, bytes(50)) + record_bytes(1, 0, b"")
    assert record.sha256 == hashlib.sha256(content).hexdigest()


def test_a_new_file_can_be_read_by_others_and_only_be_appended_to(tmp_path: Path) -> None:
    descriptor = create_file(tmp_path / "new")
    try:
        os.write(descriptor, b"abc")
        os.lseek(descriptor, 0, os.SEEK_SET)
        os.write(descriptor, b"def")
    finally:
        os.close(descriptor)
    assert (tmp_path / "new").read_bytes() == b"abcdef"
    with pytest.raises(FileExistsError):
        create_file(tmp_path / "new")


def test_a_run_that_is_removed_just_before_its_file_is_renamed(
    make: MakeFiles, store: RunStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    """After it was seen to be in its place: the file is still open then, and comes back whole."""
    files = make()
    files.open_next()
    records = [record_bytes(number, number, b"\xbc" * 100) for number in range(3)]
    files.append(records, 0)
    file_path = store.file_path

    def remove_first(run: int, index: int) -> Path:
        monkeypatch.undo()
        shutil.rmtree(store.run_directory(run))
        return file_path(run, index)

    monkeypatch.setattr(store, "file_path", remove_first)
    with pytest.raises(DiskError, match=r"was removed; what had been written was written once more$"):
        files.finish()
    assert names(files.directory) == ["run_000001_0000.apx.part"]
    record = files.finish()
    assert record is not None
    assert (files.directory / record.name).read_bytes() == header_bytes(**HEADER, file=0) + b"".join(records)
