"""Frames and lines from strangers: what is published, requests and replies, notices, checkpoints."""

import json
from contextlib import suppress
from typing import Any

import msgpack
import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from daqd.children.messages import PublishLog, PublishStat, RunDecoded, decode_from_child, decode_to_child, encode_line
from daqd.control_commands import COMMANDS
from daqd.errors import RunControlError
from daqd.publishing.checkpoint import Checkpoint
from monitor.sanity.check import Limits
from monitor.sanity.live import LiveChecks
from monitor.state.detector_state import DetectorState
from protocol import HIT_DTYPE, AstroPix4Readout, Ledger
from protocol.errors import MessageError
from protocol.layer_readout import AstroPix4LayerReadout
from protocol.readout import uid_to_readout_class
from protocol.run_record import RunRecord
from protocol.wire.alarms import Alarm, Alarms
from protocol.wire.messages import (
    Header,
    LogLine,
    Message,
    Reply,
    Request,
    RunEvent,
    Stat,
    Topic,
    decode_message,
    decode_reply,
    decode_request,
    encode_body,
    encode_message,
    encode_reply,
    encode_request,
)
from protocol.wire.packing import describe
from tests.fuzz.damage import damaged, damaged_tree, fuzzed
from tests.monitor.publishing import StreamReader

_RECORD = RunRecord(
    daq="bench", run=7, state="running", begin_ns=1, software={"name": "x"}, readout_uid=4000, configuration={}
)
_ALARM = Alarm(id="silence", check="silence", level="warning", worst="critical", text="x", since_ns=1, last_ns=2)
_BODIES: dict[Topic, bytes] = {
    Topic.STAT: encode_body(Stat(state="running", run=7, ledger=Ledger().to_dict())),
    Topic.RUN: encode_body(RunEvent(event="begin", record=_RECORD)),
    Topic.LOG: encode_body(LogLine(level="info", text="hello")),
    Topic.ALARM: encode_body(Alarms(alarms=(_ALARM,))),
    Topic.HITS: np.zeros(3, HIT_DTYPE).tobytes(),
    Topic.RAW: AstroPix4Readout(b"\xbc", 5, 9).to_bytes(),
}
_HEADER = Header(daq="bench", pub=1, seq=0, t=2, run=7, n=3, readouts=(0, 4), dtype=describe(HIT_DTYPE))
_MESSAGES = [encode_message(Message(topic=topic, header=_HEADER, payload=body)) for topic, body in _BODIES.items()]
_REQUEST = Request(id="1", cmd="start", args={"run": 3, "comment": "x", "chip": {"threshold_mv": 40.0}})
_REPLIES = [Reply(id="1", ok=True, result={"state": "idle"}), Reply.refuse("1", "running", "no")]


def _packed(tree: Any) -> bytes:
    try:
        return bytes(msgpack.packb(tree))
    except (ValueError, OverflowError):
        return b"\xc1"


def _tree(frame: bytes) -> Any:
    return msgpack.unpackb(frame)


@st.composite
def _frames(draw: st.DrawFn) -> list[bytes]:
    topic, header, payload = draw(st.sampled_from(_MESSAGES))
    if draw(st.booleans()):
        header = _packed(draw(damaged_tree([_tree(header)])))
    if topic in (b"stat", b"run", b"log") and draw(st.booleans()):
        payload = _packed(draw(damaged_tree([_tree(payload)])))
    frames = [topic, header, payload]
    if draw(st.integers(0, 3)) == 0:
        at = draw(st.integers(0, 2))
        frames[at] = draw(damaged([frames[at]]))
    return frames


@fuzzed
@given(_frames())
def test_published_message(frames: list[bytes]) -> None:
    with suppress(MessageError):
        message = decode_message(frames)
        for read in (message.hits, message.stat, message.run, message.log):
            with suppress(MessageError):
                read()


@fuzzed
@given(st.lists(_frames(), max_size=12))
def test_what_a_monitor_makes_of_them(stream: list[list[bytes]]) -> None:
    reader, state, checks = StreamReader(), DetectorState(), LiveChecks(Limits(), 0.0)
    good = 0
    for frames in [*_MESSAGES, *stream, *_MESSAGES]:
        event = reader.read(frames)
        good += event is not None
        if event is not None:
            state.feed(event)
            assert all(notice for _, notice in checks.feed(event, float(good)))
    counters = reader.counters
    assert sum(counters.messages.values()) == good
    assert counters.malformed == len(stream) + 2 * len(_MESSAGES) - good
    assert state.snapshot(counters).model_dump_json()
    assert all(notice for _, notice in checks.settle(float(good)))


@fuzzed
@given(damaged([encode_request(_REQUEST)]) | damaged_tree([_tree(encode_request(_REQUEST))]).map(_packed))
def test_control_request(frame: bytes) -> None:
    try:
        request = decode_request(frame)
    except MessageError as error:
        assert "\n" not in str(error)
        return
    with suppress(RunControlError):
        COMMANDS["start"].parse(request.args)


@fuzzed
@given(
    damaged([encode_reply(reply) for reply in _REPLIES])
    | damaged_tree([_tree(encode_reply(reply)) for reply in _REPLIES]).map(_packed)
)
def test_control_reply(frame: bytes) -> None:
    with suppress(MessageError):
        decode_reply(frame)


def _as_json(tree: Any) -> bytes:
    return json.dumps(tree).encode()


_LINES = [
    encode_line(PublishStat(stat=Stat(state="running"))),
    encode_line(PublishLog(line=LogLine(level="info", text="x"))),
    encode_line(RunDecoded(run=7, ledger=Ledger().to_dict())),
]


@fuzzed
@given(damaged(_LINES) | damaged_tree([json.loads(line) for line in _LINES]).map(_as_json))
def test_lines_between_daemon_and_publisher(line: bytes) -> None:
    decode_to_child(line)
    decode_from_child(line)


_CHECKPOINTS = [
    Checkpoint(7, None, each.uid(), each.make_decoder().state(), 5, 1).to_json()
    for each in (AstroPix4Readout, AstroPix4LayerReadout)
]


@fuzzed
@given(
    damaged([text.encode() for text in _CHECKPOINTS]).map(lambda data: data.decode(errors="replace"))
    | damaged_tree([json.loads(text) | {"position": [7, 0, 100]} for text in _CHECKPOINTS]).map(json.dumps)
)
def test_checkpoint(text: str) -> None:
    with suppress(ValueError):
        checkpoint = Checkpoint.from_json(text)
        if checkpoint.decoder is not None:
            uid_to_readout_class(checkpoint.readout_uid).restore_decoder(checkpoint.decoder)
