"""`apx from-log`: the older text recordings become the files that they would be today."""

import json
import lzma
from pathlib import Path

import pytest

from apx.cli import main
from protocol.apx import ApxReader, apx_open
from protocol.block import ReadoutBlock
from protocol.decode import StreamDecoder

LOG = "Digital: {'a': 1}\n Namespace(name='scan', chipVer=4)\n0\tb'bcbcffff'\n3\tb'e0504203ff'\n"


@pytest.fixture
def log_path(tmp_path: Path) -> Path:
    path = tmp_path / "scan.log"
    path.write_text(LOG)
    return path


def blocks_of(path: Path) -> list[ReadoutBlock]:
    with ApxReader(path) as reader:
        blocks = list(reader.blocks())
        assert reader.leftover_bytes == 0
    return blocks


def test_the_recording_equals_the_apx_beside_it_byte_by_byte(recordings: Path, tmp_path: Path) -> None:
    name = "threshold_40mV_20250722-094253"
    assert main(["from-log", str(recordings / f"{name}.log.xz"), "--output", str(tmp_path)]) == 0
    assert (tmp_path / f"{name}.apx").read_bytes() == (recordings / f"{name}.apx").read_bytes()


A = (0, 7, 1, 9, 0, 1408, 6, 0, 0, 1259, 4, 0, 14331, 14952, 31.05)
B = (0, 7, 1, 10, 0, 1424, 6, 0, 0, 1259, 4, 0, 14084, 14952, 43.4)
C = (0, 7, 1, 9, 0, 1038, 0, 21, 0, 712, 3, 0, 16288, 138114, 6091.3)


def test_the_difficult_readouts_give_the_hits_of_the_table(recordings: Path, tmp_path: Path) -> None:
    output = tmp_path / "cases.apx"
    assert main(["from-log", str(recordings / "decode_cases.log"), "--output", str(output)]) == 0
    decoder = StreamDecoder(chips=1)
    hits = [hit for block in blocks_of(output) for hit in decoder.decode(block).tolist()]
    assert len(decoder.flush()) == 0
    # (readout, order in it, the hit's own columns)
    assert [(hit[2], hit[4], hit[:2] + hit[5:]) for hit in hits] == [
        (0, 0, A),
        (0, 1, B),
        (1, 0, A),
        (1, 1, B),
        (2, 0, A),
        (3, 0, A),
        (3, 1, B),
        (4, 0, B),
        (5, 0, C),
        (6, 0, A),
        (6, 1, B),
    ]
    assert decoder.ledger.balanced
    assert decoder.ledger.dropped == 6


def test_readouts_ids_and_header(log_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["from-log", str(log_path)]) == 0
    output = log_path.with_suffix(".apx")
    assert capsys.readouterr().out == f"{output}: 2 readouts\n"
    with apx_open(output) as file:
        assert file.header.content == {
            "readout_uid": 4000,
            "Digital": {"a": 1},
            "options": {"name": "scan", "chipVer": 4},
        }
        readouts = list(file)
    assert [(each.readout_id, each.timestamp, each.data().hex()) for each in readouts] == [
        (0, 0, "bcbc"),
        (3, 0, "e0504203"),
    ]
    assert sorted(path.name for path in log_path.parent.iterdir()) == ["scan.apx", "scan.log"]


def test_a_recording_of_version_3(tmp_path: Path) -> None:
    path = tmp_path / "scan.log"
    path.write_text("Digital: {'a': 1}\n Namespace(name='scan', chipVer=3)\n0\tb'bc20885a40c5bcff'\n")
    assert main(["from-log", str(path)]) == 0
    with apx_open(path.with_suffix(".apx")) as file:
        assert file.header.readout_uid() == 3000
        (readout,) = file
    (hit,) = readout.decode()
    assert hit.attribute_values(["is_column", "location", "tot_us"]) == [0, 17, 3.375]


def test_plain_text_whatever_its_encoding(tmp_path: Path) -> None:
    path = tmp_path / "windows.log"
    path.write_bytes(b"\xef\xbb\xbf Namespace(outdir='E:/M\xfcller', where='\xc3\xa4')\r\n0\tb'bc'\r\n")
    assert main(["from-log", str(path)]) == 0
    with apx_open(path.with_suffix(".apx")) as file:
        assert file.header["options"] == {"outdir": "E:/Müller", "where": "ä"}


def test_report_as_json(log_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["from-log", str(log_path), "--json"]) == 0
    assert json.loads(capsys.readouterr().out) == {
        "input": str(log_path),
        "output": str(log_path.with_suffix(".apx")),
        "readouts": 2,
        "half_bytes": 0,
        "cut_readouts": 0,
        "ignored_characters": 0,
    }


