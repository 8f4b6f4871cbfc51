"""Text recordings: read as data, whatever they hold."""

import io
import json
import lzma
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from protocol.errors import TextLogError
from protocol.textlog import MAX_HEADER_LINE, MAX_READOUT_BYTES, TextLog, TextReadout

HEADER = """\
Voltagecard: {'thpmos': 0, 'vcasc2': 1.1, 'on': True, 'none': None}
Digital: {'nested': {'a': [1, -2, (3, 4)]}}
 Namespace(name='scan', inject=[1, 9], vinj=300.0, maxruns=None, outdir='E:\\\\data', quiet=False)
"""


def read(text: str) -> tuple[TextLog, list[TextReadout]]:
    log = TextLog(io.StringIO(text))
    return log, list(log)


def test_header_keeps_sections_in_order_and_options_last() -> None:
    log, rows = read(HEADER)
    assert list(log.header) == ["Voltagecard", "Digital", "options"]
    assert log.header["Voltagecard"] == {"thpmos": 0, "vcasc2": 1.1, "on": True, "none": None}
    assert log.header["Digital"] == {"nested": {"a": [1, -2, [3, 4]]}}
    assert log.header["options"] == {
        "name": "scan",
        "inject": [1, 9],
        "vinj": 300.0,
        "maxruns": None,
        "outdir": "E:\\data",
        "quiet": False,
    }
    assert rows == []


@pytest.mark.parametrize("line_end", ["\n", "\r\n"])
def test_rows(line_end: str) -> None:
    log, rows = read(HEADER.replace("\n", line_end) + line_end.join(["0\tb'bcBCe050'", "", "17\tb''", ""]))
    assert rows == [TextReadout(4, 0, bytes.fromhex("bcbce050")), TextReadout(6, 17, b"")]
    assert log.ignored_tail == 0


def test_a_recording_may_lack_its_header() -> None:
    log, rows = read("0\tb'bc'\n")
    assert log.header == {}
    assert rows == [TextReadout(1, 0, b"\xbc")]


def test_a_lone_half_byte_is_left_out_and_told() -> None:
    _, rows = read("0\tb'bcbcf'\n1\tb'a'\n2\tb'bc'\n")
    assert [(row.data, row.half_byte) for row in rows] == [(b"\xbc\xbc", "f"), (b"", "a"), (b"\xbc", "")]


@pytest.mark.parametrize(
    ("tail", "data", "half_byte"),
    [("1\tb'bcbc", b"\xbc\xbc", ""), ("1\tb'bcb", b"\xbc", "b"), ("1\tb'", b"", "")],
)
def test_a_last_row_that_is_cut_counts_as_far_as_it_goes(tail: str, data: bytes, half_byte: str) -> None:
    log, rows = read("0\tb'bc'\n" + tail)
    assert rows[1:] == [TextReadout(2, 1, data, half_byte, cut=True)]
    assert log.ignored_tail == 0


@pytest.mark.parametrize("tail", ["1", "12345", "1\t", "1\tb"])
def test_a_last_row_that_is_cut_before_its_data_is_ignored_and_counted(tail: str) -> None:
    log, rows = read("0\tb'bc'\n" + tail)
    assert len(rows) == 1
    assert log.ignored_tail == len(tail)


def test_a_last_row_without_line_end_is_whole() -> None:
    assert read("0\tb'bc'")[1] == [TextReadout(1, 0, b"\xbc")]


def test_sections_that_come_again_are_all_kept() -> None:
    log, _ = read("Digital: {'a': 1}\nDigital: {'a': 2}\nDigital: {'a': 3}\n0\tb''\n")
    assert log.header == {"Digital": {"a": 1}, "Digital#2": {"a": 2}, "Digital#3": {"a": 3}}


@pytest.mark.parametrize(
    ("text", "line_number", "reason"),
    [
        ("", 1, "empty"),
        ("\n\n", 3, "empty"),
        ("hello world\n", 1, "neither"),
        ("2025-07-23 09:25:34,319.__main__.INFO:Configuring\n", 1, "not a readout"),
        ("A: {'a': 1}\nB: [1, 2]\n", 2, "neither"),
        ("A: {'a': 1\n", 1, "neither"),
        ("A: {'a': }\n", 1, "not a Python literal"),
        ("A: {1: 2}\n", 1, "cannot hold"),
        ("A: {'a': b'x'}\n", 1, "cannot hold (bytes)"),
        ("A: {'a': {1, 2}}\n", 1, "cannot hold (set)"),
        ("A: {'a': 1e999}\n", 1, "cannot hold (float)"),
        ("A: {'a': ...}\n", 1, "cannot hold"),
        ("A: {'a': inf}\n", 1, "not a literal"),
        ("options: {'a': 1}\n", 1, "options"),
        ("readout_uid: {'a': 1}\n", 1, "readout_uid"),
        (" Namespace(a=1)\n Namespace(a=2)\n", 2, "second"),
        (" Namespace(1, 2)\n", 1, "key=value"),
        (" Namespace(**{'a': 1})\n", 1, "key=value"),
        (" Namespace(a=1)(b=2)\n", 1, "key=value"),
        ("Namespace(a=1, a=2)\n", 1, "'a' twice"),
        ("0\tb'bc'\nA: {'a': 1}\n", 2, "not a readout"),
        ("0 b'bc'\n", 1, "not a readout"),
        ("0\tb'b c'\n", 1, "not a readout"),
        ("0\tb'xy'\n", 1, "not a readout"),
        ("0\tb'bc\n1\tb'bc'\n", 1, "not a readout"),
        ("0\tb'bc'\nnonsense", 2, "not a readout"),
        ("4294967296\tb'bc'\n", 1, "32 bits"),
        ("٣\tb'bc'\n", 1, "not a readout"),
        (f"0\tb'{'bc' * (MAX_READOUT_BYTES + 1)}'\n", 1, "more than 65535 bytes"),
        (f"0\tb'{'bc' * 100_000}'\n", 1, "longer than"),
        ("x" * 1_000_000, 1, "longer than"),
        (f"A: {{'a': '{'x' * MAX_HEADER_LINE}'}}\n", 1, "header line"),
        ("A: {'a': 1}\n" * 2000, 1001, "no readout within"),
    ],
)
def test_what_is_no_text_recording_is_refused_with_the_line(text: str, line_number: int, reason: str) -> None:
    with pytest.raises(TextLogError, match=f"^line {line_number}: ") as refused:
        read(text)
    assert reason in str(refused.value)
    assert refused.value.line_number == line_number
    assert len(str(refused.value).splitlines()) == 1


