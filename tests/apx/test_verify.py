"""`apx verify`: what is wrong is found, said with what to do about it, and nothing else is."""

import json
import os
import shutil
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from apx.cli import main
from astropix_runtime.storage.process_lock import sign, try_lock
from astropix_runtime.storage.verdict import judge_file
from protocol.readout import RECORD_HEAD, RECORD_MARKER
from tests.astropix_runtime.run_left_open import BEGIN_NS, RunLeftOpen, record_bytes, records

Capture = pytest.CaptureFixture[str]


@pytest.fixture
def run(tmp_path: Path) -> RunLeftOpen:
    """A closed run of two files."""
    run = RunLeftOpen(tmp_path / "data")
    close(run)
    return run


def close(run: RunLeftOpen, **values: Any) -> None:
    files = [run.finish_file(0), run.finish_file(1)]
    known = {
        "state": "finished", "end_ns": BEGIN_NS + 500, "end_reason": "enough",
        "counts": {"readouts": 10, "readout_bytes": 70, "board_bytes": 100, "padding_bytes": 30},
        "ledger": {"bytes_read": 70},
    }  # fmt: skip
    run.write_record(*files, **{**known, **values})


@pytest.fixture
def daemon(run: RunLeftOpen) -> Iterator[None]:
    """Somebody has the data directory."""
    file = os.open(run.directory.parent / ".lock", os.O_RDWR | os.O_CREAT)
    assert try_lock(file)
    sign(file)
    yield
    os.close(file)


def verify(path: Path, capsys: Capture, code: int) -> dict[str, dict[str, Any]]:
    """What is said of each name, as JSON; the text says the same."""
    assert main(["verify", "--json", str(path)]) == code
    said = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    assert main(["verify", str(path)]) == code
    printed = capsys.readouterr().out.splitlines()
    assert len(printed) == len(said)
    for line, each in zip(printed, said, strict=True):
        assert line.startswith(f"{each['path']}: {each['verdict']}: ")
        assert all(finding["text"] in line for finding in each["findings"])
    return {Path(each["path"]).name: each for each in said}


def findings(verdict: dict[str, Any]) -> list[str]:
    return [f"{each['level']}: {each['text']}" for each in verdict["findings"]]


def test_a_run_as_it_should_be(run: RunLeftOpen, capsys: Capture) -> None:
    said = verify(run.directory.parent, capsys, 0)
    assert list(said) == ["run_000007_0000.apx", "run_000007_0001.apx", "run_000007"]
    assert {each["verdict"] for each in said.values()} == {"ok"}
    assert not any(each["findings"] for each in said.values())
    file = said["run_000007_0001.apx"]
    assert (file["readouts"], file["readout_bytes"], file["first_readout"], file["last_readout"]) == (5, 35, 5, 9)
    assert file["sha256"] == run.record.files[1].sha256
    assert file["size_bytes"] == run.record.files[1].size_bytes
    assert (said["run_000007"]["state"], said["run_000007"]["readouts"]) == ("finished", 10)
    assert main(["verify", str(run.directory)]) == 0
    assert capsys.readouterr().out.splitlines()[1:] == [
        f"{run.path(1)}: ok: 5 readouts, 5 to 9, as recorded",
        f"{run.directory}: ok: 10 readouts in 2 files",
    ]


FILE_DAMAGE: list[tuple[str, Callable[[bytes], bytes], str, str]] = [
    ("cut", lambda content: content[:-3], "bad", "error: 23 bytes at byte 306 belong to no whole readout: apx repair"),
    ("tail", lambda content: content + bytes(5), "bad", "error: 5 bytes at byte 332 belong to no whole readout"),
    (
        "two places",
        lambda content: content[:228] + b"?" + content[228:280] + b"??" + content[280:],
        "bad",
        "error: 3 bytes at byte 228 and at 1 more place belong to no whole readout",
    ),
    ("flipped bit", lambda content: content[:-1] + b"x", "bad", "error: its SHA-256 is not that of the run record"),
    ("shortened", lambda content: content[:-26], "bad", "error: 26 of the 332 bytes that the run record says"),
    ("no header", lambda content: bytes(20) + content[20:], "bad", "error: at byte 0: not an .apx file"),
    ("another kind", lambda content: content.replace(b"4000", b"4999"), "bad", "a newer version may know it"),
    ("of run 9", lambda content: content.replace(b'"run": 7', b'"run": 9'), "bad", "error: its header says run 9, fil"),
    (
        "id",
        lambda content: content[:-26] + record_bytes(20),
        "bad",
        "error: readout ids jump 1 time, first from 3 to 20: readouts are missing here",
    ),
    (
        "time",
        lambda content: content[:-26] + RECORD_HEAD.pack(RECORD_MARKER, 4, 1, 7) + b"readout",
        "bad",
        "warning: time stamps go back 1 time, by up to 0.000001 s",
    ),
]  # fmt: skip


