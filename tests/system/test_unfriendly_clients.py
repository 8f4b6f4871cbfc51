"""Clients that never read, say nothing, or say nonsense: nobody else notices."""

import contextlib
import hashlib
import os
import socket
import subprocess
import sys
from collections.abc import Callable, Iterator

import numpy as np
import pytest
import zmq

from protocol.wire.messages import MAX_CONTROL_BYTES, decode_reply
from tests.system.crowd import Crowd
from tests.system.laboratory import Daemon, Laboratory, Settings
from tests.system.processes import DEADLINE_S, connections, wait_until
from tests.system.taken_run import TakenRun
from tests.system.zmtp import GREETING, READY, connection, subscribe_and_leave

HIGH_WATER = 200
"""Messages: few enough that the one who never reads is soon full."""

READOUTS = HIGH_WATER // 2
"""Of a run: so few that its messages, with what is said of state and log, find room for who reads, however slowly."""

FAST_AND_SMALL: Settings = {
    "emulator": {"rate_hz": "max"},
    "stream": {"high_water": HIGH_WATER, "max_hits": 300},
}
"""As fast as the board can, with a message for each readout or two."""

THOUSAND = 1000


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


def take_runs(daemon: Daemon, wait_for_end: Callable[[int], object]) -> list[TakenRun]:
    """Runs until the one who does not read has missed messages, and another one beside him; all are taken in.

    Each begins when those who read have got the one before: so nobody of them is ever full, on however busy a machine.
    """
    runs: list[TakenRun] = []
    missing = False
    while not missing:
        missing = daemon.status().publisher.dropped > 0
        daemon.call("start", readouts=READOUTS)
        runs.append(daemon.run(len(runs) + 1))
        wait_for_end(len(runs))
        daemon.wait_for_status("the run is over", state="configured")
        assert len(runs) < 100, "the one who does not read has missed nothing yet"
    assert len(runs) > 1
    return runs


def test_stream_clients(laboratory: Laboratory, context: "zmq.Context[zmq.Socket[bytes]]") -> None:
    """As fast as the board can: who does not read misses messages, who reads has every hit."""
    daemon = laboratory.configure(FAST_AND_SMALL).start()
    good = daemon.subscribe(high_water=0)
    stalled = never_reading(context, daemon.endpoint)
    with connection(daemon.endpoint), connection(daemon.endpoint) as garbage, stalled:
        garbage.sendall(bytes(range(256)) * 16)
        good.wait_until_heard(2)
        runs = take_runs(daemon, good.wait_for_end)
        read_bytes = daemon.status().board.counters["read_bytes"]
        assert daemon.end() == 0

    assert sum(run.record.counts.board_bytes or 0 for run in runs) == read_bytes > 0
    for number, run in enumerate(runs, start=1):
        assert run.check_closed().state == "finished"
        assert run.check_ledger().hits == len(run.hits) > 20 * READOUTS
        np.testing.assert_array_equal(good.hits(run=number), run.hits)
    counters = good.close()
    assert (counters.missed_messages, counters.missed_readouts, counters.malformed) == ({}, 0, 0)


def test_twenty_subscribers_one_of_them_stalled(
    laboratory: Laboratory, context: "zmq.Context[zmq.Socket[bytes]]"
) -> None:
    daemon = laboratory.configure(FAST_AND_SMALL).start()
    with Crowd(daemon.endpoint, 19) as crowd, never_reading(context, daemon.endpoint):
        wait_until("all are known", lambda: daemon.status().publisher.subscribers == 20)
        runs = take_runs(daemon, crowd.wait_for_ends)
        assert daemon.end() == 0
    for run in runs:
        assert run.check_closed().state == "finished"
        run.check_ledger()
    hits = np.concatenate([run.hits for run in runs])
    files = hashlib.blake2b(hits.tobytes()).hexdigest()
    assert [(each.hits, each.missed, each.digest) for each in crowd.members] == [(len(hits), 0, files)] * 19


