"""`make soak`: the publisher is killed again and again, at any moment of its life, while data come in."""

import os
import random
import signal
import time

import numpy as np
import pytest

from tests.system.laboratory import Daemon, Laboratory, Settings
from tests.system.processes import Process, end_at_once, look_at, wait_until, wait_until_gone
from tests.system.taken_run import by_id

KILLS = int(os.environ.get("SOAK_KILLS", "100"))
RATE_HZ = 5000.0
MAX_WAIT_S = 3.0


def publisher_of(daemon: Daemon) -> Process:
    """The one that lives now; as soon as there is one."""
    return wait_until("there is a publisher", lambda: next(iter(_publishers(daemon)), None))


def _publishers(daemon: Daemon) -> list[Process]:
    return [child for child in daemon.program.children() if "daqd.publishing.publish" in child.command]


@pytest.mark.soak
def test_a_hundred_kills_of_the_publisher(laboratory: Laboratory) -> None:
    """Some publishers are killed before they publish anything, some while they catch up, some later."""
    moments = random.Random(KILLS)
    settings: Settings = {"board": {"chips": 2}, "emulator": {"rate_hz": RATE_HZ, "fifo_bytes": 1 << 26}}
    daemon = laboratory.configure(settings).start()
    subscribers = [daemon.subscribe(), daemon.subscribe()]
    for subscriber in subscribers:
        subscriber.wait_until_heard(2)
    daemon.call("start")
    for _ in range(KILLS):
        time.sleep(moments.uniform(0.0, MAX_WAIT_S))  # the moment is what is random here; nothing is waited for
        publisher = publisher_of(daemon)
        end_at_once(publisher.pid, signal.SIGKILL)
        wait_until_gone(publisher)
        daemon.wait_for_readouts(daemon.status().counts["readouts"] + 10)  # the acquisition goes on meanwhile
    wait_until("all restarts are counted", lambda: daemon.status().publisher.restarts == KILLS)
    daemon.call("stop")
    for subscriber in subscribers:
        subscriber.wait_for_end(run=1)
    assert look_at(daemon.program.pid) is not None
    assert daemon.end() == 0

    run = daemon.run(1)
    record = run.check_closed()
    assert record.state == "finished"
    assert record.gaps == ()
    ledger = run.check_ledger()
    assert ledger.hits == len(run.hits) > RATE_HZ
    for subscriber in subscribers:
        assert subscriber.ledger(run=1) == ledger
        np.testing.assert_array_equal(by_id(subscriber.hits(run=1)), by_id(run.hits))
        counters = subscriber.close()
        assert 0 < counters.restarts <= KILLS
        assert (counters.missed_readouts, counters.gaps, counters.malformed) == (0, {}, 0)
