"""The messages between the daemon and its children: one line each; garbage is no message."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from daqd.children.messages import (
    FromChild,
    HistoryRequested,
    MoreData,
    PublisherState,
    PublishLog,
    PublishStat,
    Ready,
    RunDecoded,
    ToChild,
    decode_from_child,
    decode_to_child,
    encode_line,
)
from protocol.ledger import Ledger
from protocol.wire.messages import BoardStat, LogLine, PublisherStat, Stat

BOARD = BoardStat(counters={"polls": 3, "name": "x", "t": 1.5})
STAT = Stat(state="running", run=7, pass_=2, reason="é\n\u2028", board=BOARD)
LEDGER = Ledger(bytes_read=5, idle=5).to_dict()
TO_CHILD = [MoreData(), PublishStat(stat=STAT), PublishLog(line=LogLine(level="error", text="two\nlines, 20 °C\r\n"))]
FROM_CHILD = [
    Ready(endpoint="tcp://127.0.0.1:5556"),
    PublisherState(run=None, ledger=LEDGER, hits_hz=1.25, stat=PublisherStat(messages=1, restarts=2)),
    RunDecoded(run=7, ledger=LEDGER),
    HistoryRequested(),
]


@pytest.mark.parametrize("message", TO_CHILD)
def test_to_a_child_and_back(message: ToChild) -> None:
    line = encode_line(message)
    assert line.count(b"\n") == 1
    assert line.endswith(b"\n")
    assert decode_to_child(line) == message
    assert decode_from_child(line) is None


@pytest.mark.parametrize("message", FROM_CHILD)
def test_from_a_child_and_back(message: FromChild) -> None:
    line = encode_line(message)
    assert line.count(b"\n") == 1
    assert line.endswith(b"\n")
    assert decode_from_child(line) == message
    assert decode_to_child(line) is None


def test_more_data_is_an_empty_line() -> None:
    assert encode_line(MoreData()) == b"\n"
    assert decode_to_child(b"") == MoreData()
    assert decode_from_child(b"") is None


@given(st.text())
def test_any_text_is_one_line(text: str) -> None:
    message = PublishLog(line=LogLine(level="info", text=text))
    assert encode_line(message).count(b"\n") == 1
    assert decode_to_child(encode_line(message)) == message


@pytest.mark.parametrize(
    "line",
    [b" ", b"nonsense", b"[]", b"null", b"5", b"\xff\xfe", b"{", b"{}", b'{"stop": 1}', b'{"kind": "x"}',
     b'{"kind": "stat"}', b'{"kind": "stat", "stat": 5}', b'{"kind": "ready", "endpoint": "x", "run": 1}',
     b'{"kind": "log", "line": {"level": "loud", "text": ""}}', b"[" * 100_000],
)  # fmt: skip
def test_garbage_is_no_message(line: bytes) -> None:
    assert decode_to_child(line) is None
    assert decode_from_child(line) is None


@given(st.binary(max_size=200))
def test_any_bytes_are_decoded_without_an_error(line: bytes) -> None:
    assert decode_to_child(line) in (None, MoreData())
    assert decode_from_child(line) is None