@pytest.mark.parametrize(
    ("damage", "word", "text"), [case for _, *case in FILE_DAMAGE], ids=[name for name, *_ in FILE_DAMAGE]
)
def test_what_can_be_wrong_with_a_file(
    run: RunLeftOpen, capsys: Capture, damage: Callable[[bytes], bytes], word: str, text: str
) -> None:
    assert len(run.content(0)) == 332, "the offsets below are from a file of this size"
    run.path(0).write_bytes(damage(run.content(0)))
    said = verify(run.directory, capsys, 1)
    assert said["run_000007_0000.apx"]["verdict"] == word
    assert any(text in finding for finding in findings(said["run_000007_0000.apx"])), findings(
        said["run_000007_0000.apx"]
    )
    alone = verify(run.path(0), capsys, 1)
    assert alone == {"run_000007_0000.apx": said["run_000007_0000.apx"]}, "a file of a run is held against its record"


def test_only_backward_time_stamps_are_no_failure(tmp_path: Path, capsys: Capture) -> None:
    run = RunLeftOpen(tmp_path)
    path = tmp_path / "copy.apx"
    path.write_bytes(run.header(0) + record_bytes(0) + RECORD_HEAD.pack(RECORD_MARKER, 1, 5, 1) + b"x")
    said = verify(path, capsys, 0)
    assert said["copy.apx"]["verdict"] == "warning"
    assert said["copy.apx"]["backward_steps"] == 1


def test_a_lone_file(tmp_path: Path, capsys: Capture) -> None:
    run = RunLeftOpen(tmp_path)
    path = tmp_path / "copy.apx"
    path.write_bytes(run.content(3))
    assert verify(path, capsys, 0)["copy.apx"]["first_readout"] == 15


def test_a_file_that_is_missing_is_told_once(run: RunLeftOpen, capsys: Capture) -> None:
    """And not that what is left does not add up to what the record counts."""
    run.path(1).unlink()
    said = verify(run.directory, capsys, 1)
    missing = "error: run_000007_0001.apx is missing, with 5 readouts: look for a copy"
    assert findings(said["run_000007"]) == [missing]


def test_files_that_are_missing_or_too_many(run: RunLeftOpen, capsys: Capture) -> None:
    run.path(1).rename(run.path(2))
    (run.directory / "notes.txt").write_text("mine")
    said = verify(run.directory, capsys, 1)
    assert findings(said["run_000007"])[0] == "error: run_000007_0001.apx is missing, with 5 readouts: look for a copy"
    wrong = findings(said["run_000007_0002.apx"])
    assert wrong[0].startswith("error: its header says run 7, file 1: it was renamed")
    assert wrong[1].startswith("error: is not in the run record")


def test_ids_go_on_across_files(run: RunLeftOpen, capsys: Capture) -> None:
    run.path(1).write_bytes(run.header(1) + records(6, 4))
    said = verify(run.directory, capsys, 1)
    assert "error: begins with readout 6, the file before ended before 5" in findings(said["run_000007_0001.apx"])


@pytest.mark.parametrize(
    ("record", "text"),
    [
        ({"counts": {"readouts": 11, "readout_bytes": 70}}, "counts 11 readouts with 70 bytes, the files have 10 with"),
        ({"counts": {"readouts": 10, "readout_bytes": 71}, "ledger": None}, "counts 10 readouts with 71 bytes"),
        ({"ledger": {"bytes_read": 60}}, "error: the ledger accounts for 60 of 70 bytes"),
        ({"state": "running"}, "error: was left open: the daemon's next start, or apx repair, closes it"),
    ],
)
def test_a_record_that_does_not_add_up(run: RunLeftOpen, capsys: Capture, record: dict[str, Any], text: str) -> None:
    close(run, **record)
    assert text in findings(verify(run.directory, capsys, 1)["run_000007"])[-1]