@pytest.mark.parametrize(
    "value",
    [
        "__import__('os').system('touch {marker}')",
        "open('{marker}', 'w')",
        "exec('import pathlib; pathlib.Path(\"{marker}\").touch()')",
        "(lambda: open('{marker}', 'w'))()",
        "[open('{marker}', 'w') for each in (1,)]",
        'f\'{{open("{marker}", "w")}}\'',
        "__builtins__",
        "().__class__.__bases__",
        "9 ** 9 ** 9",
        "'a' * 1000000000",
    ],
)
@pytest.mark.parametrize("line", ["A: {{'a': {value}}}\n", " Namespace(a={value})\n", "A: {{{value}: 1}}\n"])
def test_nothing_is_evaluated(tmp_path: Path, value: str, line: str) -> None:
    marker = tmp_path / "evaluated"
    with pytest.raises(TextLogError, match="line 1"):
        read(line.format(value=value.format(marker=marker)) + "0\tb'bc'\n")
    assert not marker.exists()


def test_the_name_called_must_not_matter(tmp_path: Path) -> None:
    marker = tmp_path / "evaluated"
    with pytest.raises(TextLogError, match="neither"):
        read(f" open(file='{marker}', mode='w')\n")
    assert not marker.exists()


@pytest.mark.parametrize(
    "value",
    [
        "[" * 30_000 + "]" * 30_000,
        "[" * 100 + "]" * 100,
        "(" * 60_000,
        "{'a':" * 10_000 + "1" + "}" * 10_000,
        "-" * 60_000 + "1",
        "+".join(["1"] * 30_000),
        "not " * 15_000 + "1",
        "~" * 3_000 + "1",
        "a" + "()" * 20_000,
        "lambda:" * 9_000 + "1",
        "0x" + "f" * 60_000,
        "9" * 60_000,
    ],
)
@pytest.mark.parametrize("line", ["A: {{'a': {value}}}\n", "Namespace(a={value})\n"])
def test_giants_are_a_clean_error(value: str, line: str) -> None:
    with pytest.raises(TextLogError, match="line 1") as refused:
        read(line.format(value=value))
    assert len(str(refused.value)) < 300


def test_bytes_that_are_no_text() -> None:
    stream = io.TextIOWrapper(io.BytesIO(b"\xff\xfe\x00bin"), encoding="utf-8")
    with pytest.raises(TextLogError, match="line 1: bytes that are not text"):
        TextLog(stream)


def test_invalid_escapes_make_no_noise() -> None:
    assert read("A: {'path': 'E:\\data'}\n0\tb''\n")[0].header == {"A": {"path": "E:\\data"}}


class EndlessLog(io.TextIOBase):
    """A recording without end, which counts the lines taken from it."""

    def __init__(self) -> None:
        self.lines_read = 0
        self._lines = self._write()

    def _write(self) -> Iterator[str]:
        yield "A: {'a': 1}\n"
        number = 0
        while True:
            yield f"{number}\tb'bcbc'\n"
            number += 1

    def readline(self, size: int = -1, /) -> str:
        self.lines_read += 1
        return next(self._lines)


def test_rows_are_read_as_they_are_asked_for() -> None:
    stream = EndlessLog()
    rows = iter(TextLog(stream))
    for number in range(1000):
        assert next(rows).readout_id == number
    assert stream.lines_read <= 1002


@given(st.text())
def test_any_text_gives_readouts_or_a_text_log_error(text: str) -> None:
    with suppress(TextLogError):
        read(text)


@given(
    st.lists(
        st.sampled_from(
            ["A: {'a': 1}", " Namespace(a=1)", "0\tb'bc'", "1\tb'b", "{", "(", "'", "\\", ":", "\t", "\r", "é"]
        )
    ).map("\n".join)
)
def test_pieces_of_recordings_in_any_order_too(text: str) -> None:
    try:
        log, rows = read(text)
    except TextLogError:
        return
    json.dumps(log.header)
    assert all(0 <= row.readout_id <= 0xFFFF_FFFF for row in rows)


def test_the_real_recording(recordings: Path) -> None:
    with lzma.open(recordings / "threshold_40mV_20250722-094253.log.xz", "rt", encoding="utf-8") as stream:
        log = TextLog(stream)
        rows = list(log)
    assert [row.readout_id for row in rows] == list(range(258))
    assert {len(row.data) for row in rows} == {2048}
    assert not any(row.half_byte or row.cut for row in rows)
    assert list(log.header) == ["Voltagecard", "Digital", "Biasblock", "iDAC", "vDAC", "Receiver", "options"]
    options = log.header["options"]
    assert isinstance(options, dict)
    assert options["outdir"] == "E:/data/VPDAC_Testing_With_Grant/scan3/VPDAC_10/TuneDAC_0/Col_9"
