"""docs/wire.md says what the code does: its tables and examples are read and run, its client against a real socket."""

import json
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any, get_args

import pytest
import zmq
from pydantic import BaseModel

from daqd.control_commands import COMMANDS
from protocol import HIT_DTYPE, AstroPix4Readout, StreamDecoder
from protocol.run_record import RunRecord
from protocol.wire.alarms import Alarm, AlarmLevel, Alarms
from protocol.wire.catch_up import (
    HitsArgs,
    HitsHeader,
    HitsReply,
    RunOnDisk,
    RunsArgs,
    RunsOnDisk,
    decode_catch_up_reply,
    encode_hits_reply,
)
from protocol.wire.messages import (
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
    encode_message,
    encode_reply,
    encode_request,
)
from protocol.wire.packing import HIT_DESCRIPTION
from tests.deadline import DEADLINE_S
from tests.protocol.golden import A, B

REPOSITORY = Path(__file__).parents[2]
DOCUMENT = (REPOSITORY / "docs" / "wire.md").read_text(encoding="utf-8")


def section(title: str) -> str:
    match = re.search(rf"^#+ {re.escape(title)}\n(.*?)(?=^#+ |\Z)", DOCUMENT, re.MULTILINE | re.DOTALL)
    assert match, f"no section {title}"
    return match[1]


def table(title: str) -> list[list[str]]:
    """The rows below the headings of the one table in a section."""
    lines = [line for line in section(title).splitlines() if line.startswith("|")]
    rows = [re.split(r"(?<!\\)\|", line.strip("|")) for line in lines[2:]]
    return [[code(cell.strip().replace("\\|", "|")) for cell in row] for row in rows]


def code(cell: str) -> str:
    """What is in the cell's code span, where it is one."""
    match = re.fullmatch(r"`([^`]*)`", cell)
    return match[1] if match else cell


def example(name: str) -> str:
    match = re.search(rf"^```\w+ {re.escape(name)}\n(.*?)^```", DOCUMENT, re.MULTILINE | re.DOTALL)
    assert match, f"no example {name}"
    return match[1]


def wire_keys(model: type[BaseModel]) -> list[str]:
    return [field.alias or name for name, field in model.model_fields.items()]


# ---- tables


@pytest.mark.parametrize(
    ("title", "model"),
    [
        ("Header", Header),
        ("stat", Stat),
        ("run", RunEvent),
        ("log", LogLine),
        ("Alarms", Alarm),
    ],
)
def test_keys_of_messages(title: str, model: type[BaseModel]) -> None:
    assert [row[0] for row in table(title)] == wire_keys(model)


def test_keys_of_requests_and_replies() -> None:
    assert [row[0] for row in table("Requests and replies") if row[0] != "key" and not row[0].startswith("-")] == [
        *wire_keys(Request),
        *wire_keys(Reply),
    ]
    assert set(wire_keys(ReplyError)) == {"code", "message"}


@pytest.mark.parametrize(
    ("title", "models"),
    [("Asking for hits", [HitsArgs, HitsHeader]), ("Asking for runs", [RunsArgs, RunOnDisk])],
)
def test_keys_of_catch_up(title: str, models: list[type[BaseModel]]) -> None:
    keys = [row[0] for row in table(title) if row[0] != "key" and not row[0].startswith("-")]
    assert keys == [key for model in models for key in wire_keys(model)]
    assert set(wire_keys(RunsOnDisk)) == {"runs", "more"}


def test_refusals_of_catch_up_are_all_there() -> None:
    source = (REPOSITORY / "daqd" / "catching_up" / "history_server.py").read_text()
    codes = set(re.findall(r'(?:RefusedError\(|_give_up\(waiting, )"(\w+)"', source)) | {"bad_request", "bad_arguments"}
    assert len(codes) > 5
    assert {row[0] for row in table("Refusals")} == codes


def test_keys_within_the_state() -> None:
    rows = {row[0]: row[2] for row in table("stat")}
    for name in ("rates", "queue", "disk", "board", "publisher"):
        model = Stat.model_fields[name].annotation
        assert isinstance(model, type)
        assert issubclass(model, BaseModel)
        assert all(f"`{key}`" in rows[name] for key in model.model_fields)