def test_half_bytes_are_reported_and_the_rest_is_kept(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = tmp_path / "odd.log"
    path.write_text("".join(f"{number}\tb'bcbce'\n" for number in range(12)) + "12\tb'bcbc'\n")
    assert main(["from-log", str(path), "--json"]) == 1
    printed = capsys.readouterr()
    assert json.loads(printed.out)["half_bytes"] == 12
    complaints = printed.err.splitlines()
    assert len(complaints) == 11
    assert "line 1: readout 0 has an odd number of hex digits" in complaints[0]
    assert "12 readouts in all" in complaints[-1]
    (block,) = blocks_of(path.with_suffix(".apx"))
    assert block.data == b"\xbc\xbc" * 13


@pytest.mark.parametrize(
    ("tail", "readouts", "complaint"),
    [("7\tb'bcbc", 3, "within its last readout"), ("7", 2, "the last 1 characters")],
)
def test_a_cut_recording_gives_what_it_has(
    log_path: Path, capsys: pytest.CaptureFixture[str], tail: str, readouts: int, complaint: str
) -> None:
    log_path.write_text(LOG + tail)
    assert main(["from-log", str(log_path)]) == 1
    assert complaint in capsys.readouterr().err
    assert sum(map(len, blocks_of(log_path.with_suffix(".apx")))) == readouts


def refused(arguments: list[str], capsys: pytest.CaptureFixture[str], code: int = 1) -> str:
    """The one line on stderr of a command that fails."""
    assert main(arguments) == code
    printed = capsys.readouterr()
    assert printed.out == ""
    assert printed.err.startswith("apx: ")
    (line,) = printed.err.splitlines()
    return line


def test_existing_output_is_refused_and_left_alone(log_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    output = log_path.with_suffix(".apx")
    output.write_bytes(b"precious")
    assert "--force" in refused(["from-log", str(log_path)], capsys)
    assert output.read_bytes() == b"precious"
    assert main(["from-log", str(log_path), "--force"]) == 0
    assert sum(map(len, blocks_of(output))) == 2


def test_an_input_is_never_overwritten(log_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    arguments = ["from-log", str(log_path), "--output", str(log_path), "--force"]
    assert "is an input" in refused(arguments, capsys, code=2)
    assert log_path.read_text() == LOG


def test_standard_output_is_refused(log_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert "standard output" in refused(["from-log", str(log_path), "--output", "-"], capsys, code=2)


@pytest.mark.parametrize(
    ("text", "complaint"),
    [
        ("Digital: {'a': __import__('os').system('touch evaluated')}\n0\tb'bc'\n", "line 1: not a literal"),
        ("Digital: {'a': " + "[" * 50_000 + "}\n0\tb'bc'\n", "line 1: not a Python literal"),
        (LOG + "nonsense\n", "line 5: not a readout"),
        ("", "line 1: the file is empty"),
        ("Namespace(chipVer=2)\n0\tb'2010'\n", "chip version 2: only versions 3 and 4"),
        ("Namespace(chipVer=[4])\n0\tb'2010'\n", "chip version [4]: only versions 3 and 4"),
    ],
)
def test_hostile_and_foreign_files_leave_nothing_behind(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], text: str, complaint: str
) -> None:
    monkeypatch.chdir(tmp_path)
    Path("x.log").write_text(text)
    line = refused(["from-log", "x.log"], capsys)
    assert line.startswith("apx: x.log: ")
    assert complaint in line
    assert [path.name for path in tmp_path.iterdir()] == ["x.log"]


def test_damaged_xz(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = tmp_path / "x.log.xz"
    compressed = bytearray(lzma.compress((LOG + "9\tb'bc'\n" * 1000).encode()))
    compressed[len(compressed) // 2] ^= 0xFF
    path.write_bytes(compressed)
    assert "damaged xz file" in refused(["from-log", str(path)], capsys)
    assert [each.name for each in tmp_path.iterdir()] == ["x.log.xz"]


def test_cut_xz(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = tmp_path / "x.log.xz"
    path.write_bytes(lzma.compress(LOG.encode())[:-20])
    assert "the xz file is cut" in refused(["from-log", str(path)], capsys)
    assert [each.name for each in tmp_path.iterdir()] == ["x.log.xz"]


def test_xz_is_known_by_its_content(log_path: Path) -> None:
    log_path.write_bytes(lzma.compress(LOG.encode()))
    assert main(["from-log", str(log_path)]) == 0
    assert sum(map(len, blocks_of(log_path.with_suffix(".apx")))) == 2


def test_several_files_each_for_itself(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    good, bad, other = tmp_path / "good.log", tmp_path / "bad.log", tmp_path / "other.log.xz"
    good.write_text(LOG)
    bad.write_text("nonsense")
    other.write_bytes(lzma.compress(LOG.encode()))
    out = tmp_path / "out"
    out.mkdir()
    paths = [str(path) for path in (bad, good, other, tmp_path / "missing.log")]
    assert main(["from-log", *paths, "--output", str(out)]) == 1
    assert sorted(path.name for path in out.iterdir()) == ["good.apx", "other.apx"]
    complaints = capsys.readouterr().err.splitlines()
    assert len(complaints) == 2
    assert complaints[1] == f"apx: {tmp_path / 'missing.log'}: No such file or directory"
