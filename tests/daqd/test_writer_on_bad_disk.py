"""The writer on disks that fail in every way there is: the run ends, says why, and keeps what it had accepted."""

import errno
import os
import shutil
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from daqd.acquisition.writer import WriterEnd
from protocol.apx import apx_open
from tests.daqd.file_bytes import record_bytes
from tests.daqd.waiting import wait_until
from tests.daqd.writing import HEADER_BYTES, Write, Writing, expected_records, raws

pytestmark = pytest.mark.slow

FIRST = raws(b"first", b"second")
LATER = raws(*[b"0123456789"] * 5)
PART, FINAL = "run_000001_0000.apx.part", "run_000001_0000.apx"


@pytest.fixture(autouse=True)
def _looks_often(monkeypatch: pytest.MonkeyPatch) -> None:
    """After each batch, and not once a second."""
    monkeypatch.setattr("daqd.acquisition.writer._CHECK_S", 0.0)


def refuse(monkeypatch: pytest.MonkeyPatch, number: int, *calls: str) -> None:
    """From now on, these calls of the writer fail with error `number`."""

    def refusing(call: Callable[..., Any]) -> Callable[..., Any]:
        def method(*arguments: Any, **options: Any) -> Any:
            if threading.current_thread().name == "writer":
                raise OSError(number, os.strerror(number))
            return call(*arguments, **options)

        return method

    for name in calls:
        owner, method = (Path, name.removeprefix("Path.")) if name.startswith("Path.") else (os, name)
        monkeypatch.setattr(owner, method, refusing(getattr(owner, method)))


def begin(write: Write, **options: Any) -> Writing:
    """A writer that has written `FIRST`."""
    writing = write(**options)
    writing.put(FIRST)
    wait_until("the first are written", lambda: writing.writer.counts.readouts == len(FIRST))
    return writing


def check_first_are_there(writing: Writing, name: str) -> None:
    assert [path.name for path in writing.files.directory.iterdir()] == [name]
    with apx_open(writing.files.directory / name) as file:
        assert [readout.data() for readout in file] == [b"first", b"second"]


@pytest.mark.parametrize("number", [errno.ENOSPC, errno.EDQUOT, errno.EIO])
def test_a_disk_that_takes_nothing_more(write: Write, monkeypatch: pytest.MonkeyPatch, number: int) -> None:
    writing = begin(write)
    with monkeypatch.context() as patch:
        refuse(patch, number, "write")
        writing.put(LATER)
        wait_until("the writer refuses", lambda: writing.queue.refusing)
        end = writing.end()
    assert end == WriterEnd(f"cannot write {writing.files.directory}: {os.strerror(number)}", len(LATER))
    check_first_are_there(writing, FINAL)
    assert [(record.readouts, record.last_readout) for record in writing.files.finished] == [(2, 1)]


def test_a_disk_that_is_read_only_all_at_once(write: Write, monkeypatch: pytest.MonkeyPatch) -> None:
    """As systems do it with a disk that has errors: not even the name can be changed."""
    writing = begin(write)
    with monkeypatch.context() as patch:
        refuse(patch, errno.EROFS, "write", "ftruncate", "Path.rename", "Path.unlink")
        writing.put(LATER)
        wait_until("the writer refuses", lambda: writing.queue.refusing)
        end = writing.end()
    said = f"cannot write {writing.files.directory}: Read-only file system; {PART} keeps its name"
    assert end == WriterEnd(said, len(LATER))
    check_first_are_there(writing, PART)
    assert writing.files.finished == []
    assert writing.writer.counts.file_bytes == (writing.files.directory / PART).stat().st_size


def test_two_errors_are_both_said(write: Write, monkeypatch: pytest.MonkeyPatch) -> None:
    writing = begin(write)
    with monkeypatch.context() as patch:
        refuse(patch, errno.ENOSPC, "write")
        refuse(patch, errno.EACCES, "Path.rename")
        writing.put(LATER)
        wait_until("the writer refuses", lambda: writing.queue.refusing)
        end = writing.end()
    where = f"cannot write {writing.files.directory}"
    assert end.failure == f"{where}: No space left on device; {where}: Permission denied; {PART} keeps its name"


def test_after_a_sync_that_failed_nothing_is_said_to_be_safe(write: Write, monkeypatch: pytest.MonkeyPatch) -> None:
    """The next call would say that all is well, although the system may have dropped what it could not write."""
    calls: list[int] = []
    fsync = os.fsync

    def fail_once(descriptor: int) -> None:
        calls.append(descriptor)
        if len(calls) == 2:
            raise OSError(errno.EIO, "Input/output error")
        fsync(descriptor)

    writing = write(fsync_s=1e-9)
    monkeypatch.setattr("os.fsync", fail_once)
    writing.put(FIRST)
    wait_until("the first are synced", lambda: len(calls) == 1)
    writing.put(LATER)
    wait_until("the writer refuses", lambda: writing.queue.refusing)
    end = writing.end()
    said = (
        f"{PART} cannot be synced (Input/output error): readouts 2 to 6 may not be on the disk; {PART} keeps its name"
    )
    assert end == WriterEnd(said, 0)
    assert len(calls) == 2
    assert writing.files.finished == writing.rotated == []
    assert [path.name for path in writing.files.directory.iterdir()] == [PART]
    assert writing.contents() == [b"".join(expected_records(FIRST) + later_records())]
    assert writing.writer.counts.readouts == 7


