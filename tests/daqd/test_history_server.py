"""The catch-up socket: what is asked for comes, whatever else is said to it."""

import threading
from collections.abc import Iterator
from contextlib import closing, contextmanager

import numpy as np
import pytest
import zmq

from daqd.catching_up.archive import DataDirectory
from daqd.catching_up.history_server import HistoryServer, HistoryServerError
from daqd.runs.run_store import RunStore
from protocol.wire.catch_up import MAX_CATCH_UP_BYTES, HitsReply, Refusal, RunsReply
from protocol.wire.messages import Request, encode_request
from tests.daqd.asking import Asking
from tests.daqd.made_readouts import make_readouts
from tests.daqd.run_on_disk import RunOnDisk, number_readouts
from tests.daqd.test_past_run import all_hits, within
from tests.daqd.waiting import wait_until

READOUTS = number_readouts(make_readouts(200))


@pytest.fixture
def run(store: RunStore) -> RunOnDisk:
    run = RunOnDisk(store, 3)
    run.write_all([READOUTS[:80], READOUTS[80:]])
    return run


@contextmanager
def serving(store: RunStore, settled_run: int = 0) -> Iterator[HistoryServer]:
    """A server with its loop in a thread."""
    server = HistoryServer("tcp://127.0.0.1:*", DataDirectory(store, settled_run))
    end = threading.Event()

    def serve() -> None:
        while not end.is_set():
            server.socket.poll(0 if server.busy else 5)
            server.take_requests()
            if server.busy:
                server.work()

    thread = threading.Thread(target=serve)
    thread.start()
    try:
        yield server
    finally:
        end.set()
        thread.join()
        server.close()


def joined(replies: list[HitsReply]) -> np.ndarray:
    return np.concatenate([reply.hits for reply in replies])


def expected(run: RunOnDisk) -> np.ndarray:
    record = run.store.read_record(run.run)
    assert record is not None
    return all_hits(record, [READOUTS])


def test_a_whole_run_in_pieces(run: RunOnDisk) -> None:
    with serving(run.store) as server, Asking(server.endpoint) as client:
        replies = client.hits(3, max_hits=50, record=True)
    assert len(replies) > 5
    np.testing.assert_array_equal(joined(replies), expected(run))
    assert [reply.header.over for reply in replies] == [False] * (len(replies) - 1) + [True]
    covered = [reply.header.readouts for reply in replies]
    assert covered[0] is not None
    assert covered[0][0] == 0
    assert covered[-1] is not None
    assert covered[-1][1] == 199
    assert replies[0].header.record == run.store.read_record(3)


def test_a_stretch_of_it(run: RunOnDisk) -> None:
    with serving(run.store) as server, Asking(server.endpoint) as client:
        for first, last in ((0, 0), (70, 90), (199, 199), (150, 1000)):
            replies = client.hits(3, first, last)
            np.testing.assert_array_equal(joined(replies), within(expected(run), first, last))
            assert replies[-1].header.readouts == (first, min(last, 199))
        (reply,) = client.hits(3, 500)
        assert (reply.header.readouts, reply.header.n, reply.header.over) == (None, 0, True)


def test_several_requests_of_several_clients_at_once(run: RunOnDisk) -> None:
    with serving(run.store) as server, Asking(server.endpoint) as one, Asking(server.endpoint) as other:
        for client in (one, other):
            ids = [client.send("hits", run=3, first=first, last=first + 24) for first in range(0, 200, 25)]
            replies = {reply.id: reply for reply in (client.reply() for _ in ids)}
            parts = [replies[request_id] for request_id in ids]
            assert all(isinstance(part, HitsReply) for part in parts)
            np.testing.assert_array_equal(joined(parts), expected(run))


def test_a_client_goes_on_where_it_was(run: RunOnDisk, monkeypatch: pytest.MonkeyPatch) -> None:
    """Its place is looked for once, not again for each piece; forgotten, it is found again."""
    with serving(run.store) as server, Asking(server.endpoint) as client:
        first = client.ask("hits", run=3, max_hits=20)
        assert isinstance(first, HitsReply)
        assert first.header.readouts is not None
        following = first.header.readouts[1] + 1
        (key,) = server._sessions
        assert key[1:] == (3, following)
        past = server._sessions[key][1]
        client.ask("hits", run=3, first=following, max_hits=20)
        ((_, again),) = server._sessions.values()
        assert again is past
        monkeypatch.setattr("daqd.catching_up.history_server._SESSION_S", 0.0)
        server.forget(1e12)
        assert not server._sessions
        replies = client.hits(3, following, max_hits=20)
        np.testing.assert_array_equal(joined(replies), within(expected(run), following, None))


def test_what_is_remembered_is_bounded(run: RunOnDisk) -> None:
    with serving(run.store) as server, Asking(server.endpoint) as client:
        for first in reversed(range(100)):
            client.ask("hits", run=3, first=first, max_hits=1)
        assert len(server._sessions) == 32


def test_work_takes_turns_and_ends_in_time(run: RunOnDisk, monkeypatch: pytest.MonkeyPatch) -> None:
    """With no time at all, each request gets some work done and its client a reply, and the run comes all the same."""
    monkeypatch.setattr("daqd.catching_up.history_server._TURN_S", 0.0)
    monkeypatch.setattr("daqd.catching_up.history_server._REPLY_S", 0.0)
    monkeypatch.setattr("daqd.following.followed_file._CHUNK_BYTES", 1000)
    with serving(run.store) as server, Asking(server.endpoint) as client:
        replies = client.hits(3)
    assert any(reply.header.readouts is None for reply in replies)
    np.testing.assert_array_equal(joined(replies), expected(run))


