"""The log of the alarms: whole lines, bounded size; and the state that outlives a restart."""

import json
import os
from pathlib import Path

import pytest

from monitor.sanity.alarms.alarm_files import AlarmLog, AlarmState, StateFile
from monitor.sanity.alarms.silence_list import Silenced
from tests.monitor.made_alarms import made_alarm, made_transition


def lines(path: Path) -> list[int]:
    """The times of the lines of a file, all of them whole."""
    text = path.read_text(encoding="utf-8")
    assert not text or text.endswith("\n")
    return [json.loads(line)["t"] for line in text.splitlines()]


def filled(path: Path, times: range, max_bytes: int = 10**6, keep: int = 3) -> None:
    log = AlarmLog(path, max_bytes, keep)
    for t in times:
        log.write(made_transition(t=t), "bench")
    log.close()


def test_a_line_says_what_became_of_which_alarm(tmp_path: Path) -> None:
    path = tmp_path / "a.jsonl"
    filled(path, range(3, 4))
    assert json.loads(path.read_text(encoding="utf-8")) == {
        "event": "raised",
        "t": 3,
        "daq": "bench",
        "alarm": made_alarm().model_dump(mode="json"),
    }


def test_it_goes_on_where_it_was(tmp_path: Path) -> None:
    path = tmp_path / "a.jsonl"
    filled(path, range(3))
    filled(path, range(3, 5))
    assert lines(path) == [0, 1, 2, 3, 4]


@pytest.mark.parametrize("left", [b'{"event": "rai', b"x" * 100_000])
def test_what_a_crash_left_of_a_line_is_cut_off(tmp_path: Path, left: bytes) -> None:
    path = tmp_path / "a.jsonl"
    filled(path, range(2))
    with path.open("ab") as file:
        file.write(left)
    filled(path, range(2, 3))
    assert lines(path) == [0, 1, 2]


def test_a_file_of_half_a_line_is_begun_anew(tmp_path: Path) -> None:
    path = tmp_path / "a.jsonl"
    path.write_bytes(b"x" * 70_000)
    filled(path, range(1))
    assert lines(path) == [0]


@pytest.mark.parametrize("keep", [0, 1, 3])
def test_files_are_bounded_and_so_is_their_number(tmp_path: Path, keep: int) -> None:
    path = tmp_path / "a.jsonl"
    filled(path, range(1))
    size = path.stat().st_size
    path.unlink()
    filled(path, range(8), max_bytes=2 * size, keep=keep)
    assert lines(path) == [6, 7]
    assert sorted(each.name for each in tmp_path.iterdir()) == [
        "a.jsonl",
        *(f"a.jsonl.{number}" for number in range(1, keep + 1)),
    ]
    for number in range(1, keep + 1):
        assert lines(tmp_path / f"a.jsonl.{number}") == [6 - 2 * number, 7 - 2 * number]


def test_what_did_not_fit_on_the_disk_leaves_no_half_line(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "a.jsonl"
    log = AlarmLog(path, 10**6, 1)
    log.write(made_transition(t=1), "bench")
    write = os.write
    monkeypatch.setattr(os, "write", lambda file, line: write(file, line[:20]))
    with pytest.raises(OSError, match="only 20 of"):
        log.write(made_transition(t=2), "bench")
    monkeypatch.undo()
    log.write(made_transition(t=3), "bench")
    log.close()
    assert lines(path) == [1, 3]


def test_where_no_new_file_can_be_made_those_before_stay(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "a.jsonl"
    filled(path, range(1))
    log = AlarmLog(path, path.stat().st_size, 3)
    log.write(made_transition(t=1), "bench")

    def full(*_: object) -> int:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "open", full)
    for _ in range(5):
        with pytest.raises(OSError, match="No space left"):
            log.write(made_transition(t=2), "bench")
    monkeypatch.undo()
    log.write(made_transition(t=3), "bench")
    log.close()
    assert [lines(tmp_path / name) for name in ("a.jsonl", "a.jsonl.1", "a.jsonl.2")] == [[3], [1], [0]]


def test_a_log_that_is_taken_away_is_begun_anew(tmp_path: Path) -> None:
    path = tmp_path / "a.jsonl"
    filled(path, range(1))
    log = AlarmLog(path, path.stat().st_size, 3)
    path.unlink()
    log.write(made_transition(t=1), "bench")
    log.close()
    assert lines(path) == [1]


# ---- state


def test_the_state_comes_back_as_it_was(tmp_path: Path) -> None:
    file = StateFile(tmp_path / "state.json")
    assert file.load() == AlarmState()
    state = AlarmState(
        alarms=(made_alarm(latched=True, level="ok"), made_alarm(id="hot:b", acknowledged=True, value=1e-300)),
        silences=(Silenced(pattern="tot_*", until_ns=5, reason="new threshold"),),
    )
    file.save(state)
    assert file.load() == state
    assert [each.name for each in tmp_path.iterdir()] == ["state.json"]


@pytest.mark.parametrize("content", [b"", b"{", b'{"format": 2}', b'{"alarms": [{}]}', b"\xff"])
def test_a_state_that_cannot_be_read_is_put_aside(
    tmp_path: Path, content: bytes, caplog: pytest.LogCaptureFixture
) -> None:
    path = tmp_path / "state.json"
    path.write_bytes(content)
    assert StateFile(path).load() == AlarmState()
    (aside,) = tmp_path.iterdir()
    assert aside.name.startswith("state.json.bad-")
    assert aside.read_bytes() == content
    assert "put aside" in caplog.text
