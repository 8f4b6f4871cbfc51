"""Who comes late, or misses something, gets all of the run, whatever happens to the processes meanwhile."""

import json
import signal
import socket

import numpy as np
import pytest
import zmq

from monitor.errors import HistoryError
from monitor.events import HitBatch, RunMessage
from monitor.receiving.history import run_hits, runs_on_disk
from protocol.hit import HIT_DTYPE
from protocol.wire.messages import Request, encode_request
from tests.system.laboratory import Daemon, Laboratory, Settings
from tests.system.processes import DEADLINE_S, end_at_once, wait_until_gone
from tests.system.subscriber import Subscriber

RATE_HZ = 50_000.0
SETTINGS: Settings = {
    "board": {"chips": 2, "spi_divider": 1},
    "emulator": {"rate_hz": RATE_HZ, "fifo_bytes": 1 << 26},
    "emulator.misbehave": {"cut_hits": 0.01, "lost_bytes": 0.01},
    "files": {"max_size_mb": 0.3},
}


def check_whole(daemon: Daemon, subscriber: Subscriber, run: int = 1) -> None:
    """That the subscriber has all hits of the run, each once, in order."""
    subscriber.wait_for_end(run)
    np.testing.assert_array_equal(subscriber.hits(run), daemon.run(run).hits)
    assert subscriber.ledger(run).hits == len(subscriber.hits(run))


def test_joining_a_run_in_its_middle(laboratory: Laboratory) -> None:
    """Several at once, beside one who was there from the begin, and the terminal monitor."""
    # No more than ten seconds of hits: on a busy machine the run would grow as fast as it can be caught up with.
    emulator = {"rate_hz": RATE_HZ, "fifo_bytes": 1 << 26, "hits_limit": 500_000}
    daemon = laboratory.configure({**SETTINGS, "emulator": emulator}).start()
    first = daemon.subscribe()
    first.wait_until_heard()
    daemon.call("start", comment="late")
    daemon.wait_for_readouts(400)
    late = [daemon.subscribe(history=True) for _ in range(3)]
    sanity = laboratory.start("apx-sanity", "--connect", daemon.endpoint, "--history", "--runs", "1", "--json")
    for each in late:
        each.wait_for_hits(len(first.hits(run=1)))
    once = ["--once", "--json", "--timeout", str(DEADLINE_S)]
    watched = laboratory.run("apx-monitor", "watch", "--connect", daemon.endpoint, *once)
    late[0].wait_until_heard(5)
    daemon.call("stop")
    for each in (first, *late):
        check_whole(daemon, each)
    assert daemon.end() == 0
    daemon.run(1).check_ledger()
    for each in late:
        begin = next(event for event in each.events if isinstance(event, RunMessage))
        assert (begin.body.event, begin.body.record.comment) == ("begin", "late")
        counters = each.close()
        assert counters.past_hits > 5000
        assert (counters.joined_at, counters.missed_readouts, counters.past_failures) == (0, 0, 0)
    assert first.close().past_hits == 0
    sanity.wait()
    *findings, summary = map(json.loads, sanity.output.splitlines())
    assert summary["checked"]["hits"] == len(daemon.run(1).hits)
    assert not {"joined_late", "missed_readouts", "run_totals"} & {finding.get("check") for finding in findings}
    state = json.loads(watched.stdout)
    assert state["counters"]["joined_at"] == 0
    assert state["hits"] >= 5000


def test_joining_after_the_last_hit(laboratory: Laboratory) -> None:
    """Nothing comes any more that would say what is missing, but the state."""
    settings: Settings = {**SETTINGS, "emulator": {"rate_hz": RATE_HZ, "fifo_bytes": 1 << 26, "hits_limit": 20_000}}
    daemon = laboratory.configure(settings).start("--autostart")
    daemon.wait_until_exhausted()
    late = daemon.subscribe(history=True)
    late.wait_for_hits(19_000)
    daemon.call("stop")
    check_whole(daemon, late)


def test_the_processes_are_killed(laboratory: Laboratory) -> None:
    """The one that answers, in the middle of its answers, and the publisher; the others go on."""
    daemon = laboratory.configure(SETTINGS).start("--autostart")
    daemon.wait_for_readouts(500)
    late = daemon.subscribe(history=True)
    late.wait_for_hits(1)
    for process in (daemon.history, daemon.publisher):
        end_at_once(process.pid, signal.SIGKILL)
        wait_until_gone(process)
    later = daemon.subscribe(history=True)  # while the publisher is away
    before = daemon.status().counts["readouts"]
    daemon.wait_for_readouts(before + 100)
    daemon.call("stop")
    for each in (late, later):
        check_whole(daemon, each)
        assert each.close().past_failures == 0
    assert daemon.end() == 0
    assert daemon.run(1).check_closed().state == "finished"


