"""The apx program on recordings of the A-STEP firmware."""

import json
from pathlib import Path

import pytest

from apx.cli import main
from protocol import AstroPix4LayerHit, AstroPix4LayerReadout, FileHeader, apx_open
from protocol.layer_frames import encode_frames
from protocol.layer_scan import FrameLayout

LAYOUT = FrameLayout(64, "big")


@pytest.fixture
def recording(tmp_path: Path) -> Path:
    """Three readouts: the first cuts a frame whose time stamp ends in 0xFF, the last is cut itself."""
    hits = AstroPix4LayerHit.encode([0, 1, 1], [1, 2, 12], [9, 0, 15], [40, 262_140, 7], [1241, 4, 48])
    data = encode_frames(hits, [1, 2, 3], [5, 0x01020304050607FF, 1 << 63], LAYOUT).tobytes()
    header = FileHeader(
        AstroPix4LayerReadout, {"chips": 2, "layers": 3, "timestamp_bits": 64, "timestamp_order": "big", "run": 5}
    )
    path = tmp_path / "layers.apx"
    with apx_open(path, "wb", header) as file:
        for number, part in enumerate((data[:35], data[35:] + 4000 * b"\xff", data[:9])):
            AstroPix4LayerReadout(part, number, 1_700_000_000_000_000_000 + number).write(file)
    return path


def test_the_loop_of_the_public_package(recording: Path) -> None:
    extra = b""
    hits = []
    with apx_open(recording) as file:
        for readout in file:
            hits += readout.decode(extra)
            extra = readout.extra_bytes()
    assert [type(hit) for hit in hits] == 3 * [AstroPix4LayerHit]
    assert [(hit.layer, hit.chip_id, hit.row, hit.column, hit.readout_id) for hit in hits] == [
        (1, 0, 1, 9, 0), (2, 1, 2, 0, 1), (3, 1, 12, 15, 1)
    ]  # fmt: skip
    assert [hit.fpga_timestamp for hit in hits] == [5, 0x01020304050607FF, 1 << 63]
    assert len(extra) == 9


def test_a_hit_as_an_object() -> None:
    data = AstroPix4LayerHit.encode(1, 2, 3, 4, 44)[0].tobytes()
    hit = AstroPix4LayerHit(data, 7, 8, 9, layer=2, fpga_timestamp=11)
    assert hit.dict() == {
        "chip_id": 1, "payload": 7, "readout_id": 7, "timestamp": 8, "decoding_order": 9, "row": 2, "column": 3,
        "ts_neg1": 0, "ts_coarse1": 0, "ts_fine1": 3, "ts_tdc1": 0, "ts_neg2": 0, "ts_coarse2": 3, "ts_fine2": 5,
        "ts_tdc2": 0, "ts_dec1": 4, "ts_dec2": 44, "tot_us": 1.0, "layer": 2, "fpga_timestamp": 11,
    }  # fmt: skip
    assert hit == AstroPix4LayerHit(data, 0, 0, 0, 2, 11)
    assert hit != AstroPix4LayerHit(data, 7, 8, 9, 1, 11)
    assert hit != AstroPix4LayerHit(data, 7, 8, 9, 2, 12)
    assert len({hit, AstroPix4LayerHit(data, layer=2, fpga_timestamp=11)}) == 1


def test_info(recording: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["info", "--json", str(recording)]) == 0
    said = json.loads(capsys.readouterr().out)
    assert (said["readout_class"], said["hits"], said["chip_hits"]) == ("AstroPix4LayerReadout", 3, {"0": 1, "1": 2})
    assert (said["ledger"]["padding"], said["ledger"]["dropped"], said["ledger"]["rejoined_hits"]) == (17, 9, 1)


def test_convert(recording: Path) -> None:
    assert main(["convert", str(recording), "--format", "csv"]) == 0
    header, names, *rows = recording.with_suffix(".csv").read_text().splitlines()
    assert json.loads(header[1:])["timestamp_order"] == "big"
    assert names.endswith("ts_dec1,ts_dec2,tot_us,layer,fpga_timestamp")
    assert [row.split(",")[-5:] for row in rows] == [
        ["40", "1241", "30.025", "1", "5"],
        ["262140", "262148", "0.2", "2", str(0x01020304050607FF)],
        ["7", "48", "1.025", "3", str(1 << 63)],
    ]


def test_the_byte_order_of_the_time_stamp_can_be_overridden(
    recording: Path, recordings: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    swapped = [int.from_bytes(stamp.to_bytes(8, "big"), "little") for stamp in (5, 0x01020304050607FF, 1 << 63)]
    assert main(["convert", str(recording), "--format", "csv", "--timestamp-order", "little"]) == 0
    header, _, *rows = recording.with_suffix(".csv").read_text().splitlines()
    assert json.loads(header[1:])["timestamp_order"] == "little"
    assert [int(row.split(",")[-1]) for row in rows] == swapped
    capsys.readouterr()
    assert main(["dump", "--columns", "fpga_timestamp", "--timestamp-order", "little", str(recording)]) == 0
    assert [int(line) for line in capsys.readouterr().out.splitlines()[1:]] == swapped
    gecco = sorted(recordings.glob("*.apx"))[0]
    assert main(["dump", "--timestamp-order", "big", str(gecco)]) == 1
    assert "its hits have no FPGA time stamp" in capsys.readouterr().err


def test_dump(recording: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["dump", "--columns", "layer,chip_id,fpga_timestamp", str(recording)]) == 0
    assert [line.split() for line in capsys.readouterr().out.splitlines()[1:]] == [
        ["1", "0", "5"], ["2", "1", str(0x01020304050607FF)], ["3", "1", str(1 << 63)]
    ]  # fmt: skip


def test_dump_of_the_bytes(recording: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["dump", "--hex", "--json", str(recording)]) == 0
    first, second, third = (json.loads(line) for line in capsys.readouterr().out.splitlines())
    assert first["classes"] == 18 * "H" + 17 * "c"
    assert second["classes"] == "H" + 18 * "h" + 17 * "p"
    assert (second["carried_before"], second["carried_fate"]) == (17, "completed here")
    assert third["classes"] == 9 * "c"
    assert main(["dump", "--hex", str(recording)]) == 0
    assert capsys.readouterr().out.splitlines()[-1] == "end: 9 bytes carried: dropped, the rest is missing"
