"""Traces: every transfer, in order, whatever way it came."""

import io
import json
from typing import Any

import pytest

from daqd.errors import BoardLost, LinkTimeout
from daqd.transports.link import Link
from daqd.transports.trace import TracingLink
from protocol.registers.gecco import RequestParser


class ScriptedLink(Link):
    """Answers what it was made with, in any pieces; None is silence after what came so far."""

    name = "scripted"

    def __init__(self, answers: bytes = b"", broken: bool = False) -> None:
        self.answers = answers
        self.broken = broken
        self.written = b""

    def open(self) -> None:
        pass

    def write(self, data: bytes) -> None:
        if self.broken:
            raise BoardLost("broken")
        self.written += data

    def read(self, length: int, timeout_s: float, under_way: int = 0) -> bytes:
        data, self.answers = self.answers[:length], self.answers[length:]
        if len(data) < length:
            raise LinkTimeout("silence", data)
        return data

    def close(self) -> None:
        pass


def traced(link: Link) -> tuple[TracingLink, io.StringIO]:
    out = io.StringIO()
    tracing = TracingLink(link, RequestParser, out)
    tracing.open()
    return tracing, out


def lines(out: io.StringIO) -> list[dict[str, Any]]:
    return [json.loads(line) for line in out.getvalue().splitlines()]


def test_a_write_and_a_read() -> None:
    inner = ScriptedLink(b"\x92")
    link, out = traced(inner)
    link.why = "SPI clock"
    link.write(bytes.fromhex("0116000128"))
    link.why = "flags"
    link.write(bytes.fromhex("00150001"))
    assert len(lines(out)) == 1
    assert link.read(1, 1) == b"\x92"
    assert inner.written.hex() == "011600012800150001"
    assert lines(out) == [
        {"op": "write", "register": 0x16, "name": "0x16", "length": 1, "data": "28", "why": "SPI clock"},
        {"op": "read", "register": 0x15, "name": "0x15", "length": 1, "data": "92", "why": "flags"},
    ]
    assert list(lines(out)[0]) == ["op", "register", "name", "length", "data", "why"]
    assert (link.transfers, link.bytes) == (2, 5 + 4 + 1)


def test_requests_and_answers_in_any_pieces_come_in_the_order_of_the_requests() -> None:
    link, out = traced(ScriptedLink(bytes.fromhex("92aabbccdd12")))
    said = bytes.fromhex("00150001 00180004 0116000128 00150001".replace(" ", ""))
    for start in range(0, len(said), 3):
        link.write(said[start : start + 3])
    assert not out.getvalue()
    assert link.read(3, 1).hex() == "92aabb"
    assert [line["data"] for line in lines(out)] == ["92"]
    assert link.read(3, 1).hex() == "ccdd12"
    assert [(line["op"], line["register"], line["data"]) for line in lines(out)] == [
        ("read", 0x15, "92"),
        ("read", 0x18, "aabbccdd"),
        ("write", 0x16, "28"),
        ("read", 0x15, "12"),
    ]


def test_half_an_answer_is_in_the_trace() -> None:
    inner = ScriptedLink(b"\x01\x02")
    link, out = traced(inner)
    link.write(bytes.fromhex("00180004"))
    with pytest.raises(LinkTimeout):
        link.read(4, 1)
    assert lines(out)[0]["data"] == "0102"
    inner.answers = b"\x92"
    link.write(bytes.fromhex("00150001"))
    link.read(1, 1)
    assert [line["data"] for line in lines(out)] == ["0102", "92"]


def test_a_question_that_nobody_answered_is_in_the_trace_at_the_end() -> None:
    link, out = traced(ScriptedLink())
    link.write(bytes.fromhex("00150001 0116000128"))
    link.close()
    assert [(line["op"], line["data"]) for line in lines(out)] == [("read", ""), ("write", "28")]


def test_what_did_not_go_over_the_link_is_not_in_the_trace() -> None:
    link, out = traced(ScriptedLink(broken=True))
    with pytest.raises(BoardLost):
        link.write(bytes.fromhex("0116000128"))
    link.close()
    assert not out.getvalue()


def test_without_a_file_it_only_counts() -> None:
    link = TracingLink(ScriptedLink(), RequestParser, None)
    link.open()
    link.write(bytes.fromhex("0116000128"))
    link.close()
    assert (link.name, link.transfers, link.bytes) == ("scripted", 1, 5)
