"""Where the past is asked for, as a client sees it."""

import threading
from collections.abc import Iterator

import pytest
import zmq

from monitor.client import StreamClient
from monitor.errors import HistoryError
from monitor.receiving.history import run_hits, runs_on_disk
from monitor.receiving.history_link import HistoryLink, catch_up_endpoint
from protocol.wire.catch_up import HitsArgs, Refusal, RunOnDisk, RunsOnDisk, encode_refusal, encode_runs_reply
from protocol.wire.messages import decode_request
from tests.deadline import DEADLINE_S


@pytest.mark.parametrize(
    ("stream", "announced", "endpoint"),
    [
        ("tcp://127.0.0.1:5556", None, "tcp://127.0.0.1:5557"),
        ("tcp://daq-pc:5556", "tcp://127.0.0.1:6000", "tcp://daq-pc:6000"),
        ("tcp://[::1]:5556", "tcp://0.0.0.0:6000", "tcp://[::1]:6000"),
        ("ipc:///run/stream", "tcp://127.0.0.1:6000", "tcp://127.0.0.1:6000"),
        ("tcp://127.0.0.1:5556", "ipc:///run/past", "ipc:///run/past"),
        ("ipc:///run/stream", "ipc:///run/past", "ipc:///run/past"),
    ],
)
def test_where_to_ask(stream: str, announced: str | None, endpoint: str) -> None:
    assert catch_up_endpoint(stream, announced) == endpoint


def test_a_path_does_not_tell() -> None:
    with pytest.raises(ValueError, match="give catch_up"):
        catch_up_endpoint("ipc:///run/stream", None)


@pytest.fixture
def context() -> Iterator["zmq.Context[zmq.Socket[bytes]]"]:
    context: zmq.Context[zmq.Socket[bytes]] = zmq.Context()
    yield context
    context.destroy(linger=0)


@pytest.fixture
def server(context: "zmq.Context[zmq.Socket[bytes]]") -> "zmq.Socket[bytes]":
    socket = context.socket(zmq.ROUTER)
    socket.setsockopt(zmq.LINGER, 0)
    socket.bind("tcp://127.0.0.1:*")
    return socket


def test_nobody_there_is_no_error_and_nothing_is_kept(context: "zmq.Context[zmq.Socket[bytes]]") -> None:
    link = HistoryLink(context, None)
    assert not link.ask("1", HitsArgs(run=1))
    link.connect("nonsense")
    link.connect("tcp://127.0.0.1:1")
    assert not link.ask("1", HitsArgs(run=1))
    assert link.receive() is None
    link.close()


def test_nonsense_is_no_reply(context: "zmq.Context[zmq.Socket[bytes]]", server: "zmq.Socket[bytes]") -> None:
    link = HistoryLink(context, None)
    link.connect(server.getsockopt_string(zmq.LAST_ENDPOINT))
    assert link.socket.poll(10_000, zmq.POLLOUT)
    assert link.ask("1", HitsArgs(run=1))
    client, frame = server.recv_multipart()
    request = decode_request(frame)
    assert (request.cmd, request.args["run"]) == ("hits", 1)
    for frames in ([b"x"], [b"", b"", b"", b""], encode_refusal("1", "busy", "wait")):
        server.send_multipart([client, *frames])
    assert link.socket.poll(10_000)
    reply = None
    while reply is None:
        reply = link.receive()
    assert reply == Refusal(id="1", code="busy", message="wait")
    link.close()


def test_a_server_that_answers_something_else(server: "zmq.Socket[bytes]") -> None:
    endpoint = server.getsockopt_string(zmq.LAST_ENDPOINT)

    def serve() -> None:
        runs = RunsOnDisk(runs=(RunOnDisk(run=4, daq="b", state="running", begin_ns=1),), more=False)
        for number in range(3):
            client, frame = server.recv_multipart()
            request = decode_request(frame)
            replies = [encode_runs_reply(request.id, runs)]
            if number == 0:
                replies = [encode_runs_reply("another request", runs), encode_refusal(request.id, "busy", "wait")]
            for frames in replies:
                server.send_multipart([client, *frames])

    thread = threading.Thread(target=serve)
    thread.start()
    assert [each.run for each in runs_on_disk(endpoint)] == [4]  # asked twice
    with pytest.raises(HistoryError, match="answers another question"):
        list(run_hits(endpoint, 4))
    thread.join(DEADLINE_S)
    assert not thread.is_alive()


def test_asking_beside_the_stream_needs_an_address() -> None:
    with StreamClient("ipc:///nowhere/stream") as client, pytest.raises(ValueError, match="give catch_up"):
        client.history(1)
    with (
        StreamClient("tcp://127.0.0.1:2", catch_up="tcp://localhost:1") as client,
        pytest.raises(HistoryError, match=r"nobody answers for the past at tcp://localhost:1 within 0\.2 s"),
    ):
        list(client.history(1, timeout_s=0.2))