@pytest.mark.parametrize("text", [None, "", '{"format": 2}'])
def test_no_record(run: RunLeftOpen, capsys: Capture, text: str | None) -> None:
    run.record_path.unlink()
    if text is not None:
        run.record_path.write_text(text)
    said = verify(run.directory, capsys, 1)
    (finding,) = findings(said["run_000007"])
    assert ("there is no run record" if text is None else "run_000007.json is not a run record: ") in finding


def test_a_number_without_a_run_is_no_failure(tmp_path: Path, capsys: Capture) -> None:
    said = verify(RunLeftOpen(tmp_path).directory, capsys, 0)
    assert said["run_000007"]["verdict"] == "warning"


def test_what_was_put_aside(run: RunLeftOpen, capsys: Capture) -> None:
    cut = {"file": "run_000007_0000.apx", "offset": 332, "size_bytes": 4, "kept_as": "run_000007_0000.apx.cut"}
    close(run, state="interrupted", cuts=[cut], end_reason="the daemon did not live to close it")
    run.path(0, ".cut").write_bytes(b"torn")
    assert findings(verify(run.directory, capsys, 0)["run_000007"]) == [
        "note: 4 bytes that are no whole readout are kept in run_000007_0000.apx.cut",
        "note: interrupted: the daemon did not live to close it",
    ]
    run.path(0, ".cut").write_bytes(b"to")
    run.path(1, ".cut").write_bytes(b"?")
    (run.directory / ".reserve").touch()
    said = verify(run.directory, capsys, 0)["run_000007"]
    assert said["verdict"] == "warning"
    assert findings(said)[:3] == [
        "warning: run_000007_0000.apx.cut has 2 bytes, 4 were put aside there",
        "warning: run_000007_0001.apx.cut is there, and the run record does not say why",
        "warning: left over: .reserve: apx repair removes it",
    ]
    run.path(0, ".cut").unlink()
    said = verify(run.directory, capsys, 0)["run_000007"]
    assert findings(said)[0] == "warning: run_000007_0000.apx.cut is gone: the 4 bytes that had been put aside there"


def test_readouts_that_are_known_to_be_lost_are_no_new_failure(tmp_path: Path, capsys: Capture) -> None:
    run = RunLeftOpen(tmp_path)
    run.path(0, ".part").write_bytes(run.header(0) + records(0, 2) + bytes(60) + records(4, 2))
    run.write_record()
    assert main(["repair", str(run.directory)]) == 1, "two readouts are lost"
    capsys.readouterr()
    said = verify(run.directory, capsys, 0)
    assert said["run_000007_0000.apx"]["verdict"] == "warning"
    (finding,) = findings(said["run_000007_0000.apx"])
    assert finding == "warning: readout ids jump 1 time, first from 1 to 4, where 60 bytes were put aside"


def test_a_run_that_was_left_open(run: RunLeftOpen, capsys: Capture) -> None:
    run.write_record(run.finish_file(0), run.finish_file(1))
    run.open_file(2, 1, b"torn")
    said = verify(run.directory, capsys, 1)
    assert findings(said["run_000007_0002.apx.part"])[-1] == (
        "error: was not finished: the daemon's next start, or apx repair, finishes it"
    )
    assert "error: was left open" in findings(said["run_000007"])[0]


@pytest.mark.usefixtures("daemon")
def test_a_run_that_is_being_taken_is_no_failure(run: RunLeftOpen, capsys: Capture) -> None:
    run.write_record(run.finish_file(0))
    (run.directory / ".reserve").touch()
    run.open_file(2, 1, record_bytes(11)[:-1])
    said = verify(run.directory, capsys, 0)
    assert {each["verdict"] for each in said.values()} == {"ok"}
    assert findings(said["run_000007_0002.apx.part"]) == [
        "note: 25 bytes of a readout that is being written",
        "note: is being written",
    ]
    assert findings(said["run_000007"]) == ["note: is being taken"]
    run.path(2, ".part").write_bytes(run.header(2)[:9])
    assert findings(verify(run.directory, capsys, 0)["run_000007_0002.apx.part"])[0] == (
        "note: its header is being written"
    )


