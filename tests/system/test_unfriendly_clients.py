"""Clients that never read, say nothing, or say nonsense: nobody else notices."""

import socket
from collections.abc import Iterator

import numpy as np
import pytest
import zmq

from protocol.messages import MAX_CONTROL_BYTES, decode_reply
from tests.system.laboratory import Laboratory, Settings
from tests.system.processes import DEADLINE_S, wait_until

HIGH_WATER = 300
"""Messages, 200 of them in a second: so long can everybody but the one who never reads be late without a loss."""


@pytest.fixture
def context() -> Iterator[zmq.Context[zmq.Socket[bytes]]]:
    with zmq.Context() as context:
        yield context


def never_reading(context: "zmq.Context[zmq.Socket[bytes]]", endpoint: str) -> "zmq.Socket[bytes]":
    """A subscriber to everything, with small buffers, from which nobody takes anything."""
    client = context.socket(zmq.SUB)
    client.setsockopt(zmq.LINGER, 0)
    client.setsockopt(zmq.RCVHWM, 1)
    client.setsockopt(zmq.RCVBUF, 4096)
    client.setsockopt(zmq.SUBSCRIBE, b"")
    client.connect(endpoint)
    return client


def raw_connection(endpoint: str) -> socket.socket:
    host, port = endpoint.removeprefix("tcp://").split(":")
    return socket.create_connection((host, int(port)))


def test_stream_clients(laboratory: Laboratory, context: "zmq.Context[zmq.Socket[bytes]]") -> None:
    settings: Settings = {"emulator": {"rate_hz": 100_000.0}, "stream": {"high_water": HIGH_WATER}}
    daemon = laboratory.configure(settings).start()
    good = daemon.subscribe(high_water=0)
    stalled = never_reading(context, daemon.endpoint)
    with raw_connection(daemon.endpoint), raw_connection(daemon.endpoint) as garbage, stalled:
        garbage.sendall(bytes(range(256)) * 16)
        good.wait_until_heard(2)
        daemon.call("start")
        wait_until("the one who does not read misses messages", lambda: daemon.status().publisher.dropped)
        good.wait_for_hits(len(good.hits(run=1)) + 50_000)
        daemon.call("stop")
        good.wait_for_end(run=1)
        status = daemon.status()
        assert daemon.end() == 0

    run = daemon.run(1)
    record = run.check_closed()
    assert record.state == "finished"
    assert record.counts.board_bytes == status.board.counters["read_bytes"]
    run.check_ledger()
    np.testing.assert_array_equal(good.hits(run=1), run.hits)
    counters = good.close()
    assert (counters.missed_messages, counters.missed_readouts, counters.malformed) == ({}, 0, 0)


NONSENSE = [[b""], [b"\0" * 100], [b"hello"], [bytes(range(256))], [b"\xc1"], [b"\x81\xa1v\x01"], [b"", b"", b"x"]]


def test_control_clients(laboratory: Laboratory, context: "zmq.Context[zmq.Socket[bytes]]") -> None:
    daemon = laboratory.configure().start("--autostart")
    with (
        context.socket(zmq.DEALER) as client,
        socket.socket(socket.AF_UNIX) as silent,
        socket.socket(socket.AF_UNIX) as garbage,
    ):
        client.setsockopt(zmq.LINGER, 0)
        client.connect(daemon.config.control_endpoint)
        silent.connect(str(daemon.control_socket))
        garbage.connect(str(daemon.control_socket))
        garbage.sendall(b"\xff" * 5000)
        for frames in NONSENSE:
            client.send_multipart(frames)
            assert client.poll(int(DEADLINE_S * 1000)), f"no answer to {frames!r}"
            reply = decode_reply(client.recv_multipart()[-1])
            assert reply.error is not None
            assert reply.error.code == "bad_request"
        client.send(bytes(MAX_CONTROL_BYTES + 1))  # the connection is cut for that
        before = daemon.wait_for_status("the run has begun", state="running")
        daemon.wait_for_readouts(before.counts["readouts"] + 10)
        assert daemon.ctl("shutdown").code == 0
        assert daemon.program.wait() == 0
    assert daemon.run(1).check_closed().state == "finished"
