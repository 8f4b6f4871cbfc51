"""`apx repair`: runs and lone files made whole, nothing lost, intact ones untouched, daemons respected."""

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from apx.cli import main
from astropix_runtime.storage.process_lock import holder, sign, try_lock
from tests.astropix_runtime.killed_repair import KilledRepairs, repair_file
from tests.astropix_runtime.run_left_open import RunLeftOpen, record_bytes, records
from tests.deadline import DEADLINE_S

pytestmark = pytest.mark.slow

Capture = pytest.CaptureFixture[str]

TORN = record_bytes(99)[:-3]


@pytest.fixture
def run(tmp_path: Path) -> RunLeftOpen:
    """A run that was left open."""
    run = RunLeftOpen(tmp_path / "data")
    run.write_record(run.finish_file(0))
    run.open_file(1, 2, TORN)
    return run


def repair(*arguments: str | Path, code: int = 0) -> None:
    assert main(["repair", *map(str, arguments)]) == code


def as_json(capsys: Capture) -> list[dict[str, Any]]:
    return [json.loads(line) for line in capsys.readouterr().out.splitlines()]


def test_a_run_that_was_left_open(run: RunLeftOpen, capsys: Capture) -> None:
    before = run.snapshot()
    repair("--dry-run", run.directory.parent)
    said = capsys.readouterr().out
    assert said.startswith(
        f"{run.directory}: would be repaired: run_000007_0001.apx is finished, 2 readouts, 23 bytes put aside"
    )
    assert run.snapshot() == before
    repair(run.directory.parent)
    assert capsys.readouterr().out == said.replace("would be repaired:", "repaired:")
    assert run.check_whole().state == "interrupted"
    assert run.path(1, ".cut").read_bytes() == TORN
    before = run.snapshot()
    repair(run.directory)
    assert capsys.readouterr().out == f"{run.directory}: nothing to do\n"
    assert run.snapshot() == before
    assert main(["verify", str(run.directory)]) == 0


def test_json(run: RunLeftOpen, capsys: Capture) -> None:
    repair("--json", run.directory)
    (said,) = as_json(capsys)
    assert (said["path"], said["dry_run"], said["remarks"]) == (str(run.directory), False, [])
    assert said["repaired"].startswith("run_000007_0001.apx is finished")
    assert said["cuts"] == [cut.model_dump() for cut in run.record.cuts]
    repair("--json", run.directory)
    assert as_json(capsys)[0]["repaired"] == ""


def test_a_file_of_a_run_stands_for_the_run(run: RunLeftOpen, capsys: Capture) -> None:
    repair(run.path(1, ".part"))
    assert capsys.readouterr().out.startswith(f"{run.directory}: repaired: ")
    run.check_whole()


@pytest.mark.parametrize("name", ["copy.apx.part", "copy.apx"])
def test_a_lone_file_that_was_cut(tmp_path: Path, run: RunLeftOpen, capsys: Capture, name: str) -> None:
    path = tmp_path / name
    path.write_bytes(run.content(0) + TORN)
    repair(path)
    said = capsys.readouterr().out
    assert "5 readouts, 23 bytes put aside in copy.apx.cut" in said
    assert ("finished" if name.endswith(".part") else "mended") in said
    assert (tmp_path / "copy.apx").read_bytes() == run.content(0)
    assert (tmp_path / "copy.apx.cut").read_bytes() == TORN
    assert {each.name for each in tmp_path.iterdir()} == {"data", "copy.apx", "copy.apx.cut"}
    repair(tmp_path / "copy.apx")
    assert capsys.readouterr().out == f"{tmp_path / 'copy.apx'}: nothing to do\n"


