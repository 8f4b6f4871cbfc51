"""`apx convert`: hits as other programs read them."""

import csv
import io
import json
import re
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import BinaryIO

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from apx import cli, convert, export
from apx.csv_table import csv_rows, float_characters, integer_characters
from protocol.apx import FileHeader, apx_open
from protocol.decode import StreamDecoder
from protocol.hit import HIT_DTYPE, AstroPix4Hit, HitTable
from protocol.readout import AstroPix4Readout

pytestmark = pytest.mark.slow

A = bytes.fromhex("e05042030620d701")
B = bytes.fromhex("e05041130620d701")
ROW_A = "0,7,{},{},{},1,9,0,1408,6,0,0,1259,4,0,14331,14952,31.05"
ROW_B = "0,7,{},{},{},1,10,0,1424,6,0,0,1259,4,0,14084,14952,43.4"
NAMES = (
    "chip_id,payload,readout_id,timestamp,decoding_order,row,column,ts_neg1,ts_coarse1,ts_fine1,ts_tdc1,"
    "ts_neg2,ts_coarse2,ts_fine2,ts_tdc2,ts_dec1,ts_dec2,tot_us"
)


def write(path: Path, readouts: Sequence[bytes], **content: object) -> Path:
    with apx_open(path, "wb", FileHeader(AstroPix4Readout, content)) as file:
        for number, data in enumerate(readouts):
            AstroPix4Readout(data, number, 1000 + number).write(file)
    return path


@pytest.fixture
def recording(tmp_path: Path) -> Path:
    return write(tmp_path / "run.apx", [b"\xbc" + A + B + b"\xbc", b"\xbc\xbc", A + b"\xbc"], comment="größer")


def to_csv(path: Path, *options: str) -> int:
    return cli.main(["convert", str(path), "--format", "csv", *options])


def test_the_recorded_file_comes_out_byte_by_byte(recordings: Path, tmp_path: Path) -> None:
    output = tmp_path / "data.csv"
    assert to_csv(recordings / "20250723_092534_data.apx", "--output", str(output)) == 0
    assert output.read_bytes() == (recordings / "20250723_092534_data.csv").read_bytes()