def later_records() -> list[bytes]:
    return [record_bytes(2 + number, 1000 + number, b"0123456789") for number in range(5)]


def test_a_directory_that_cannot_be_synced(write: Write, monkeypatch: pytest.MonkeyPatch) -> None:
    """The file is whole and has its name; that this lasts through a power cut is not said."""

    def fail(_: Path) -> None:
        raise OSError(errno.EIO, "Input/output error")

    writing = begin(write)
    monkeypatch.setattr("daqd.runs.run_files.sync_directory", fail)
    assert writing.end() == WriterEnd(f"cannot write {writing.files.directory}: Input/output error", 0)
    check_first_are_there(writing, FINAL)
    assert [record.readouts for record in writing.files.finished] == [2]
    assert writing.files.left == ""


def test_a_directory_that_cannot_be_synced_gets_no_new_file(write: Write, monkeypatch: pytest.MonkeyPatch) -> None:
    writing = begin(write, max_size_bytes=HEADER_BYTES + 60)
    synced = 0

    def fail(_: Path) -> None:
        nonlocal synced
        synced += 1
        if synced == 2:
            raise OSError(errno.EIO, "Input/output error")

    monkeypatch.setattr("daqd.runs.run_files.sync_directory", fail)
    writing.put(LATER)
    wait_until("the writer refuses", lambda: writing.queue.refusing)
    assert writing.end() == WriterEnd(f"cannot write {writing.files.directory}: Input/output error", len(LATER))
    check_first_are_there(writing, FINAL)


def _remove_file(part: Path) -> None:
    part.unlink()


def _remove_run(part: Path) -> None:
    shutil.rmtree(part.parent)


def _remove_data(part: Path) -> None:
    shutil.rmtree(part.parent.parent)


@pytest.mark.parametrize("damage", [_remove_file, _remove_run, _remove_data])
@pytest.mark.parametrize("when", ["while nothing comes", "while data come", "at the end"])
def test_what_is_removed_while_it_is_written_comes_back(
    write: Write, damage: Callable[[Path], None], when: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("daqd.acquisition.writer._CHECK_S", 1e9)  # else the writer is quicker than who removes
    writing = begin(write)
    part = writing.files.current
    assert part is not None
    accepted = list(FIRST)
    if when == "while data come":
        writing.put(LATER)
        accepted += LATER
    damage(part)
    if when != "at the end":
        monkeypatch.setattr("daqd.acquisition.writer._CHECK_S", 0.0)
        wait_until("the writer refuses", lambda: writing.queue.refusing)
    end = writing.end()
    assert end.failure == f"{PART} was removed; what had been written was written once more"
    assert [path.name for path in writing.files.directory.iterdir()] == [FINAL]
    written = len(accepted) - end.lost_readouts
    assert writing.contents()[0].startswith(b"".join(expected_records(FIRST)))
    assert [record.readouts for record in writing.files.finished] == [written] == [writing.writer.counts.readouts]


def test_files_that_were_finished_and_are_gone_are_said(write: Write) -> None:
    writing = begin(write, max_size_bytes=HEADER_BYTES + 60)
    writing.put(LATER)
    wait_until("all are written", lambda: writing.writer.counts.readouts == 7)
    _remove_run(writing.files.directory / PART)
    end = writing.end()
    assert end.failure.endswith("; 3 finished files are not in their place any more")
    assert [path.name for path in writing.files.directory.iterdir()] == ["run_000001_0003.apx"]


def test_a_run_that_is_moved_while_it_is_written_is_in_both_places(write: Write, tmp_path: Path) -> None:
    writing = begin(write)
    elsewhere = tmp_path / "elsewhere"
    writing.files.directory.rename(elsewhere)
    wait_until("the writer refuses", lambda: writing.queue.refusing)
    assert writing.end().failure == f"{PART} was moved to {elsewhere / PART}; it has its old name again, too"
    check_first_are_there(writing, FINAL)
    assert (elsewhere / PART).samefile(writing.files.directory / FINAL)


def test_what_takes_the_place_of_the_file_is_not_touched(write: Write) -> None:
    writing = begin(write)
    part = writing.files.current
    assert part is not None
    part.unlink()
    part.write_text("somebody's")
    wait_until("the writer refuses", lambda: writing.queue.refusing)
    end = writing.end()
    assert end.failure == f"{PART} was removed; its name is taken, what had been written is in {PART}.kept"
    assert part.read_text() == "somebody's"
    with apx_open(part.with_name(f"{PART}.kept")) as file:
        assert [readout.data() for readout in file] == [b"first", b"second"]
    assert writing.files.finished == []