def test_damage_in_the_middle_of_a_lone_file_through_a_kill_at_every_step(
    tmp_path: Path, run: RunLeftOpen, capsys: Capture, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(os, "fsync", lambda _: None)
    path, cut = tmp_path / "copy.apx", tmp_path / "copy.apx.cut"
    damaged = run.header(0) + records(0, 3) + b"?" * 30 + records(4, 3) + b"!!" + records(7, 1) + TORN
    mended = run.header(0) + records(0, 3) + records(4, 3) + records(7, 1)
    step, killed = 0, True
    with KilledRepairs() as repairs:
        while killed:
            cut.unlink(missing_ok=True)
            path.write_bytes(damaged)
            killed = repairs.killed_at(step, repair_file, path)
            step += 1
            assert path.read_bytes() in (damaged, mended)
            repair("--json", path)
            assert path.read_bytes() == mended
            assert cut.read_bytes() == b"?" * 30 + b"!!" + TORN
            said = as_json(capsys)[-1]
            if said["repaired"]:
                assert [(each["offset"], each["size_bytes"]) for each in said["cuts"]] == [
                    (len(run.header(0)) + 3 * 26, 30), (len(run.header(0)) + 6 * 26 + 30, 2), (len(damaged) - 23, 23),
                ]  # fmt: skip
    assert step > 5


@pytest.mark.parametrize("name", ["notes.txt", "film.part", "broken.apx"])
def test_files_that_are_no_recordings_are_left_alone(tmp_path: Path, capsys: Capture, name: str) -> None:
    path = tmp_path / name
    path.write_bytes(b"something else")
    repair(path, code=1)
    assert "not an .apx file" in capsys.readouterr().out
    assert [(each.name, each.read_bytes()) for each in tmp_path.iterdir()] == [(name, b"something else")]


def test_a_lone_part_without_a_whole_header(tmp_path: Path, capsys: Capture) -> None:
    path = tmp_path / "copy.apx.part"
    path.write_bytes(b"%APXDF\x50")
    repair(path)
    assert "has no whole header: 7 bytes put aside in copy.apx.cut" in capsys.readouterr().out
    assert [each.name for each in tmp_path.iterdir()] == ["copy.apx.cut"]


@pytest.mark.skipif(sys.platform == "win32", reason="there are no such locks")
def test_a_data_directory_that_a_daemon_has(run: RunLeftOpen, capsys: Capture) -> None:
    other = RunLeftOpen(run.directory.parent, run.run + 1)  # refused in one line, too
    other.write_record()
    before = run.snapshot()
    lock = run.directory.parent / ".lock"
    file = os.open(lock, os.O_RDWR | os.O_CREAT)
    assert try_lock(file)
    sign(file)
    for path in (run.directory.parent, run.directory, run.path(1, ".part")):
        repair(path, code=1)
        assert capsys.readouterr().err == (
            f"apx: {run.directory.parent} is in use by process {os.getpid()}: end that daemon first (daqctl shutdown)\n"
        )
    assert run.snapshot() == before
    os.close(file)
    repair(run.directory)
    run.check_whole()
    assert holder(lock) == ""


@pytest.mark.skipif(sys.platform == "win32", reason="there are no such locks")
def test_no_daemon_begins_while_it_works(run: RunLeftOpen, monkeypatch: pytest.MonkeyPatch) -> None:
    lock = run.directory.parent / ".lock"
    lock.touch()
    seen: list[str] = []
    monkeypatch.setattr("astropix_runtime.storage.durable.truncate", lambda *_: seen.append(holder(lock)))
    monkeypatch.setattr("astropix_runtime.storage.durable.rename", lambda *_: None)
    repair(run.directory)
    assert seen == [f"process {os.getpid()}"]


def test_one_run_that_cannot_be_repaired_does_not_hide_the_others(run: RunLeftOpen, capsys: Capture) -> None:
    other = RunLeftOpen(run.directory.parent, 8)
    other.open_file(0, 2)
    run.path(0).unlink()
    run.path(0).mkdir()
    repair(run.directory.parent, code=1)
    printed = capsys.readouterr()
    assert "Is a directory" in printed.err
    assert "run_000008: repaired" in printed.out
    other.check_whole()


def test_what_cannot_be_mended_is_said(run: RunLeftOpen, capsys: Capture) -> None:
    run.record_path.write_text("{")
    repair(run.directory, code=1)
    assert "run_000007.json is not a run record" in capsys.readouterr().out


def test_memory_does_not_grow_with_the_file(tmp_path: Path) -> None:
    """A file of 100 MB, half of it a hole, is read and mended in little memory."""
    run = RunLeftOpen(tmp_path / "data")
    path = tmp_path / "large.apx"
    with path.open("wb") as file:
        file.write(run.header(0))
        for number in range(200):
            file.write(record_bytes(number, bytes(250_000)))
        file.truncate(file.tell() + 50_000_000)
        file.seek(0, os.SEEK_END)
        file.write(records(200, 3))
    program = (
        "import resource, sys\n"
        "from apx.cli import main\n"
        "before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss\n"
        "codes = main(['verify', sys.argv[1]]), main(['repair', sys.argv[1]]), main(['verify', sys.argv[1]])\n"
        "print(*codes, resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before)\n"
    )
    ended = subprocess.run(
        [sys.executable, "-c", program, path], capture_output=True, text=True, timeout=DEADLINE_S, check=True
    )
    *codes, grown_kb = map(int, ended.stdout.splitlines()[-1].split())
    assert codes == [1, 0, 0]
    assert grown_kb < 25_000
    assert (tmp_path / "large.apx.cut").stat().st_size == 50_000_000
