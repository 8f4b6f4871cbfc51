"""Wire messages: golden bytes made by hand, there and back, and any nonsense."""

import contextlib
from collections.abc import Callable
from typing import Any

import msgpack
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from protocol import HIT_DTYPE, AstroPix4Readout, Ledger, MessageError, StreamDecoder
from protocol.run_record import RunRecord
from protocol.wire.alarms import Alarm, Alarms
from protocol.wire.messages import (
    MAX_CONTROL_BYTES,
    Header,
    LogLine,
    Message,
    Reply,
    ReplyError,
    Request,
    RunEvent,
    Stat,
    Topic,
    decode_message,
    decode_reply,
    decode_request,
    encode_body,
    encode_frames,
    encode_message,
    encode_reply,
    encode_request,
)
from protocol.wire.packing import HIT_DESCRIPTION, MAX_COLUMNS
from tests.protocol.golden import A, B

Frames = list[bytes]

RECORD = RunRecord(
    daq="bench", run=3, state="running", begin_ns=1, software={"astropix-daq": "0"}, readout_uid=4000, configuration={}
)
STAT = Stat(state="running", run=3, chips=1, counts={"readouts": 2}, ledger=Ledger().to_dict())
ALARM = Alarm(id="silence", check="silence", level="ok", worst="warning", text="x", since_ns=1, last_ns=2, latched=True)
BODIES: dict[Topic, Stat | RunEvent | LogLine | Alarms] = {
    Topic.STAT: STAT,
    Topic.RUN: RunEvent(event="begin", record=RECORD),
    Topic.LOG: LogLine(level="warning", text="disk nearly full"),
    Topic.ALARM: Alarms(alarms=(ALARM,)),
}
HITS = StreamDecoder(1).decode([AstroPix4Readout(A + B, 7, 42)])


def header(**more: Any) -> Header:
    return Header.model_validate({"daq": "bench", "pub": 5, "seq": 0, "t": 6, "run": 3} | more)


def hits_header(**more: Any) -> Header:
    return header(**{"n": 2, "readouts": (7, 7), "dtype": HIT_DESCRIPTION} | more)


def hits_message(**more: Any) -> Message:
    return Message(topic=Topic.HITS, header=hits_header(**more), payload=HITS.tobytes())


# ---- golden bytes, made by hand after docs/wire.md


def text(value: str) -> bytes:
    """msgpack: a string below 32 bytes."""
    return bytes([0xA0 | len(value)]) + value.encode()


LOG_FRAMES: Frames = [
    b"log",
    # a map of 7 keys; integers in their shortest form
    b"\x87"
    + (text("v") + b"\x01")
    + (text("daq") + text("bench"))
    + (text("pub") + b"\xcf" + bytes.fromhex("1854d7e8e1a3f000"))
    + (text("seq") + b"\xcd\x01\x00")
    + (text("t") + b"\xcf" + bytes.fromhex("1854d7e8e1a3f001"))
    + (text("pass") + b"\x00")
    + (text("run") + b"\xc0"),
    b"\x82" + text("level") + text("info") + text("text") + text("ready"),
]


def test_golden_log_message_both_ways() -> None:
    message = decode_message(LOG_FRAMES)
    assert message.topic is Topic.LOG
    assert message.header == Header(daq="bench", pub=0x1854D7E8E1A3F000, seq=256, t=0x1854D7E8E1A3F001, run=None)
    assert message.log() == LogLine(level="info", text="ready")
    assert encode_message(message) == LOG_FRAMES


def test_golden_hits_message_both_ways() -> None:
    dtype = b"".join(b"\x92" + text(name) + text(kind) for name, kind in HIT_DESCRIPTION)
    frames = [
        b"hits",
        b"\x8a"
        + (text("v") + b"\x01" + text("daq") + text("bench") + text("pub") + b"\x05" + text("seq") + b"\x00")
        + (text("t") + b"\x06" + text("run") + b"\x03" + text("pass") + b"\x02" + text("n") + b"\x02")
        + (text("readouts") + b"\x92\x07\x07" + text("dtype") + b"\xdc\x00\x12" + dtype),
        HITS.tobytes(),
    ]
    message = decode_message(frames)
    assert message == hits_message(**{"pass": 2})
    assert message.hits().tolist() == HITS.tolist()
    assert encode_message(message) == frames