@pytest.mark.soak
def test_killed_again_and_again(laboratory: Laboratory) -> None:
    daemon = laboratory.configure(SETTINGS).start("--autostart")
    daemon.wait_for_readouts(500)
    late = daemon.subscribe(history=True)
    for _ in range(3):
        process = daemon.history
        end_at_once(process.pid, signal.SIGKILL)
        wait_until_gone(process)
    late.wait_for_hits(2000)
    daemon.call("stop")
    check_whole(daemon, late)


@pytest.mark.soak
def test_nobody_answers_for_the_past(laboratory: Laboratory) -> None:
    """It is switched off, or stands still: the stream goes on, at once or after some seconds, with its gap."""
    daemon = laboratory.configure({**SETTINGS, "stream": {"catch_up": ""}}).start("--autostart")
    daemon.wait_for_readouts(300)
    assert daemon.catch_up == ""
    late = daemon.subscribe(history=True)
    late.wait_for_hits(1000)
    assert late.close().joined_at
    assert daemon.end() == 0


@pytest.mark.soak
def test_the_one_who_answers_stands_still(laboratory: Laboratory) -> None:
    daemon = laboratory.configure(SETTINGS).start("--autostart")
    daemon.wait_for_readouts(300)
    still = daemon.history
    end_at_once(still.pid, signal.SIGSTOP)
    late = daemon.subscribe(history=True)
    late.wait_for_hits(1000)
    end_at_once(still.pid, signal.SIGCONT)
    counters = late.close()
    assert counters.joined_at
    assert counters.past_failures == 1


def test_runs_on_disk(laboratory: Laboratory) -> None:
    daemon = laboratory.configure(SETTINGS).start()
    for run in (1, 2):
        daemon.call("start", comment=f"run {run}", readouts=300)
        daemon.wait_for_status("the run is over", state="configured", run=run)
    endpoint = daemon.catch_up
    runs = runs_on_disk(endpoint)
    assert [(each.run, each.state, each.comment) for each in runs] == [
        (1, "finished", "run 1"),
        (2, "finished", "run 2"),
    ]
    for run in (1, 2):
        np.testing.assert_array_equal(np.concatenate(list(run_hits(endpoint, run))), daemon.run(run).hits)
    part = np.concatenate([np.zeros(0, HIT_DTYPE), *run_hits(endpoint, 2, first=100, last=199)])
    expected = daemon.run(2).hits
    np.testing.assert_array_equal(part, expected[(expected["readout_id"] >= 100) & (expected["readout_id"] <= 199)])
    with pytest.raises(HistoryError, match=r"there is no run 7 on disk \(unknown_run\)"):
        list(run_hits(endpoint, 7))
    assert daemon.end() == 0
    with pytest.raises(HistoryError, match="nobody answers for the past at tcp://127"):
        list(run_hits(endpoint, 1, timeout_s=0.3))


def test_unfriendly_clients(laboratory: Laboratory) -> None:
    """Who asks without end and reads nothing, and who sends garbage, hold up neither the past nor the present."""
    daemon = laboratory.configure(SETTINGS).start()
    live = daemon.subscribe()
    live.wait_until_heard()
    daemon.call("start")
    daemon.wait_for_readouts(300)
    endpoint = daemon.catch_up
    host, port = endpoint.removeprefix("tcp://").split(":")
    frame = encode_request(Request(id="x", cmd="hits", args={"run": 1}))
    with (
        zmq.Context() as context,
        context.socket(zmq.DEALER) as greedy,
        socket.create_connection((host, int(port))) as garbage,
        socket.create_connection((host, int(port))),
    ):
        greedy.setsockopt(zmq.LINGER, 0)
        greedy.setsockopt(zmq.RCVHWM, 1)
        greedy.connect(endpoint)
        garbage.sendall(bytes(range(256)) * 16)
        for _ in range(500):
            greedy.send(frame)
        late = daemon.subscribe(history=True)
        late.wait_for_hits(len(live.hits(run=1)))
        daemon.call("stop")
        check_whole(daemon, late)
        check_whole(daemon, live)
    assert not live.close().missed_messages
    assert any(isinstance(event, HitBatch) and event.past for event in late.events)
    assert daemon.end() == 0
