"""`apx-sanity --once` on recordings, real and damaged."""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from monitor.sanity.cli import main
from protocol.apx import ApxReader, FileHeader, apx_open
from protocol.block import ReadoutBlock
from protocol.hit import AstroPix4Hit
from protocol.readout import AstroPix4Readout

pytestmark = pytest.mark.slow

S = 1_000_000_000
T0 = 1_700_000_000 * S


def wire(row: Any = 1, column: Any = 9, **values: Any) -> bytes:
    times = {"ts_dec1": 1000, "ts_dec2": 1400} | values
    hits = AstroPix4Hit.encode(0, row, column, **times)
    return b"\xbc\xbc".join(bytes(hit) for hit in hits) + b"\xbc" * 8


def write(path: Path, readouts: list[bytes], first: int = 0, *, times: list[int] | None = None, **header: Any) -> Path:
    with apx_open(path, "wb", FileHeader(AstroPix4Readout, header)) as file:
        for index, data in enumerate(readouts):
            timestamp = T0 + (first + index) * S // 100 if times is None else times[index]
            file.write(AstroPix4Readout(data, first + index, timestamp).to_bytes())
    return path


@pytest.fixture
def check(capsys: pytest.CaptureFixture[str]) -> Any:
    """Runs `apx-sanity --once --json`: exit code, level by check, and the whole summary."""

    def run(*arguments: object) -> tuple[int, dict[str, str], dict[str, Any]]:
        code = main(["--json", "--once", *map(str, arguments)])
        summary = json.loads(capsys.readouterr().out)
        assert summary["ok"] == (code == 0)
        return code, {finding["check"]: finding["level"] for finding in summary["findings"]}, summary

    return run


def test_the_recorded_injection_run_is_all_well(check: Any, recordings: Path) -> None:
    code, found, summary = check(recordings / "20250723_092534_data.apx")
    assert (code, found) == (0, {})
    assert summary["checked"] == {"files": 1, "runs": 1, "readouts": 775, "hits": 776}


def test_a_recording_that_never_had_time_stamps_is_all_well(check: Any, recordings: Path) -> None:
    code, found, summary = check(recordings / "threshold_40mV_20250722-094253.apx")
    assert (code, found) == (0, {"no_time": "info"})
    assert summary["checked"]["hits"] == 258


def test_text_output_ends_with_the_verdict(recordings: Path, capsys: pytest.CaptureFixture[str]) -> None:
    files = [str(recordings / "20250723_092534_data.apx"), str(recordings / "threshold_40mV_20250722-094253.apx")]
    assert main(["--once", *files]) == 0
    finding, *runs, verdict = capsys.readouterr().out.splitlines()
    assert finding.startswith("info     no_time")
    assert "776 hits, 60 s live" in runs[0]
    assert "258 hits, no time stamps" in runs[1]
    assert verdict == "all well: 2 files, 2 runs, 1033 readouts, 1034 hits; 1 info"


def test_one_is_not_counted_as_many(recordings: Path, capsys: pytest.CaptureFixture[str]) -> None:
    main(["--once", str(sorted((recordings).glob("*.apx"))[0])])
    assert ": 1 file, 1 run, " in capsys.readouterr().out.splitlines()[-1]


def test_a_file_cut_anywhere_gives_what_is_whole_and_says_so(check: Any, recordings: Path, tmp_path: Path) -> None:
    whole = (recordings / "20250723_092534_data.apx").read_bytes()
    cut = tmp_path / "cut.apx"
    cut.write_bytes(whole[:-5])
    code, found, summary = check(cut)
    assert (code, found) == (1, {"cut_file": "warning"})
    assert summary["checked"]["readouts"] == 774
    cut.rename(cut.with_suffix(".apx.part"))
    assert check(cut.with_suffix(".apx.part"))[:2] == (0, {"cut_file": "info"})