def test_golden_row_of_a_hit() -> None:
    """One record of the payload, by hand: 44 bytes, little endian, nothing between the columns."""
    row = "00 07 07000000 2a00000000000000 0000 01 09 00 8005 06 00 00 eb04 04 00 fb370000 683a0000 cdcccccccc0c3f40"
    assert HITS[:1].tobytes() == bytes.fromhex(row)


def test_golden_request_and_reply() -> None:
    request = b"\x84" + (
        text("v") + b"\x01" + text("id") + text("7") + text("cmd") + text("stop") + text("args") + b"\x80"
    )
    assert decode_request(request) == Request(id="7", cmd="stop")
    assert encode_request(Request(id="7", cmd="stop")) == request
    reply = b"\x84" + text("v") + b"\x01" + text("id") + text("7") + text("ok") + b"\xc3" + text("result") + b"\x80"
    assert decode_reply(reply) == Reply(id="7", ok=True, result={})
    assert encode_reply(Reply(id="7", ok=True, result={})) == reply


# ---- there and back


WHOLE = st.integers(0, 2**64 - 1)


@given(
    st.sampled_from([*Topic]),
    st.binary(),
    st.fixed_dictionaries(
        {"daq": st.text(), "pub": WHOLE, "seq": WHOLE, "t": WHOLE},
        optional={
            "run": st.none() | WHOLE,
            "pass_": WHOLE,
            "n": WHOLE,
            "readouts": st.tuples(WHOLE, WHOLE),
            "dtype": st.just(HIT_DESCRIPTION) | st.lists(st.tuples(st.text(), st.text())).map(tuple),
        },
    ),
)
def test_frames_without_a_model_are_those_with_one(topic: Topic, payload: bytes, words: dict[str, Any]) -> None:
    """What the publisher sends is, byte for byte, what the model of the header says."""
    header = Header(**words)
    described = header.model_dump(mode="json", by_alias=True, exclude_none=True)
    described["run"] = header.run
    frames = encode_frames(topic, payload, **words)
    assert frames == [topic.value.encode(), msgpack.packb(described), payload]
    assert decode_message(frames) == Message(topic=topic, header=header, payload=payload)


@pytest.mark.parametrize("topic", BODIES)
def test_bodies_there_and_back(topic: Topic) -> None:
    body = BODIES[topic]
    message = decode_message(encode_message(Message(topic=topic, header=header(), payload=encode_body(body))))
    readers: dict[Topic, Callable[[], object]] = {
        Topic.STAT: message.stat,
        Topic.RUN: message.run,
        Topic.LOG: message.log,
        Topic.ALARM: message.alarms,
    }
    assert readers.pop(topic)() == body
    for other in (*readers.values(), message.hits):
        with pytest.raises(MessageError):
            other()


def test_the_pass_is_called_pass_on_the_wire() -> None:
    frames = encode_message(Message(topic=Topic.STAT, header=header(**{"pass": 4}), payload=encode_body(STAT)))
    assert msgpack.unpackb(frames[1])["pass"] == 4
    assert "pass" in msgpack.unpackb(frames[2])
    assert decode_message(frames).header.pass_ == 4
    assert header(pass_=4) == header(**{"pass": 4})


def test_keys_of_later_versions_are_let_pass() -> None:
    frames = [*LOG_FRAMES]
    frames[1] = msgpack.packb(msgpack.unpackb(frames[1]) | {"weather": "fine"})
    assert decode_message(frames) == decode_message(LOG_FRAMES)


def test_so_are_keys_of_a_later_run_record() -> None:
    body = msgpack.unpackb(encode_body(BODIES[Topic.RUN]))
    body["record"] |= {"weather": "fine", "counts": body["record"]["counts"] | {"spoons": 1}}
    event = decode_message(encode_message(Message(topic=Topic.RUN, header=header(), payload=msgpack.packb(body)))).run()
    assert (event.event, event.record.run, event.record.counts.readouts) == ("begin", 3, 0)