def test_the_runs_on_disk(run: RunOnDisk) -> None:
    store = run.store
    RunOnDisk(store, 5).make_directory()  # claimed, not begun
    going_on = RunOnDisk(store, 6)
    going_on.make_directory()
    going_on.write_record("running", comment="now")
    damaged = RunOnDisk(store, 7)
    damaged.make_directory()
    store.record_path(7).write_text("{")
    with serving(store) as server, Asking(server.endpoint) as client:
        reply = client.ask("runs")
        assert isinstance(reply, RunsReply)
        assert [(each.run, each.state, each.comment) for each in reply.runs.runs] == [
            (3, "finished", ""),
            (6, "running", "now"),
        ]
        assert not reply.runs.more
        reply = client.ask("runs", after=-1, number=1)
        assert isinstance(reply, RunsReply)
        assert ([each.run for each in reply.runs.runs], reply.runs.more) == ([3], True)
        assert client.refusal("hits", run=5) == "unknown_run"
        assert client.refusal("hits", run=7) == "unreadable"


@pytest.mark.parametrize(
    ("cmd", "args", "code"),
    [
        ("hits", {}, "bad_arguments"),
        ("hits", {"run": "3"}, "bad_arguments"),
        ("hits", {"run": -1}, "bad_arguments"),
        ("hits", {"run": 1 << 63}, "bad_arguments"),
        ("hits", {"run": 3, "first": 5, "last": 4}, "bad_arguments"),
        ("hits", {"run": 3, "max_hits": 1 << 30}, "bad_arguments"),
        ("hits", {"run": 3, "first": 1 << 40}, "bad_arguments"),
        ("hits", {"run": True}, "bad_arguments"),
        ("hits", {"run": 3, "other": 1}, "bad_arguments"),
        ("runs", {"number": 0}, "bad_arguments"),
        ("hits", {"run": 99}, "unknown_run"),
        ("stop", {}, "unknown_command"),
    ],
)
def test_refusals(run: RunOnDisk, cmd: str, args: dict[str, object], code: str) -> None:
    with serving(run.store) as server, Asking(server.endpoint) as client:
        assert client.refusal(cmd, **args) == code
        assert client.hits(3)[-1].header.over


def test_readouts_of_an_unknown_kind(run: RunOnDisk) -> None:
    record = run.store.read_record(3)
    assert record is not None
    run.store.write_record(record.model_copy(update={"readout_uid": 77}))
    with serving(run.store) as server, Asking(server.endpoint) as client:
        assert client.refusal("hits", run=3) == "unreadable"


def test_garbage(run: RunOnDisk) -> None:
    with serving(run.store) as server, Asking(server.endpoint) as client, Asking(server.endpoint) as good:
        for frames in ([b""], [b"\0" * 100], [b"", b"", b"x"], [b"\xc1"], [bytes(range(256))], [b"\x81\xa1v\x01"]):
            client.socket.send_multipart(frames)
            reply = client.reply() if len(frames) == 1 else client.socket.recv_multipart()
            if isinstance(reply, Refusal):
                assert (reply.id, reply.code) == ("", "bad_request")
        client.socket.send_multipart([b""] * 10)  # no envelope that could be sent back
        assert client.hits(3)[-1].header.over
        client.socket.send(bytes(MAX_CATCH_UP_BYTES + 1))  # the connection is cut for that
        assert good.hits(3)[-1].header.over


def test_an_impatient_client_gets_one_reply(run: RunOnDisk) -> None:
    with (
        closing(HistoryServer("tcp://127.0.0.1:*", DataDirectory(run.store, 0))) as server,
        Asking(server.endpoint) as client,
    ):
        ids = [client.send("hits", run=3) for _ in range(20)]
        other = client.send("hits", run=3, first=1)
        wait_until("all have come", lambda: server.take_requests() or len(server._waiting) == 2)
        while server.busy:
            server.work()
        assert {client.reply().id, client.reply().id} == {ids[-1], other}
        assert not client.socket.poll(0)


def test_too_many_requests(run: RunOnDisk) -> None:
    with (
        closing(HistoryServer("tcp://127.0.0.1:*", DataDirectory(run.store, 0))) as server,
        Asking(server.endpoint) as client,
    ):
        ids = [client.send("hits", run=3, first=first) for first in range(9)]
        wait_until("the last one is refused", lambda: server.take_requests() or client.socket.poll(1))
        refusal = client.reply()
        assert isinstance(refusal, Refusal)
        assert (refusal.id, refusal.code) == (ids[-1], "busy")
        while server.busy:
            server.work()
        assert {client.reply().id for _ in range(8)} == set(ids[:-1])


def test_a_client_that_reads_nothing_costs_nobody_anything(run: RunOnDisk) -> None:
    """It asks without end and takes no replies: what is kept for it is bounded, and the others are answered."""
    with serving(run.store) as server, Asking(server.endpoint, SNDHWM=0) as greedy, Asking(server.endpoint) as good:
        frame = encode_request(Request(id="x", cmd="hits", args={"run": 3}))
        for _ in range(3):
            for _ in range(500):
                greedy.socket.send(frame, zmq.NOBLOCK)
            np.testing.assert_array_equal(joined(good.hits(3)), expected(run))
        assert len(server._sessions) <= 32


def test_a_client_that_is_gone(run: RunOnDisk) -> None:
    server = HistoryServer("tcp://127.0.0.1:*", DataDirectory(run.store, 0))
    with Asking(server.endpoint) as client:
        client.send("hits", run=3)
        assert server.socket.poll(10_000)
        server.take_requests()
    while server.busy:
        server.work()
    server.close()


def test_an_address_that_is_taken(store: RunStore) -> None:
    with serving(store) as server, pytest.raises(HistoryServerError, match=r"cannot answer at .*stream\.catch_up"):
        HistoryServer(server.endpoint, DataDirectory(store, 0))
