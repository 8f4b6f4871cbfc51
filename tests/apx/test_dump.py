"""`apx dump`: hits as lines, and bytes with what each was taken for."""

import json
import re
from collections.abc import Sequence
from pathlib import Path

import pytest

from apx.cli import main
from protocol.apx import FileHeader, apx_open
from protocol.readout import AstroPix4Readout

A = "e05042030620d701"
B = "e05041130620d701"
ESCAPE = re.compile(r"\x1b\[[0-9;]*m")


def write(path: Path, *readouts: str, first_id: int = 0, **header: int) -> Path:
    with apx_open(path, "wb", FileHeader(AstroPix4Readout, header)) as file:
        for number, data in enumerate(readouts):
            AstroPix4Readout(bytes.fromhex(data), first_id + number, 1_753_255_536_707_629_800 + number).write(file)
    return path


def dump(path: Path, capsys: pytest.CaptureFixture[str], *options: str, code: int = 0) -> list[str]:
    assert main(["dump", str(path), *options]) == code
    return capsys.readouterr().out.splitlines()


def letters(path: Path, capsys: pytest.CaptureFixture[str], *options: str) -> list[str]:
    """For each readout, the letters of its bytes."""
    lines = dump(path, capsys, "--hex", "--json", *options)
    return [json.loads(line)["classes"] for line in lines]