def test_no_hits_is_a_message_too() -> None:
    message = Message(topic=Topic.HITS, header=hits_header(n=0), payload=b"")
    hits = decode_message(encode_message(message)).hits()
    assert (len(hits), hits.dtype) == (0, HIT_DTYPE)


def test_other_columns_are_read_as_they_are_described() -> None:
    dtype = np.dtype([("chip_id", "|u1"), ("energy_kev", "<f4"), ("good", "|b1"), ("delta", "<i8")])
    table = np.array([(1, 5.9, True, -4), (2, 22.1, False, 9)], dtype)
    described = tuple((name, dtype[name].str) for name in dtype.names or ())
    message = Message(topic=Topic.HITS, header=hits_header(dtype=described), payload=table.tobytes())
    again = decode_message(encode_message(message)).hits()
    assert (again.dtype, again.tolist()) == (dtype, table.tolist())


def test_hits_are_not_copied_and_cannot_be_changed() -> None:
    hits = hits_message().hits()
    with pytest.raises(ValueError, match="read-only"):
        hits["row"] = 0


@given(st.text(), st.text(), st.dictionaries(st.text(), st.none() | st.integers(0, 2**63) | st.text() | st.booleans()))
def test_requests_and_replies_there_and_back(name: str, cmd: str, content: dict[str, Any]) -> None:
    request = Request(id=name, cmd=cmd, args=content)
    assert decode_request(encode_request(request)) == request
    for reply in (Reply(id=name, ok=True, result=content), Reply.refuse(name, cmd, "no")):
        assert decode_reply(encode_reply(reply)) == reply
    assert Reply.refuse(name, cmd, "no").error == ReplyError(code=cmd, message="no")


# ---- nonsense


@pytest.mark.parametrize(
    ("frames", "reason"),
    [
        ([], "three frames, this has 0"),
        (LOG_FRAMES[:2], "three frames, this has 2"),
        ([*LOG_FRAMES, b""], "three frames, this has 4"),
        ([b"spoons", *LOG_FRAMES[1:]], "unknown topic"),
        ([b"\xff\xfe", *LOG_FRAMES[1:]], "unknown topic"),
        ([b"log", b"", b""], "not msgpack"),
        ([b"log", b"\xc1", b""], "not msgpack"),
        ([b"log", b"\x91" * 5000, b""], "not msgpack"),
        ([b"log", b"\x90", b""], "not a header"),
        ([b"log", b"\x81\x01\x02", b""], "not msgpack"),
        ([b"log", LOG_FRAMES[1] + b"\x00", b""], "not msgpack"),
    ],
)
def test_what_is_no_message(frames: Frames, reason: str) -> None:
    with pytest.raises(MessageError, match=reason):
        decode_message(frames)


@pytest.mark.parametrize(
    "change",
    [
        {"v": 2},
        {"v": None},
        {"daq": 5},
        {"pub": -1},
        {"seq": "x"},
        {"seq": None},
        {"t": 1.5},
        {"run": -3},
        {"pass": -1},
        {"n": -1},
        {"readouts": [1]},
        {"dtype": "<u4"},
        {"dtype": [["a"]]},
        {"dtype": [["a", "<u4", [3]]]},
        {"daq": msgpack.Timestamp(1, 2)},
        {"daq": msgpack.ExtType(5, b"x")},
    ],
)
def test_impossible_headers(change: dict[str, Any]) -> None:
    content = msgpack.unpackb(encode_message(hits_message())[1]) | change
    with pytest.raises(MessageError, match=r"not a header: "):
        decode_message([b"hits", msgpack.packb(content), HITS.tobytes()])


UNSAFE = [
    "O",
    "|O",
    "|O8",
    "<O8",
    "<i8,O",
    "O,<i8",
    "|V8",
    "<U4",
    "|S4",
    "<M8[ns]",
    "<m8[ns]",
    ">u4",
    "u4",
    "<u3",
    "<c8",
]
UNSAFE += ["<u4,<u4", "(2,)<u4", "<u0", "", "int", "object", "<f16", "|u2", "<u4 ", "{'names':['a'],'formats':['O']}"]