def test_text_of_a_table(recording: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert to_csv(recording) == 0
    output = recording.with_suffix(".csv")
    assert output.read_bytes().decode().split("\n") == [
        '#{"readout_uid": 4000, "comment": "gr\\u00f6\\u00dfer"}',
        NAMES,
        ROW_A.format(0, 1000, 0),
        ROW_B.format(0, 1000, 1),
        ROW_A.format(2, 1002, 0),
        "",
    ]
    assert capsys.readouterr().out == f"{output}: 3 hits of 3 readouts\n"
    assert sorted(path.name for path in recording.parent.iterdir()) == ["run.apx", "run.csv"]


def test_what_the_end_of_the_run_settles_is_included(tmp_path: Path) -> None:
    path = write(tmp_path / "cut.apx", [A + A[:-1] + b"\xff"])
    assert to_csv(path) == 0
    rows = list(csv.DictReader(io.StringIO(path.with_suffix(".csv").read_text().split("\n", 1)[1])))
    assert [(row["decoding_order"], row["row"]) for row in rows] == [("0", "1"), ("1", "1")]


def test_chosen_columns(recording: Path) -> None:
    assert to_csv(recording, "--columns", "tot_us, row") == 0
    assert recording.with_suffix(".csv").read_text().split("\n")[1:3] == ["tot_us,row", "31.05,1"]


def test_an_unknown_column_is_misuse(recording: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert to_csv(recording, "--columns", "row,colour") == 2
    assert "no column 'colour': there are chip_id, payload," in capsys.readouterr().err
    assert not recording.with_suffix(".csv").exists()


def test_standard_output(recording: Path, capfdbinary: pytest.CaptureFixture[bytes]) -> None:
    assert to_csv(recording, "--output", "-", "--columns", "row,column") == 0
    printed = capfdbinary.readouterr()
    assert printed.out.split(b"\n")[1:] == [b"row,column", b"1,9", b"1,10", b"1,9", b""]
    assert printed.err == b""


def test_known_chips_refuse_false_starts(tmp_path: Path) -> None:
    path = write(tmp_path / "x.apx", [bytes.fromhex("bcf05042030620d701bc")])
    assert to_csv(path, "--columns", "chip_id") == 0
    assert path.with_suffix(".csv").read_text().endswith("chip_id\n1\n")
    assert to_csv(path, "--columns", "chip_id", "--chips", "1", "--force") == 0
    assert path.with_suffix(".csv").read_text().endswith("chip_id\n")


@pytest.mark.parametrize(("chips", "hits"), [(1, 0), (2, 1), (31, 1), (32, 1), (0, 1), ("1", 1), (None, 1), (True, 1)])
def test_the_header_may_say_how_many_chips(tmp_path: Path, chips: object, hits: int) -> None:
    path = write(tmp_path / "x.apx", [bytes.fromhex("bcf05042030620d701bc")], chips=chips)
    assert to_csv(path, "--columns", "chip_id") == 0
    assert path.with_suffix(".csv").read_text().count("\n") == 2 + hits
    assert to_csv(path, "--columns", "chip_id", "--chips", "2", "--force") == 0
    assert path.with_suffix(".csv").read_text().endswith("chip_id\n1\n")


def test_report_as_json(recording: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert to_csv(recording, "--json") == 0
    assert json.loads(capsys.readouterr().out) == {
        "input": str(recording),
        "output": str(recording.with_suffix(".csv")),
        "format": "csv",
        "readouts": 3,
        "hits": 3,
        "leftover_bytes": 0,
    }


def test_a_cut_file_gives_what_it_has_and_is_a_finding(recording: Path, capsys: pytest.CaptureFixture[str]) -> None:
    recording.write_bytes(recording.read_bytes()[:-1])
    assert to_csv(recording) == 1
    assert (
        capsys.readouterr().err == f"apx: {recording}: cut: the last 27 bytes are no whole readout and were left out\n"
    )
    assert recording.with_suffix(".csv").read_text().count("\n") == 4


def damage_marker(data: bytes) -> bytes:
    last = data.rindex(b"\xfe\xdc\xba")
    return data[:last] + b"\x00" + data[last + 1 :]


@pytest.mark.parametrize(
    ("damage", "complaint"),
    [
        (lambda data: b"%PDF-1.7" + data, "at byte 0: not an .apx file"),
        (lambda data: b"", "at byte 0: not an .apx file"),
        (lambda data: data.replace(b"4000", b"2000"), "unknown readout uid 2000"),
        (damage_marker, "no record marker"),
    ],
)
def test_a_bad_file_leaves_nothing_behind(
    recording: Path, capsys: pytest.CaptureFixture[str], damage: object, complaint: str
) -> None:
    assert callable(damage)
    recording.write_bytes(damage(recording.read_bytes()))
    assert to_csv(recording) == 1
    (line,) = capsys.readouterr().err.splitlines()
    assert line.startswith(f"apx: {recording}: at byte ")
    assert complaint in line
    assert [path.name for path in recording.parent.iterdir()] == ["run.apx"]


def test_a_missing_file(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert to_csv(tmp_path / "missing.apx") == 1
    assert capsys.readouterr().err == f"apx: {tmp_path / 'missing.apx'}: No such file or directory\n"


def test_an_existing_output_is_kept_without_force(recording: Path, capsys: pytest.CaptureFixture[str]) -> None:
    output = recording.with_suffix(".csv")
    output.write_text("precious")
    assert to_csv(recording) == 1
    assert capsys.readouterr().err == f"apx: {output} exists: give --force to replace it, or another --output\n"
    assert output.read_text() == "precious"
    assert to_csv(recording, "--force") == 0
    assert output.read_text().startswith("#{")


def test_several_files_into_a_directory(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    paths = [write(tmp_path / name, [A]) for name in ("a.apx", "b.apx.part")]
    (tmp_path / "out").mkdir()
    arguments = ["convert", *map(str, paths), "--format", "csv", "--output"]
    assert cli.main([*arguments, str(tmp_path / "out")]) == 0
    assert sorted(path.name for path in (tmp_path / "out").iterdir()) == ["a.csv", "b.csv"]
    assert cli.main([*arguments, str(tmp_path / "one.csv")]) == 2
    assert cli.main([*arguments, "-"]) == 2
    assert len(capsys.readouterr().err.splitlines()) == 2


def test_two_files_with_one_output_are_misuse(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "a").mkdir()
    paths = [write(tmp_path / "x.apx", [A]), write(tmp_path / "a" / "x.apx", [A])]
    assert cli.main(["convert", *map(str, paths), "--format", "csv", "--output", str(tmp_path)]) == 2
    assert "two of the files" in capsys.readouterr().err
    assert not (tmp_path / "x.csv").exists()


def test_the_same_file_by_another_name_is_an_input_too(recording: Path, capsys: pytest.CaptureFixture[str]) -> None:
    other = recording.parent / "other.csv"
    other.symlink_to(recording)
    assert to_csv(recording, "--output", str(other), "--force") == 2
    assert "is an input" in capsys.readouterr().err


def test_ctrl_c_leaves_nothing_behind(
    recording: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def interrupted(*_: object) -> HitTable:
        raise KeyboardInterrupt

    monkeypatch.setattr(StreamDecoder, "decode", interrupted)
    monkeypatch.setattr(cli, "drop_output", lambda: None)  # the test run's own stdout goes on
    assert to_csv(recording) == 130
    assert capsys.readouterr().err == "apx: interrupted\n"
    assert [path.name for path in recording.parent.iterdir()] == ["run.apx"]


def test_a_full_disk_is_one_line(
    recording: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    full = Path("/dev/full")
    if not full.exists():
        pytest.skip("no /dev/full here")

    @contextmanager
    def on_a_full_disk(*_: object) -> Iterator[BinaryIO]:
        with full.open("wb", buffering=0) as file:
            yield file

    monkeypatch.setattr(convert, "_opened", on_a_full_disk)
    assert to_csv(recording) == 1
    assert capsys.readouterr().err == f"apx: {recording}: No space left on device\n"


def test_a_new_format_is_one_function(
    recording: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    document = (Path(__file__).parents[2] / "docs" / "extending.md").read_text(encoding="utf-8")
    match = re.search(r"^```python apx_npy\.py\n(.*?)^```$", document, re.MULTILINE | re.DOTALL)
    assert match
    monkeypatch.setattr(export, "EXPORT_FORMATS", formats := dict(export.EXPORT_FORMATS))
    monkeypatch.setattr(convert, "EXPORT_FORMATS", formats)
    exec(match[1], {"__name__": "apx_npy"})  # noqa: S102 - the example of our own document

    assert cli.main(["convert", str(recording), "--format", "npy"]) == 0
    with recording.with_suffix(".npy").open("rb") as file:
        assert np.load(file)["tot_us"].tolist() == [31.05, 43.4, 31.05]
    with pytest.raises(SystemExit):
        cli.main(["convert", "--help"])
    assert "npy: NumPy: one table" in capsys.readouterr().out


@given(st.lists(st.integers(0, 2**64 - 1)))
def test_integers_as_python_writes_them(values: list[int]) -> None:
    texts = integer_characters(np.array(values, np.uint64))
    assert [bytes(row).replace(b"\0", b"").decode() for row in texts] == [str(value) for value in values]


@given(st.lists(st.one_of(st.floats(), st.integers(0, 1 << 18).map(lambda n: n / 20))))
def test_floats_as_python_writes_them(values: list[float]) -> None:
    texts = float_characters(np.array(values, np.float64))
    assert [bytes(row).replace(b"\0", b"").decode() for row in texts] == [repr(value) for value in values]


@pytest.mark.parametrize(("counts", "per_us"), [(1 << 18, 20), (1 << 19, 40), (1 << 12, 200), (1 << 12, 100)])
def test_every_time_over_threshold(counts: int, per_us: int) -> None:
    values = np.arange(counts) / per_us
    text = float_characters(values).tobytes().translate(None, b"\0")
    assert text == "".join(map(repr, values.tolist())).encode()


def test_many_rows_as_python_writes_them() -> None:
    generator = np.random.default_rng(4)
    count = 40_000
    wire = AstroPix4Hit.encode(
        generator.integers(0, 31, count),
        generator.integers(0, 32, count),
        generator.integers(0, 32, count),
        generator.integers(0, 1 << 17, count),
        generator.integers(0, 1 << 17, count),
        ts_tdc1=generator.integers(0, 32, count),
    )
    table = AstroPix4Hit.table(AstroPix4Hit.LAYOUT.words(wire))
    table["readout_id"] = generator.integers(0, 1 << 32, count)
    table["timestamp"] = generator.integers(0, 1 << 63, count)
    table["decoding_order"] = np.arange(count)
    expected = "".join(",".join(map(repr, row)) + "\n" for row in table.tolist())
    assert csv_rows(table, HIT_DTYPE.names or ()) == expected.encode()
    assert csv_rows(table[:0], HIT_DTYPE.names or ()) == b""


def test_columns_of_other_kinds() -> None:
    table = np.array([(-5, True, 0.5), (17, False, 2.0)], [("a", "i4"), ("b", "?"), ("c", "f4")])
    assert csv_rows(table, ("a", "b", "c")) == b"-5,True,0.5\n17,False,2.0\n"
