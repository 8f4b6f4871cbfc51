"""Requests and replies of the catch-up socket: there and back, and whatever the bytes are, only documented errors."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from protocol import HIT_DTYPE
from protocol.errors import MessageError
from protocol.run_record import FileRecord, RunRecord, RunState
from protocol.wire.catch_up import (
    HitsArgs,
    HitsHeader,
    HitsReply,
    Refusal,
    RunOnDisk,
    RunsArgs,
    RunsOnDisk,
    RunsReply,
    catch_up_args,
    decode_catch_up_reply,
    encode_hits_reply,
    encode_refusal,
    encode_runs_reply,
    hits_request,
    runs_request,
)
from protocol.wire.messages import Reply, Request, decode_request, encode_reply, encode_request
from protocol.wire.packing import HIT_DESCRIPTION

HEADER = HitsHeader(
    daq="bench", run=3, begin_ns=7, readouts=(2, 9), more=True, over=False, n=2, dtype=HIT_DESCRIPTION
)  # fmt: skip
HITS = np.zeros(2, HIT_DTYPE)


def test_requests_there_and_back() -> None:
    for args in (HitsArgs(run=3), HitsArgs(run=3, first=5, last=9, max_hits=10, record=True)):
        assert catch_up_args(decode_request(encode_request(hits_request("1", args)))) == args
    for runs in (RunsArgs(), RunsArgs(after=4, number=2)):
        assert catch_up_args(decode_request(encode_request(runs_request("1", runs)))) == runs
    assert catch_up_args(Request(id="1", cmd="stop")) is None


def test_replies_there_and_back() -> None:
    reply = decode_catch_up_reply(encode_hits_reply("1", HEADER, HITS))
    assert isinstance(reply, HitsReply)
    assert (reply.id, reply.header) == ("1", HEADER)
    np.testing.assert_array_equal(reply.hits, HITS)
    runs = RunsOnDisk(runs=(RunOnDisk(run=1, daq="b", state="running", begin_ns=1),), more=False)
    assert decode_catch_up_reply(encode_runs_reply("2", runs)) == RunsReply(id="2", runs=runs)
    assert decode_catch_up_reply(encode_refusal("3", "busy", "no")) == Refusal(id="3", code="busy", message="no")


@pytest.mark.parametrize(("state", "readouts"), [("finished", (0, 9)), ("failed", (0, 9)), ("running", None)])
def test_what_a_record_says_of_its_run(state: RunState, readouts: tuple[int, int] | None) -> None:
    files = tuple(
        FileRecord(
            name=f"{index}", index=index, size_bytes=1, sha256="", readouts=5, begin_ns=1, end_ns=2,
            first_readout=5 * index, last_readout=5 * index + 4,
        )
        for index in range(2)
    )  # fmt: skip
    record = RunRecord(
        daq="b", run=4, state=state, begin_ns=1, software={}, readout_uid=4000, configuration={}, files=files
    )  # fmt: skip
    assert RunOnDisk.of(record).readouts == readouts


@pytest.mark.parametrize(
    ("change", "payload"),
    [
        ({"readouts": [5, 4]}, HITS.tobytes()),
        ({"readouts": [-1, 4]}, HITS.tobytes()),
        ({"readouts": [0, 1 << 32]}, HITS.tobytes()),
        ({"n": 3}, HITS.tobytes()),
        ({"n": -1}, b""),
        ({"dtype": [["a", "O"]]}, HITS.tobytes()),
        ({"dtype": []}, b""),
        ({"more": "perhaps"}, HITS.tobytes()),
        ({}, HITS.tobytes()[:-1]),
    ],
)
def test_replies_that_cannot_be(change: dict[str, object], payload: bytes) -> None:
    result = HEADER.model_dump(mode="json", exclude_none=True) | change
    with pytest.raises(MessageError):
        decode_catch_up_reply([encode_reply(Reply(id="1", ok=True, result=result)), payload])


@pytest.mark.parametrize("frames", [[], [b"", b"", b""], [encode_reply(Reply(id="1", ok=True))]])
def test_frames_that_are_no_reply(frames: list[bytes]) -> None:
    with pytest.raises(MessageError):
        decode_catch_up_reply(frames)


@given(st.lists(st.binary(max_size=60), max_size=3), st.data())
def test_any_frames(frames: list[bytes], data: st.DataObject) -> None:
    good = [*encode_hits_reply("1", HEADER, HITS)]
    place = data.draw(st.integers(0, len(good[0]) - 1))
    damaged = good[0][:place] + bytes([data.draw(st.integers(0, 255))]) + good[0][place + 1 :]
    for candidate in (frames, [damaged, good[1]], [damaged], [good[0], *frames]):
        try:
            reply = decode_catch_up_reply(candidate)
        except MessageError:
            continue
        assert isinstance(reply, HitsReply | RunsReply | Refusal)


@given(st.dictionaries(st.text(max_size=8), st.none() | st.integers() | st.text(max_size=5) | st.booleans()))
def test_any_arguments(args: dict[str, object]) -> None:
    for cmd in ("hits", "runs"):
        try:
            parsed = catch_up_args(Request(id="1", cmd=cmd, args=args))
        except MessageError:
            continue
        assert isinstance(parsed, HitsArgs | RunsArgs)
