"""What daemon and publisher tell each other: one line each, and garbage is nothing."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from daqd.children.notices import Notice, Report, decode_notice, decode_report, encode_line
from protocol.ledger import Ledger
from protocol.wire.messages import Board, LogLine, PublisherStat, Stat

BOARD = Board(counters={"polls": 3, "name": "x", "t": 1.5})
STAT = Stat(state="running", run=7, pass_=2, reason="é\n\u2028", board=BOARD)
NOTICES = [Notice(), Notice(stat=STAT), Notice(log=LogLine(level="error", text="two\nlines, 20 °C\r\n"))]
REPORTS = [
    Report(),
    Report(kind="ready", endpoint="tcp://127.0.0.1:5556"),
    Report(
        kind="run_ended",
        run=7,
        ledger=Ledger(bytes_read=5, idle=5).to_dict(),
        hits_hz=1.25,
        stat=PublisherStat(messages=1, restarts=2),
    ),
]


@pytest.mark.parametrize("notice", NOTICES)
def test_notices_there_and_back(notice: Notice) -> None:
    line = encode_line(notice)
    assert line.count(b"\n") == 1
    assert line.endswith(b"\n")
    assert decode_notice(line) == notice


@pytest.mark.parametrize("report", REPORTS)
def test_reports_there_and_back(report: Report) -> None:
    line = encode_line(report)
    assert line.count(b"\n") == 1
    assert line.endswith(b"\n")
    assert decode_report(line) == report


def test_a_wake_up_is_an_empty_line() -> None:
    assert encode_line(Notice()) == b"\n"
    assert decode_notice(b"") == decode_notice(b"{}") == Notice()
    assert decode_report(b"") is None


@given(st.text())
def test_any_text_is_one_line(text: str) -> None:
    notice = Notice(log=LogLine(level="info", text=text))
    assert encode_line(notice).count(b"\n") == 1
    assert decode_notice(encode_line(notice)) == notice


@pytest.mark.parametrize(
    "line",
    [b" ", b"nonsense", b"[]", b"null", b"5", b"\xff\xfe", b"{", b'{"stop": 1}', b'{"kind": "x"}', b'{"stat": 5}',
     b'{"log": {"level": "loud", "text": ""}}', b"[" * 100_000],
)  # fmt: skip
def test_garbage_is_nothing(line: bytes) -> None:
    assert decode_notice(line) is None
    assert decode_report(line) is None


@given(st.binary(max_size=200))
def test_any_bytes_are_taken(line: bytes) -> None:
    for decoded in (decode_notice(line), decode_report(line)):
        assert decoded is None or decoded in (Notice(), Report())