def test_hits_are_lines_below_their_columns(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = write(tmp_path / "x.apx", f"bc{A}bc{B}", "bcbc", f"{A}bc")
    lines = dump(path, capsys)
    assert [line.split()[:7] for line in lines] == [
        ["chip_id", "payload", "readout_id", "timestamp", "decoding_order", "row", "column"],
        ["0", "7", "0", "1753255536707629800", "0", "1", "9"],
        ["0", "7", "0", "1753255536707629800", "1", "1", "10"],
        ["0", "7", "2", "1753255536707629802", "0", "1", "9"],
    ]
    assert len({len(line) for line in lines}) == 1
    assert [line.split()[-1] for line in lines] == ["tot_us", "31.05", "43.4", "31.05"]


def test_the_hits_of_a_recording(recordings: Path, capsys: pytest.CaptureFixture[str]) -> None:
    lines = dump(recordings / "20250723_092534_data.apx", capsys, "--columns", "readout_id,row,column")
    assert len(lines) == 777
    assert {tuple(line.split()[1:]) for line in lines[1:]} == {("0", "9")}


def test_columns_and_json(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = write(tmp_path / "x.apx", A)
    assert dump(path, capsys, "--columns", "tot_us,row") == ["  tot_us row", "   31.05   1"]
    assert [json.loads(line) for line in dump(path, capsys, "--columns", "tot_us,row", "--json")] == [
        {"tot_us": 31.05, "row": 1}
    ]
    dump(path, capsys, "--columns", "nothing", code=2)
    dump(path, capsys, "--hex", "--columns", "row", code=2)


@pytest.mark.parametrize(
    ("options", "readout_ids"),
    [
        ([], [100, 101, 102, 103]),
        (["--first", "102"], [102, 103]),
        (["--first", "5"], [100, 101, 102, 103]),
        (["--first", "104"], []),
        (["--count", "2"], [100, 101]),
        (["--count", "0"], []),
        (["--count", "9"], [100, 101, 102, 103]),
        (["--first", "101", "--count", "2"], [101, 102]),
    ],
)
def test_a_part_of_the_readouts(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], options: list[str], readout_ids: list[int]
) -> None:
    path = write(tmp_path / "x.apx", *[f"bc{A}bc"] * 4, first_id=100)
    hits = dump(path, capsys, "--json", *options)
    assert [json.loads(line)["readout_id"] for line in hits] == readout_ids
    readouts = dump(path, capsys, "--json", "--hex", *options)
    assert [json.loads(line)["readout_id"] for line in readouts] == readout_ids


def test_a_part_that_opens_with_the_rest_of_a_hit(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = write(tmp_path / "x.apx", A[:10], A[10:] + "bc" + B, "bc")
    hits = dump(path, capsys, "--json", "--first", "1", "--count", "1")
    assert [json.loads(line)["column"] for line in hits] == [9, 10]
    assert letters(path, capsys, "--first", "1", "--count", "1") == ["HHHihhhhhhhh"]


@pytest.mark.parametrize(
    ("readouts", "expected"),
    [
        ([f"bcbc{A}bcbc{B}bcbc"], ["iiHHHHHHHHiihhhhhhhhii"]),
        ([f"bcbc{A}{B}{A}bc"], ["iiHHHHHHHHhhhhhhhhHHHHHHHHi"]),
        ([f"{A}bcbce05042030620", f"d701bcbc{B}bcbc"], ["HHHHHHHHiicccccc", "HHiihhhhhhhhii"]),
        ([f"bcbce05042030620{B}bcbc"], ["iiddddddHHHHHHHHii"]),
        (["bcbce05042e050411306bcbc"], ["iiHHHHHHHHii"]),
        ([f"bcbc{A}bcffffffffbc{B}bcbcffffbcbc"], ["iiHHHHHHHHippppihhhhhhhhiippii"]),
        (["bcbc", "ffff", ""], ["ii", "", ""]),
        ([f"bcbc{A}"], ["iiHHHHHHHH"]),
        (["bcbce05042030620d7", f"bcbc{B}bcbc"], ["iiccccccc", "iiHHHHHHHHii"]),
        (["e050", "42", "030620d701bcbc"], ["cc", "c", "HHHHHii"]),
        (["010203bc00"], ["oooio"]),
        ([f"bcbcbcbc{A[:8]}{'ff' * 8}{A[8:]}{B}"], ["iiiiHHHHppppppppHHHHhhhhhhhh"]),
        ([f"bcbcbcbc{A[:8]}", f"{'ff' * 8}{A[8:]}{B[:8]}{'ff' * 8}"], ["iiiicccc", "ppppppppHHHHcccc"]),
    ],
)
def test_every_byte_says_what_it_was_taken_for(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], readouts: Sequence[str], expected: Sequence[str]
) -> None:
    assert letters(write(tmp_path / "x.apx", *readouts), capsys) == expected


@pytest.mark.parametrize(
    ("readouts", "fates"),
    [
        ([A[:12], A[12:] + "bc"], ["", "completed here"]),
        ([A[:14], f"bc{B}"], ["", "a hit with 0xFF restored"]),
        ([A[:4], A[4:6], A[6:]], ["", "still open", "completed here"]),
        (["e05042", "e05041130620d701bc"], ["", "a hit with 0xFF restored"]),
        (["e05042e050", "41130620d701bc"], ["", "3 dropped, 2 completed here"]),
        (["e05042", "00e05041130620d701bc"], ["", "3 dropped"]),
    ],
)
def test_what_became_of_carried_bytes(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], readouts: Sequence[str], fates: Sequence[str]
) -> None:
    path = write(tmp_path / "x.apx", *readouts)
    lines = dump(path, capsys, "--hex", "--json")
    assert [json.loads(line)["carried_fate"] for line in lines] == fates