@pytest.mark.usefixtures("daemon")
def test_a_run_that_was_left_open_while_another_is_taken(run: RunLeftOpen, capsys: Capture) -> None:
    run.write_record(run.finish_file(0), run.finish_file(1))
    other = RunLeftOpen(run.directory.parent, 8)
    other.open_file(0, 1)
    other.write_record()
    said = verify(run.directory.parent, capsys, 1)
    assert "error: was left open" in findings(said["run_000007"])[0]
    assert findings(said["run_000008"]) == ["note: is being taken"]


def test_a_user_who_may_not_see_whether_a_daemon_is_there(
    run: RunLeftOpen, capsys: Capture, monkeypatch: pytest.MonkeyPatch
) -> None:
    run.write_record(run.finish_file(0), run.finish_file(1))
    (run.directory.parent / ".lock").touch()
    assert "was left open" in findings(verify(run.directory, capsys, 1)["run_000007"])[0]
    monkeypatch.setattr("os.access", lambda *_: False)  # the tests may run as root, who may everything
    assert findings(verify(run.directory, capsys, 0)["run_000007"]) == ["note: is being taken"]


@pytest.mark.usefixtures("daemon")
def test_a_closed_run_is_looked_at_as_closely_while_another_is_taken(run: RunLeftOpen, capsys: Capture) -> None:
    run.path(1).unlink()
    assert verify(run.directory, capsys, 1)["run_000007"]["verdict"] == "bad"


def test_one_bad_run_does_not_hide_the_others(run: RunLeftOpen, capsys: Capture) -> None:
    other = RunLeftOpen(run.directory.parent, 8)
    close(other)
    run.path(0).unlink()
    run.path(0).mkdir()
    (run.directory.parent / "run_000009").write_text("no directory")
    said = verify(run.directory.parent, capsys, 1)
    assert "Is a directory" in findings(said["run_000007_0000.apx"])[0]
    assert said["run_000008"]["verdict"] == "ok"


def test_paths_that_are_nothing_of_ours(tmp_path: Path, capsys: Capture) -> None:
    assert main(["verify", str(tmp_path), str(tmp_path / "missing.apx")]) == 1
    assert capsys.readouterr().err.splitlines() == [
        f"apx: {tmp_path} is neither the directory of a run nor one that holds runs: give files",
        f"apx: {tmp_path / 'missing.apx'}: No such file or directory",
    ]


def test_a_copy_of_a_run_under_another_name(run: RunLeftOpen, tmp_path: Path, capsys: Capture) -> None:
    copy = tmp_path / "backup"
    shutil.copytree(run.directory, copy)
    assert main(["verify", str(copy)]) == 1
    said = f"apx: {copy} has files of run_000007 and another name: rename it to run_000007, or give files\n"
    assert capsys.readouterr().err == said


def test_names_that_would_command_a_terminal(tmp_path: Path, capsys: Capture) -> None:
    path = tmp_path / "\x1b[2J.apx"
    path.write_bytes(b"?")
    assert main(["verify", str(path)]) == 1
    assert capsys.readouterr().out.rstrip("\n").isprintable()


def test_colours_on_a_terminal(run: RunLeftOpen, capsys: Capture, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sys.stdout.isatty", lambda: True)
    monkeypatch.setenv("TERM", "xterm")
    monkeypatch.delenv("NO_COLOR", raising=False)
    assert main(["verify", str(run.path(0))]) == 0
    assert "\x1b[32mok\x1b[0m" in capsys.readouterr().out


def test_how_far_it_has_come(run: RunLeftOpen, capsys: Capture, monkeypatch: pytest.MonkeyPatch) -> None:
    run.path(0).write_bytes(run.header(0) + records(0, 100_000))
    steps: list[int] = []

    @contextmanager
    def watch(path: Path, size_bytes: int) -> Iterator[Callable[[int], None]]:
        assert (path, size_bytes) == (run.path(0), run.path(0).stat().st_size)
        yield steps.append

    judge_file(run.path(0), watch=watch)
    assert len(steps) > 3
    assert steps == sorted(set(steps))
    assert steps[-1] == run.path(0).stat().st_size
    monkeypatch.setenv("TERM", "xterm")
    monkeypatch.delenv("NO_COLOR", raising=False)
    monkeypatch.setattr("sys.stderr.isatty", lambda: True)
    assert main(["verify", str(run.path(0))]) == 1
    shown = capsys.readouterr()
    assert "run_000007_0000.apx" in shown.err
    assert "2.6/2.6 MB" in shown.err