@pytest.mark.parametrize("kind", UNSAFE)
def test_unsafe_columns_are_refused(kind: str) -> None:
    message = decode_message(encode_message(hits_message(dtype=(("a", kind),))))
    with pytest.raises(MessageError, match="named plain little-endian numbers"):
        message.hits()


@pytest.mark.parametrize(
    ("more", "reason"),
    [
        ({"n": 3}, "announces 3 hits and carries 2"),
        ({"n": None}, "not a hits message"),
        ({"readouts": None}, "not a hits message"),
        ({"dtype": None}, "not a hits message"),
        ({"dtype": ()}, "named plain"),
        ({"dtype": (("", "<u4"),)}, "named plain"),
        ({"dtype": (("a", "<u8"), ("a", "<u8"))}, "cannot be read"),
        ({"dtype": (("a", "<u4"), ("b", "|u1"))}, "cannot be read"),
        ({"dtype": tuple((f"c{number}", "|u1") for number in range(MAX_COLUMNS + 1))}, "named plain"),
    ],
)
def test_hits_that_do_not_fit_their_header(more: dict[str, Any], reason: str) -> None:
    with pytest.raises(MessageError, match=reason):
        hits_message(**more).hits()


def test_a_request_may_not_be_long() -> None:
    frame = encode_request(Request(id="1", cmd="start", args={"comment": "x" * MAX_CONTROL_BYTES}))
    with pytest.raises(MessageError, match="at most"):
        decode_request(frame)


def test_errors_quote_nobody_into_the_log() -> None:
    content = {"state": "idle", "counts": {f"\x1b[31m\n{number}": "x" for number in range(100)}}
    message = Message(topic=Topic.STAT, header=header(), payload=msgpack.packb(content))
    with pytest.raises(MessageError) as caught:
        message.stat()
    assert str(caught.value).isprintable()
    assert len(str(caught.value)) < 4000


KEYS = st.sampled_from([*Header.model_fields, *Stat.model_fields, *RunEvent.model_fields, "pass", "level", "text"])
PACKABLE = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(2**63), 2**64 - 1)
    | st.floats()
    | st.text(max_size=5)
    | st.binary(max_size=5)
    | st.builds(msgpack.ExtType, st.integers(0, 127), st.binary(max_size=5)),
    lambda inner: (
        st.lists(inner, max_size=3) | st.dictionaries(KEYS | st.text() | st.binary(max_size=2), inner, max_size=5)
    ),
    max_leaves=12,
)
NONSENSE = st.binary(max_size=60) | PACKABLE.map(msgpack.packb)


@given(NONSENSE)
def test_any_frame_is_a_request_or_reply_or_a_message_error(frame: bytes) -> None:
    for decode in (decode_request, decode_reply):
        with contextlib.suppress(MessageError):
            decode(frame)


@given(
    st.lists(NONSENSE, max_size=4)
    | st.tuples(st.sampled_from([*Topic]), NONSENSE, NONSENSE).map(lambda frames: [frames[0].encode(), *frames[1:]])
)
def test_any_frames_are_a_message_or_a_message_error(frames: Frames) -> None:
    with contextlib.suppress(MessageError):
        decode_message(frames)


CHANGES = st.dictionaries(
    KEYS, PACKABLE | st.lists(st.tuples(st.text(max_size=3), st.sampled_from(UNSAFE))), max_size=3
)


@given(st.sampled_from([*Topic]), CHANGES, CHANGES, st.binary(max_size=60))
def test_nonsense_in_a_good_frame_is_a_message_error(
    topic: Topic, in_header: dict[str, Any], in_body: dict[str, Any], payload: bytes
) -> None:
    head = msgpack.packb(hits_header().model_dump(by_alias=True) | in_header)
    body = msgpack.packb(BODIES.get(topic, STAT).model_dump(by_alias=True) | in_body)
    for content in (body, payload):
        with contextlib.suppress(MessageError):
            message = decode_message([topic.value.encode(), head, content])
            for read in (message.hits, message.stat, message.run, message.log, message.alarms):
                with contextlib.suppress(MessageError):
                    read()