def test_hits_take_turns_also_after_one_that_got_back_what_was_before_the_cut(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = write(tmp_path / "x.apx", "bc" * 5 + "e05042ff", "0620d701" + A + "bc", full_readout_bytes=9)
    first, second = (json.loads(line) for line in dump(path, capsys, "--hex", "--json"))
    assert (first["classes"], second["classes"]) == ("iiiiiccc", "HHHHhhhhhhhhi")
    assert second["carried_fate"] == "completed here, 0xFF restored"


def test_hex_without_colour_has_letters_below(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = write(tmp_path / "x.apx", "bc" * 31 + A[:6])
    assert dump(path, capsys, "--hex") == [
        "i idle, p padding, H hit, h next hit, c cut hit, the next readout decides, o orphan, d dropped",
        "readout 0  2025-07-23T07:25:36.707629800Z  34 bytes  0 hits",
        "  0000  " + "bc " * 31 + "e0",
        "        " + "i  " * 31 + "c",
        "  0020  50 42",
        "        c  c",
        "end: 3 bytes carried: a hit with 0xFF restored",
    ]


def test_hex_in_colour_says_the_same(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = write(tmp_path / "x.apx", f"bcbc{A}ff00e050", "42030620d701bc")
    lines = dump(path, capsys, "--hex", "--color", "always")
    coloured = [line for line in lines if line.startswith("  00")]
    assert [ESCAPE.sub("", line) for line in coloured] == [
        "  0000  bc bc e0 50 42 03 06 20 d7 01 ff 00 e0 50",
        "  0000  42 03 06 20 d7 01 bc",
    ]
    # idle, hit, padding, orphan, cut: each in a style of its own, whole stretches at once
    assert len(set(re.findall(r"\x1b\[[0-9;]+m(?=[0-9a-f])", coloured[0]))) == 5
    assert len(lines) == 6


@pytest.mark.parametrize(
    ("option", "environment", "terminal", "coloured"),
    [
        ("auto", {}, True, True),
        ("auto", {}, False, False),
        ("auto", {"NO_COLOR": "1"}, True, False),
        ("auto", {"NO_COLOR": ""}, True, True),
        ("auto", {"TERM": "dumb"}, True, False),
        ("never", {}, True, False),
        ("always", {"NO_COLOR": "1"}, False, True),
    ],
)
def test_when_there_is_colour(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    option: str,
    environment: dict[str, str],
    terminal: bool,
    coloured: bool,
) -> None:
    path = write(tmp_path / "x.apx", A)
    monkeypatch.delenv("NO_COLOR", raising=False)
    monkeypatch.setenv("TERM", "xterm")
    for name, value in environment.items():
        monkeypatch.setenv(name, value)
    monkeypatch.setattr("sys.stdout.isatty", lambda: terminal)
    lines = dump(path, capsys, "--hex", "--color", option)
    assert bool(ESCAPE.search("".join(lines))) == coloured


def test_several_files_are_told_apart(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    paths = [write(tmp_path / "a.apx", A), write(tmp_path / "b\n\x1b[31m.apx", B)]
    assert main(["dump", *map(str, paths), "--columns", "column"]) == 0
    assert capsys.readouterr().out.splitlines() == [
        f"== {tmp_path}/a.apx",
        "column",
        "     9",
        f"== {tmp_path}/b\\n\\x1b[31m.apx",
        "column",
        "    10",
    ]


def test_the_end_of_a_file_settles_its_last_hit(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = write(tmp_path / "x.apx", A[:14])
    assert len(dump(path, capsys, "--json")) == 1
    assert len(dump(path, capsys, "--json", "--count", "1")) == 0


def test_a_cut_file_is_a_finding_where_its_end_was_asked_for(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = write(tmp_path / "x.apx", A, B)
    path.write_bytes(path.read_bytes()[:-1])
    assert len(dump(path, capsys, "--json", code=1)) == 1
    assert len(dump(path, capsys, "--json", "--count", "1")) == 1
    assert len(dump(path, capsys, "--hex", "--json", code=1)) == 1


def test_time_stamps_that_are_none_or_no_date(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = tmp_path / "x.apx"
    with apx_open(path, "wb", FileHeader(AstroPix4Readout)) as file:
        AstroPix4Readout(b"\xbc", 0, 0).write(file)
        AstroPix4Readout(b"\xbc", 1, 2**64 - 1).write(file)
    headings = [line for line in dump(path, capsys, "--hex") if line.startswith("readout")]
    assert headings[0] == "readout 0  1 byte  0 hits"
    assert re.fullmatch(r"readout 1  (2554-07-21T\S+Z|\d+ ns)  1 byte  0 hits", headings[1])