STARVED_HITS = int(os.environ.get("SOAK_STARVED_HITS", "1000000"))
STARVED: Settings = {
    "board": {"spi_divider": 1},
    "emulator": {"rate_hz": 50_000.0, "hits_limit": STARVED_HITS, "fifo_bytes": 1 << 26},
    "stream": {"high_water": 100, "max_hits": 300},
}
"""For twenty seconds, and in them many times more messages than may wait for anybody."""


@contextlib.contextmanager
def every_core_busy() -> Iterator[None]:
    """One for each core that wants all of it: who is tested here gets half of each."""
    busy = [subprocess.Popen([sys.executable, "-c", "while True: pass"]) for _ in range(os.cpu_count() or 1)]
    try:
        yield
    finally:
        for process in busy:
            process.kill()
            process.wait()


@pytest.mark.soak
def test_who_is_starved_misses_nothing_beside_one_who_does_not_read(
    laboratory: Laboratory, context: "zmq.Context[zmq.Socket[bytes]]"
) -> None:
    """Those who read are full now and then, and the publisher waits for them; for the one who does not read, once.

    On a machine that has nothing else to do: how long it waits for whom is a matter of seconds.
    """
    daemon = laboratory.configure(STARVED).start()
    with Crowd(daemon.endpoint, 19) as crowd, never_reading(context, daemon.endpoint), every_core_busy():
        wait_until("all are known", lambda: daemon.status().publisher.subscribers == 20)
        daemon.call("start")
        daemon.wait_until_exhausted()
        daemon.call("stop")
        crowd.wait_for_ends(1)
        assert daemon.status().publisher.dropped > 0, "the one who does not read has missed nothing"
        assert daemon.end() == 0
    run = daemon.run(1)
    assert run.check_closed().state == "finished"
    assert run.check_ledger().hits == len(run.hits) == STARVED_HITS
    files = hashlib.blake2b(run.hits.tobytes()).hexdigest()
    assert [(each.hits, each.missed, each.digest) for each in crowd.members] == [(STARVED_HITS, 0, files)] * 19


SUBSCRIPTIONS = (b"hits", b"", b"h", b"hitsss", b"\xff\xfe", b"stat", bytes(range(200)))
"""What clients that leave at once ask for: things there are, and nonsense."""


def test_a_thousand_connects_and_disconnects(laboratory: Laboratory) -> None:
    daemon = laboratory.configure({"emulator": {"rate_hz": 20_000.0}}).start()
    good = daemon.subscribe(high_water=0)
    good.wait_until_heard()
    daemon.call("start")
    good.wait_for_hits(1)
    before = {pid: connections(pid) for pid in (daemon.publisher.pid, daemon.program.pid)}
    for number in range(THOUSAND):
        match number % 4:
            case 0 | 1:
                subscribe_and_leave(daemon.endpoint, SUBSCRIPTIONS[number % len(SUBSCRIPTIONS)])
            case 2:
                with connection(daemon.endpoint) as stranger:
                    stranger.sendall((GREETING + READY + bytes(range(256)))[: number // 2])
            case 3:
                with socket.socket(socket.AF_UNIX) as stranger:
                    stranger.connect(str(daemon.control_socket))
                    stranger.sendall(bytes(range(number % 256)))
    wait_until("only the good one is left", lambda: daemon.status().publisher.subscribers == 1)
    for pid, number in before.items():
        wait_until("all connections are closed", lambda pid=pid, number=number: connections(pid) <= number)
    daemon.call("stop")
    good.wait_for_end(run=1)
    assert daemon.end() == 0
    run = daemon.run(1)
    assert run.check_closed().state == "finished"
    assert run.check_ledger().hits == len(run.hits) > 0
    np.testing.assert_array_equal(good.hits(run=1), run.hits)
    counters = good.close()
    assert (counters.missed_messages, counters.restarts, counters.malformed) == ({}, 0, 0)


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
