"""`apx info`: what is in a file."""

import json
from pathlib import Path

import pytest

from apx.cli import main
from protocol.apx import FileHeader, apx_open
from protocol.readout import AstroPix4Readout

A = bytes.fromhex("e05042030620d701")
CHIP_2 = bytes.fromhex("e85042030620d701")


@pytest.fixture
def recording(tmp_path: Path) -> Path:
    path = tmp_path / "run.apx"
    header = FileHeader(AstroPix4Readout, {"comment": "beam", "evil": "\x1b[2J", "long": "x" * 500})
    with apx_open(path, "wb", header) as file:
        for readout_id, second, data in [
            (7, 10, b"\xbc" + A + CHIP_2 + b"\xbc"),
            (8, 11, b""),
            (10, 12, b"\x00" + CHIP_2 + b"\xff\xbc"),
        ]:
            AstroPix4Readout(data, readout_id, second * 10**9).write(file)
    return path


def info(path: Path, capsys: pytest.CaptureFixture[str], *options: str, code: int = 0) -> str:
    assert main(["info", str(path), *options]) == code
    return capsys.readouterr().out


def test_json(recording: Path, capsys: pytest.CaptureFixture[str]) -> None:
    summary = json.loads(info(recording, capsys, "--json"))
    assert summary["header"] == {"readout_uid": 4000, "comment": "beam", "evil": "\x1b[2J", "long": "x" * 500}
    expected = {
        "path": str(recording),
        "size_bytes": recording.stat().st_size,
        "readout_class": "AstroPix4Readout",
        "readouts": 3,
        "data_bytes": 29,
        "readout_bytes_min": 0,
        "readout_bytes_max": 18,
        "first_readout_id": 7,
        "last_readout_id": 10,
        "id_breaks": 1,
        "timestamp_first_ns": 10 * 10**9,
        "timestamp_last_ns": 12 * 10**9,
        "leftover_bytes": 0,
        "hits": 3,
        "chip_hits": {"0": 1, "2": 2},
        "duration_s": 2.0,
        "readouts_per_s": 1.5,
        "hits_per_s": 1.5,
        "bytes_per_s": 14.5,
    }
    assert {key: summary[key] for key in expected} == expected
    ledger = summary["ledger"]
    assert (ledger["idle"], ledger["padding"], ledger["hit"], ledger["orphan"]) == (3, 1, 24, 1)
    assert ledger["bytes_read"] == 29


def test_text(recording: Path, capsys: pytest.CaptureFixture[str]) -> None:
    lines = info(recording, capsys).splitlines()
    assert lines[0] == str(recording)
    said = dict(line.split(maxsplit=1) for line in lines[1:] if not line.strip().startswith("chip"))
    assert said["comment"] == '"beam"'
    assert said["evil"] == '"\\u001b[2J"'
    assert said["ids"] == "7 to 10, 1 break"
    assert said["readouts"] == "3, 1.5/s"
    assert said["first"] == "1970-01-01T00:00:10.000000000Z"
    assert said["duration"] == "2.000 s"
    assert said["orphan"] == "1"
    assert "  chip 2       2" in lines
    assert all(len(line) < 130 and line.isprintable() for line in lines)


def test_the_header_in_full(recording: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert "x" * 500 in info(recording, capsys, "--header")


def test_a_terminal_gets_a_table(
    recording: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("sys.stdout.isatty", lambda: True)
    monkeypatch.setenv("COLUMNS", "100")
    text = info(recording, capsys)
    assert "│" in text
    assert "7 to 10, 1 break" in text
    assert "[2J" in text
    assert "\x1b[2J" not in text


def test_the_real_recordings(recordings: Path, capsys: pytest.CaptureFixture[str]) -> None:
    paths = [recordings / "20250723_092534_data.apx", recordings / "threshold_40mV_20250722-094253.apx"]
    assert main(["info", "--json", *map(str, paths)]) == 0
    run, scan = map(json.loads, capsys.readouterr().out.splitlines())
    assert (run["readouts"], run["hits"], run["id_breaks"]) == (775, 776, 0)
    assert run["duration_s"] == pytest.approx(59.8779088)
    assert (scan["readouts"], scan["hits"], scan["duration_s"], scan["hits_per_s"]) == (258, 258, None, None)
    for summary in (run, scan):
        ledger = summary["ledger"]
        assert ledger["orphan"] == ledger["dropped"] == ledger["carried"] == 0


def test_a_file_without_readouts(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = tmp_path / "empty.apx"
    with apx_open(path, "wb", FileHeader(AstroPix4Readout)):
        pass
    summary = json.loads(info(path, capsys, "--json"))
    assert summary["readouts"] == 0
    assert summary["first_readout_id"] is None
    assert "readouts" in info(path, capsys)


def test_a_cut_file_says_what_is_left_over(recording: Path, capsys: pytest.CaptureFixture[str]) -> None:
    recording.write_bytes(recording.read_bytes()[:-4])
    assert main(["info", str(recording)]) == 1
    printed = capsys.readouterr()
    assert "left over" in printed.out
    assert printed.err == f"apx: {recording}: cut: the last 26 bytes are no whole readout and were left out\n"


def test_one_bad_file_does_not_hide_the_others(
    recording: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    bad = tmp_path / "bad.apx"
    bad.write_bytes(b"%APXDF" + b"\xff\xff\xff\xff{}")
    assert main(["info", "--json", str(bad), str(tmp_path / "none.apx"), str(recording)]) == 1
    printed = capsys.readouterr()
    assert json.loads(printed.out)["path"] == str(recording)
    first, second = printed.err.splitlines()
    assert first.startswith(f"apx: {bad}: at byte 6: a header of 4294967295 bytes announced")
    assert second == f"apx: {tmp_path / 'none.apx'}: No such file or directory"


def test_known_chips(recording: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert json.loads(info(recording, capsys, "--json", "--chips", "1"))["chip_hits"] == {"0": 1}
