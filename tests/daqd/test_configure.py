"""`daqd configure`: the bytes that would go to the board, and what is said about it."""

import json
import re
from pathlib import Path
from typing import Any

import pytest

from astropix_runtime.command_line.program import FAILED, MISUSE
from daqd.cli import main
from tests.protocol import chip_by_hand as by_hand

pytestmark = pytest.mark.slow

OFF = 0b001_11111_11111_11111_11111_11111_11111_11110
CONFIG = '[board]\ntransport = "{transport}"\nchips = {chips}\n[daq]\nruntime_dir = "{folder}"\n'


@pytest.fixture
def config(tmp_path: Path) -> Path:
    """A configuration for a board that is not there: a dry run must not look for it."""
    path = tmp_path / "daqd.toml"
    path.write_text(CONFIG.format(transport="ftdi", chips=1, folder=tmp_path))
    return path


def trace_of(path: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in path.read_text().splitlines()]


def writes(trace: list[dict[str, Any]], register: int) -> list[str]:
    return [line["data"] for line in trace if line["op"] == "write" and line["register"] == register]


def test_dry_run_of_a_threshold_scan_every_byte(
    config: Path, recordings: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    file, out = recordings / "config_v4_none.yml", tmp_path / "trace.jsonl"
    wishes = "--threshold 40 --inject 1,9 --vinj 300 --dry-run"
    assert main(["configure", "-c", str(config), "--chip-file", str(file), *wishes.split(), "--trace", str(out)]) == 0
    trace = trace_of(out)
    assert all(set(line) == {"op", "register", "name", "length", "data", "why"} for line in trace)
    assert all(line["length"] == len(line["data"]) // 2 for line in trace)
    assert all(line["why"] for line in trace)

    text = file.read_text()

    vector = by_hand.chip_bits(
        text, {"vdacs.vinj": 170, "recconfig.col1": OFF | 1, "recconfig.col9": OFF & ~0b100 | 1 << 36}
    )
    chip = by_hand.chip_port(vector, load=8).hex()
    tdacs = by_hand.chip_port(16 * "10000", load=0x40).hex()
    voltages = by_hand.card_port(by_hand.card_bits([0, 0, 6748, 6135, 0, 0, 4908, 6380], slot=4)).hex()

    # Reset, configuration; chip out of reset for SPI; reset, configuration, TDAC row 0.
    assert writes(trace, 0x00) == ["10", "00", chip, "00", "10", "00", chip, tdacs]
    assert writes(trace, 0x0C) == [voltages]
    assert writes(trace, 0x16) == ["28"]
    assert writes(trace, 0x17) == ["0400000000000000"]
    injection = [
        f"01{line['register']:02x}0001{line['data']}"
        for line in trace
        if line["op"] == "write" and 2 <= line["register"] <= 7
    ]
    assert injection == [
        *("0103000101", "0102000101", "0102000100"),
        *by_hand.injection_writes(output=2, period=100, cycle=0, delay=100, divider=300, pulses=1),
        *("0103000101", "0102000101", "0102000100", "0103000100"),
    ]
    # In the order of the facts.
    order = [(line["op"], line["register"], line["length"]) for line in trace]
    places = [
        order.index(("read", 0x50, 4)),
        order.index(("write", 0x00, 34320)),
        order.index(("write", 0x0C, 3424)),
        order.index(("write", 0x05, 1)),
        order.index(("write", 0x16, 1)),
        order.index(("write", 0x17, 8)),
        order.index(("write", 0x00, 3440)),
        len(order) - 1 - order[::-1].index(("write", 0x03, 1)),
    ]
    assert places == sorted(places)
    # After the last write, identity, SPI and chip reset are checked.
    assert [step for step in order if step[0] == "write"][-1] == ("write", 0x03, 1)

    told = capsys.readouterr().out
    assert "thpix 1.04 V; slot 4" in told
    assert "row 1, column 9: 300 mV from the chip" in told
    assert "nothing was touched" in told


@pytest.mark.parametrize("transport", ["emulated", "emulated-usb"])
def test_a_dry_run_says_what_a_real_one_says(transport: str, tmp_path: Path) -> None:
    traces = []
    for number, dry in enumerate((["--dry-run"], [])):
        real = tmp_path / "emulated.toml"
        real.write_text(CONFIG.format(transport=transport, chips=2, folder=tmp_path) + "[emulator]\nrate_hz = 0.001\n")
        out = tmp_path / f"{number}.jsonl"
        assert main(["configure", "-c", str(real), "--inject", "1,1,9", "--trace", str(out), *dry]) == 0
        traces.append(trace_of(out))
    assert traces[0] == traces[1]
    chips = [len(data) // 2 for data in writes(traces[0], 0x00) if len(data) > 2]
    assert chips == [65280, 2 * 34320 - 240 - 65280, 65280, 2 * 34320 - 240 - 65280, 6640]


def test_layers_count_from_1_in_what_a_trace_says(tmp_path: Path) -> None:
    real = tmp_path / "astep.toml"
    real.write_text('[board]\nkind = "astep"\ntransport = "emulated"\nlayers = 2\n')
    out = tmp_path / "trace.jsonl"
    assert main(["configure", "-c", str(real), "--dry-run", "--stop", "--trace", str(out)]) == 0
    named = [(line["name"], found[1]) for line in trace_of(out) if (found := re.search(r"layer (\d)", line["why"]))]
    assert {layer for _, layer in named} == {"1", "2", "3"}
    for name, layer in named:
        if register := re.search(r"LAYER_(\d)", name):
            assert int(layer) == int(register[1]) + 1, name


def test_json(config: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["configure", "-c", str(config), "--dry-run", "--stop", "--pixels", "on", "--json"]) == 0
    told = json.loads(capsys.readouterr().out)
    assert (told["ok"], told["dry_run"], told["stopped"], told["trace"]) == (True, True, True, None)
    assert told["setup"]["chips"][0]["pixels_on"] == 208
    assert told["transfers"] > 30


def test_stop_leaves_it_safe(config: Path, tmp_path: Path) -> None:
    out = tmp_path / "trace.jsonl"
    assert main(["configure", "-c", str(config), "--dry-run", "--stop", "--trace", str(out)]) == 0
    trace = trace_of(out)
    assert writes(trace, 0x03)[-1] == writes(trace, 0x02)[-1] == "01"
    assert writes(trace, 0x15)[-1] == "80"
    assert writes(trace, 0x00)[-1] == "10"


@pytest.mark.parametrize(
    ("arguments", "expected"),
    [
        ("--threshold 600", "daqd: chip.threshold_mv: a threshold of 600 mV above BL = 1 V makes thpix 1.6 V"),
        ("--threshold 1600", "daqd: threshold_mv: 1600.0 is not allowed: it must be 0 to 1500"),
        (
            "--inject 13,9",
            "daqd: chip.inject: there is no row 13, column 9: AstroPix 4 has rows 0 to 12",
        ),
        ("--inject 1,1,9", "daqd: chip.inject: there is no chip 1: 0 to 0"),
        ("--chip-file nowhere.yml", "daqd: nowhere.yml: cannot be read: No such file or directory"),
        ("--dry-run --trace /nowhere/trace", "daqd: /nowhere/trace: cannot be written: No such file or directory"),
    ],
)
def test_mistakes_touch_nothing(
    config: Path, capsys: pytest.CaptureFixture[str], arguments: str, expected: str
) -> None:
    # A file that cannot be written is no mistake in what was asked for.
    assert main(["configure", "-c", str(config), *arguments.split()]) == (FAILED if "--trace" in arguments else MISUSE)
    said = capsys.readouterr()
    assert said.err.startswith(expected)
    assert not said.out


def test_mistakes_as_json(config: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["configure", "-c", str(config), "--json", "--threshold", "600", "--disable", "1,0,0"]) == MISUSE
    told = json.loads(capsys.readouterr().out)
    assert not told["ok"]
    assert [line.partition(": ")[0] for line in told["mistakes"]] == ["chip.mask.disable[0]", "chip.threshold_mv"]


@pytest.mark.parametrize("pixel", ["1", "a,b", "1,2,3,4,5", "-1,2", "1,²"])
def test_what_is_no_pixel_is_misuse(config: Path, pixel: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as caught:
        main(["configure", "-c", str(config), f"--inject={pixel}"])
    assert caught.value.code == 2
    assert "is not [[LAYER,]CHIP,]ROW,COLUMN" in capsys.readouterr().err


def test_check_config_reads_the_chip_file(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path, chip = tmp_path / "daqd.toml", tmp_path / "chip.yml"
    path.write_text('[board]\ntransport = "emulated"\n[chip]\nfile = "chip.yml"\n')
    chip.write_text("astropix4: {config: {}}")
    assert main(["check-config", "-c", str(path)]) == MISUSE
    assert f"daqd: {chip}: astropix4.config.vdacs: is missing" in capsys.readouterr().err.splitlines()
    chip.write_text((Path(__file__).parents[2] / "config" / "astropix4.yml").read_text(encoding="utf-8"))
    assert main(["check-config", "-c", str(path)]) == 0


def test_thresholds_of_a_board_without_cards_are_written_into_the_chips(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path, out = tmp_path / "astep.toml", tmp_path / "trace.jsonl"
    path.write_text('[board]\nkind = "astep"\ntransport = "emulated"\n')
    written = []
    for threshold, shown in (("40", "38.7"), ("400", "399.0")):
        assert main(["configure", "-c", str(path), "--threshold", threshold, "--dry-run", "--trace", str(out)]) == 0
        told = capsys.readouterr().out.splitlines()
        assert "cards      none" in told
        assert f"threshold  {shown} mV on the chip" in told
        written.append([line["data"] for line in trace_of(out) if "chip configuration" in line["why"]])
    assert written[0] != written[1]
    assert main(["configure", "-c", str(path), "--threshold", "900", "--dry-run", "--trace", str(out)]) == 1
    assert "a threshold of 900 mV above blpix = 568 makes thpix 1080: 0 to 1023" in capsys.readouterr().err
    assert [line["op"] for line in trace_of(out)].count("write") <= 4  # injection off, layers on hold


def test_dry_run_of_an_astep_board(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path, out = tmp_path / "astep.toml", tmp_path / "trace.jsonl"
    path.write_text('[board]\nkind = "astep"\ntransport = "serial"\nlayers = 2\n[serial]\nurl = "/dev/nowhere"\n')
    assert main(["configure", "-c", str(path), "--inject", "2,0,1,9", "--dry-run", "--trace", str(out)]) == 0
    told = capsys.readouterr().out
    assert "injection  layer 2 chip 0, row 1, column 9" in told
    assert "pixels on  layer 1: 0; layer 2: 1" in told
    trace = trace_of(out)
    assert trace[0]["name"] == "0x03 (FIRMWARE_ID)"
    assert trace[0] | {"why": "", "name": ""} == {
        "op": "read", "register": 3, "name": "", "length": 1024, "data": 1024 * "00", "why": ""
    }  # fmt: skip
    assert {line["name"] for line in trace} >= {"0x91 (SHIFT_REGISTER)", "0x9A (READBACK)"}
    assert all(line["why"] for line in trace)
    assert all(line["length"] == len(line["data"]) // 2 for line in trace)
    # Each layer has its own chip: the injected pixel is in the second one.
    shifted = [line["data"] for line in trace if line["op"] == "write" and "chip configuration" in line["why"]]
    assert {line["register"] for line in trace if "chip configuration" in line["why"]} == {0x91}
    vectors = [
        by_hand.chip_bits(
            (Path(__file__).parents[2] / "config" / "astropix4.yml").read_text(encoding="utf-8"), replaced
        )
        for replaced in ({}, {"recconfig.col1": OFF | 1, "recconfig.col9": OFF & ~0b100 | 1 << 36})
    ]
    for data, vector in zip(shifted, vectors, strict=True):
        # Five states a bit, eight times each; the second of them is the first clock.
        bits = ["1" if state & 4 else "0" for state in bytes.fromhex(data)[8 : 852 * 40 : 40]]
        assert "".join(bits) == vector