def test_states_events_and_levels() -> None:
    rows = {row[0]: row[2] for row in table("stat")}
    assert re.findall(r"`(\w+)`", rows["state"]) == [
        *("idle", "configured", "running", "recovering", "error", "stopping", "replay")
    ]
    for state in re.findall(r"`(\w+)`", rows["state"]):
        assert Stat(state=state).state == state
    events = re.findall(r"`(\w+)`", {row[0]: row[2] for row in table("run")}["event"])
    assert events == [*get_args(RunEvent.model_fields["event"].annotation)]
    levels = re.findall(r"`(\w+)`", {row[0]: row[2] for row in table("log")}["level"])
    assert [LogLine(level=level, text="").level for level in levels] == levels


def test_levels_of_alarms() -> None:
    assert re.findall(r"`(\w+)`", {row[0]: row[2] for row in table("Alarms")}["level"]) == [*AlarmLevel]


def test_commands_to_the_checker_and_refusals_are_all_there() -> None:
    names = ("monitor/sanity/alarms/alarm_service.py", "astropix_runtime/sockets/request_server.py")
    source = "".join((REPOSITORY / name).read_text() for name in names)
    rows = [row[0] for row in table("Commands to the checker")]
    at = rows.index("code")
    assert rows[:at] == re.findall(r'^ +"(\w+)": self\._\w+,$', source, re.MULTILINE)
    codes = set(re.findall(r'(?:RefusedError\(|refuse\([\w."]+, )"(\w+)"', source)) - {"internal"}
    assert len(codes) > 3
    assert set(rows[at + 2 :]) == codes


def test_topics() -> None:
    assert re.findall(r"`(\w+)`", section("Frames").split("| 2 |")[0]) == [*Topic]


def test_columns_of_hits() -> None:
    halves = [row[:3] for row in table("hits")] + [row[4:] for row in table("hits")]
    described = [(name, kind, int(offset)) for name, kind, offset in halves]
    fields: dict[str, Any] = dict(HIT_DTYPE.fields or {})
    assert described == [(name, kind, fields[name][1]) for name, kind in HIT_DESCRIPTION]
    assert f"{HIT_DTYPE.itemsize} bytes a row" in section("hits")


def test_commands_and_error_codes_are_all_there() -> None:
    """The daemon's, found in its source: that no reply is left out of the document."""
    names = ("run_control.py", "board_setup.py", "control_commands.py", "../astropix_runtime/sockets/request_server.py")
    source = "".join((REPOSITORY / "daqd" / name).read_text() for name in names)
    codes = set(re.findall(r'(?:RunControlError\(\s*|refuse\([\w."]+, )"(\w+)"', source))
    assert len(codes) > 5
    assert {row[0] for row in table("Errors")} == codes
    rows = {row[0]: row[2] for row in table("Commands")}
    assert [*rows] == [*COMMANDS]
    for name, arguments in rows.items():
        named = re.findall(r"`(\w+)`:", arguments)
        assert named == [*COMMANDS[name].arguments.model_fields]


# ---- examples


def test_the_message_in_bytes_is_what_it_is_said_to_be() -> None:
    frames = [bytes.fromhex(example(f"hits-{part}")) for part in ("topic", "header", "payload")]
    message = decode_message(frames)
    header = json.loads(example("hits-header.json")) | {"dtype": HIT_DESCRIPTION}
    assert message.header == Header.model_validate(header)
    (hit,) = message.hits()
    assert dict(zip(HIT_DTYPE.names or (), hit.item(), strict=True)) == json.loads(example("hits-payload.json"))
    assert message.payload == StreamDecoder(1).decode([AstroPix4Readout(A, 7, int(hit["timestamp"]))]).tobytes()
    assert encode_message(message) == frames


def test_request_and_replies_in_bytes_are_what_they_are_said_to_be() -> None:
    said = [json.loads(text) for text in re.findall(r"`(\{.*\})`", section("A request and its replies in bytes"))]
    request, reply, refusal = (bytes.fromhex(example(name)) for name in ("request", "reply", "refusal"))
    assert decode_request(request) == Request.model_validate(said[0])
    assert decode_reply(reply) == Reply.model_validate(said[1])
    assert decode_reply(refusal) == Reply.model_validate(said[2])
    assert encode_request(Request.model_validate(said[0])) == request
    assert [encode_reply(Reply.model_validate(each)) for each in said[1:]] == [reply, refusal]