@pytest.mark.parametrize("content", [b"", b"%APXDF", b"not an apx file at all", b"%APXDF\xff\xff\xff\xff{}"])
def test_what_is_no_recording_is_critical(check: Any, tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "bad.apx"
    path.write_bytes(content)
    code, found, _ = check(path)
    assert (code, found) == (1, {"unreadable": "critical"})


def test_a_disk_that_refuses_in_the_middle(check: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    first, second = (write(tmp_path / f"{name}.apx", [wire()] * 10) for name in "ab")
    blocks = ApxReader.blocks

    def refuse(reader: ApxReader) -> Iterator[ReadoutBlock]:
        yield from blocks(reader)
        if reader.path == first:
            raise OSError(5, "Input/output error")

    monkeypatch.setattr(ApxReader, "blocks", refuse)
    code, found, summary = check(first, second)
    assert (code, found["unreadable"]) == (1, "critical")
    assert summary["checked"]["readouts"] == 20


def test_damage_in_the_middle_keeps_what_comes_before(check: Any, tmp_path: Path) -> None:
    path = write(tmp_path / "a.apx", [wire()] * 10)
    data = bytearray(path.read_bytes())
    second_half = data.index(b"\xfe\xdc\xba" + (6).to_bytes(4, "little"))
    data[second_half] = 0
    path.write_bytes(data)
    code, found, summary = check(path)
    assert code == 1
    assert found["unreadable"] == "critical"
    assert summary["checked"]["readouts"] == 6


def test_misbehaving_data_is_found(check: Any, tmp_path: Path) -> None:
    good = [wire()] * 50
    cases: dict[str, tuple[list[bytes], dict[str, Any]]] = {
        "impossible_address": ([*good, wire(row=14)], {}),
        "tot_zero": ([*good, wire(ts_dec2=1000)], {}),
        "orphan_bytes": ([*good, b"\xbc\x01\x02\x03\xbc"], {}),
        "dropped_hits": ([*good, *2 * [wire()[:5] + wire()]], {}),
        "time_back": (good, {"times": [T0 + S * (i if i < 30 else i - 20) for i in range(50)]}),
        "time_step": (good, {"times": [T0 + S * (i if i < 30 else i + 100) for i in range(50)]}),
    }
    for name, (readouts, options) in cases.items():
        code, found, _ = check(write(tmp_path / "a.apx", readouts, **options))
        assert (code, found) == (1, {name: "warning"}), name


def test_limits_are_options(check: Any, tmp_path: Path) -> None:
    path = write(
        tmp_path / "a.apx", [wire(row=14), wire(ts_dec2=1000)] * 20, times=[T0 + i * 90 * S for i in range(40)]
    )
    code, found, _ = check(path)
    assert (code, set(found)) == (1, {"impossible_address", "tot_zero", "time_step"})
    assert check(path, "--rows", 15, "--max-tot-zero", 0.5, "--max-time-step", 100)[0] == 0


def test_the_number_of_chips_comes_from_the_header_or_the_option(check: Any, tmp_path: Path) -> None:
    data = bytes(AstroPix4Hit.encode(3, 1, 1, 0, 100)[0]) + b"\xbc" * 4
    assert check(write(tmp_path / "a.apx", [data] * 5))[0] == 0
    told = write(tmp_path / "b.apx", [data] * 5, chips=2)
    assert check(told)[1] == {"orphan_bytes": "warning"}
    assert check(told, "--chips", 4)[0] == 0


def test_files_of_a_run_are_one_stream_and_a_hit_may_be_cut_between_them(check: Any, tmp_path: Path) -> None:
    data = wire()
    first = write(tmp_path / "run_000007_0000.apx", [data, data, data + data[:3]], run=7, file=0)
    second = write(tmp_path / "run_000007_0001.apx", [data[3:], data], 3, run=7, file=1)
    third = write(tmp_path / "run_000007_0002.apx", [data], 5, run=7, file=2)
    code, found, summary = check(first, second, third)
    assert (code, found) == (0, {})
    assert summary["checked"] == {"files": 3, "runs": 1, "readouts": 6, "hits": 6}
    other = write(tmp_path / "run_000008_0000.apx", [data], 0, run=8, file=0)
    assert check(second.rename(tmp_path / "x.apx"), other)[2]["checked"]["runs"] == 2


def test_a_file_left_out_and_files_in_the_wrong_order_are_found(check: Any, tmp_path: Path) -> None:
    data = wire()
    files = [write(tmp_path / f"{i}.apx", [data] * 3, 3 * i, run=7, file=i, begin_ns=T0) for i in range(3)]
    assert check(files[0], files[2])[1] == {"readout_jump": "critical"}
    found = check(files[1], files[0])[1]
    assert found == {"readout_back": "warning", "time_back": "warning"}
    elsewhere = write(tmp_path / "3.apx", [data] * 3, 0, run=7, file=1, begin_ns=T0 + 1)
    assert check(files[0], elsewhere)[:2] == (0, {})


def test_readouts_missing_between_files_are_critical(check: Any, tmp_path: Path) -> None:
    first = write(tmp_path / "a.apx", [wire()] * 3, run=7, file=0)
    second = write(tmp_path / "b.apx", [wire()] * 3, 5, run=7, file=1)
    code, found, summary = check(first, second)
    assert (code, found) == (1, {"readout_jump": "critical"})
    (finding,) = summary["findings"]
    assert (finding["count"], finding["readout"], finding["run"], finding["file"]) == (2, 5, 7, str(second))


def test_an_empty_recording_is_all_well(check: Any, tmp_path: Path) -> None:
    assert check(write(tmp_path / "a.apx", []))[:2] == (0, {})


def test_random_bytes_never_stop_it(check: Any, tmp_path: Path) -> None:
    generator = np.random.default_rng(5)
    path = write(tmp_path / "a.apx", [generator.bytes(int(generator.integers(0, 300))) for _ in range(300)])
    code, found, _ = check(path)
    assert code == 1
    assert "ledger_balance" not in found


@pytest.mark.parametrize(
    "arguments",
    [
        ["--once", "/no/such/file.apx"],
        ["--once", "/"],
        ["--once"],
        ["--once", __file__, "--connect", "tcp://127.0.0.1:1"],
        ["--once", __file__, "--for", "3"],
        ["--for", "0"],
        ["--for", "soon"],
        ["--runs", "0"],
        ["--chips", "32"],
        ["--rows", "x"],
        ["--max-orphan", "-1"],
        ["--max-orphan", "nan"],
        ["--connect", "nowhere"],
        ["--unknown"],
    ],
)
def test_misuse_is_one_line_and_exit_code_2(arguments: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    try:
        code: object = main(arguments)
    except SystemExit as ended:
        code = ended.code
    assert code == 2
    assert len(capsys.readouterr().err.splitlines()) == 1


def test_the_list_of_checks(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["--list"]) == 0
    assert any(line.startswith("sequence_gap ") for line in capsys.readouterr().out.splitlines())