def test_catch_up_in_bytes_is_what_it_is_said_to_be() -> None:
    said = [
        json.loads(text) for text in re.findall(r"`(\{.*\})`", section("A request for hits and its reply in bytes"))
    ]
    frames = [bytes.fromhex(example(f"catch-up-{part}")) for part in ("request", "reply", "payload")]
    assert encode_request(Request.model_validate(said[0])) == frames[0]
    reply = decode_catch_up_reply(frames[1:])
    assert isinstance(reply, HitsReply)
    assert reply.id == said[1]["id"]
    assert reply.header == HitsHeader.model_validate(said[1]["result"] | {"dtype": HIT_DESCRIPTION})
    assert reply.hits.tobytes() == bytes.fromhex(example("hits-payload"))
    assert encode_hits_reply(reply.id, reply.header, reply.hits) == frames[1:]


def test_an_alarm_in_bytes_is_what_it_is_said_to_be() -> None:
    frames = [bytes.fromhex(example(f"alarm-{part}")) for part in ("topic", "header", "payload")]
    (said,) = re.findall(r"The header is `(\{.*\})`", section("Alarms"))
    alarms = Alarms.model_validate(json.loads(example("alarm-payload.json")))
    message = Message(topic=Topic.ALARM, header=Header.model_validate(json.loads(said)), payload=encode_body(alarms))
    assert encode_message(message) == frames
    assert decode_message(frames) == message
    assert message.alarms() == alarms


# ---- the client


class NumberedPublisher:
    """A socket that publishes as the daemon does."""

    def __init__(self, context: "zmq.Context[zmq.Socket[bytes]]") -> None:
        self.socket = context.socket(zmq.XPUB)
        self.socket.set(zmq.LINGER, 0)
        self.port = self.socket.bind_to_random_port("tcp://127.0.0.1")
        self.sequence = dict.fromkeys(Topic, 0)

    def send(self, topic: Topic, payload: bytes, *, lost: bool = False, **more: Any) -> None:
        header = Header.model_validate(
            {"daq": "bench", "pub": 1, "seq": self.sequence[topic], "t": 2, "run": 42} | more
        )
        self.sequence[topic] += 1
        if not lost:
            self.socket.send_multipart(encode_message(Message(topic=topic, header=header, payload=payload)))


@pytest.fixture
def publisher() -> Iterator[NumberedPublisher]:
    context: zmq.Context[zmq.Socket[bytes]] = zmq.Context()
    numbered = NumberedPublisher(context)
    yield numbered
    numbered.socket.close()
    context.term()


def test_the_client_of_twenty_lines(publisher: NumberedPublisher, tmp_path: Path) -> None:
    source = example("client.py")
    assert len([line for line in source.splitlines() if line and not line.startswith(("import ", "from "))]) <= 20
    assert set(re.findall(r"^import (\w+)", source, re.MULTILINE)) == {"sys", "msgpack", "numpy", "zmq"}
    script = tmp_path / "client.py"
    script.write_text(source)
    endpoint = f"tcp://127.0.0.1:{publisher.port}"
    record = RunRecord(
        daq="bench", run=42, state="running", begin_ns=1, software={}, readout_uid=4000, configuration={}
    )
    hits = StreamDecoder(1).decode([AstroPix4Readout(A + B, 7, 42)])
    with subprocess.Popen(
        [sys.executable, str(script), endpoint], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    ) as process:
        try:
            for _ in ("hits", "run"):
                assert publisher.socket.poll(round(DEADLINE_S * 1000)), "the client did not subscribe"
                publisher.socket.recv()
            publisher.send(Topic.RUN, encode_body(RunEvent(event="begin", record=record)))
            publisher.send(Topic.STAT, encode_body(Stat(state="running")))
            for lost in (False, True, True, False):
                more = {"n": 2, "readouts": (7, 7), "dtype": HIT_DESCRIPTION}
                publisher.send(Topic.HITS, hits.tobytes(), lost=lost, **more)
            publisher.send(Topic.RUN, encode_body(RunEvent(event="end", record=record)))
            printed, complaints = process.communicate(timeout=DEADLINE_S)
        finally:
            process.kill()
    assert complaints == ""
    assert process.returncode == 0
    assert printed.splitlines() == [
        "run 42: begin, missed 0",
        "run 42: 2 hits, mean 37.23 us, missed 0",
        "run 42: 2 hits, mean 37.23 us, missed 2",
        "run 42: end, missed 0",
    ]
