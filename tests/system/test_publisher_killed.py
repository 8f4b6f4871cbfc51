"""The publisher is killed in the middle of a run, and no hit is missing anywhere."""

import json
import re
import signal

import numpy as np
import pytest

from tests.system.laboratory import Laboratory, Settings
from tests.system.processes import DEADLINE_S, end_at_once, wait_until, wait_until_gone
from tests.system.taken_run import by_id

CHIPS = 2


@pytest.mark.parametrize("rate_hz", [2000.0, 200_000.0])
def test_kill_the_publisher_once(laboratory: Laboratory, rate_hz: float) -> None:
    settings: Settings = {
        "board": {"chips": CHIPS, "spi_divider": 1},
        "emulator": {"rate_hz": rate_hz, "fifo_bytes": 1 << 26},
    }
    daemon = laboratory.configure(settings).start()
    subscriber = daemon.subscribe()
    sanity = laboratory.start("apx-sanity", "--connect", daemon.endpoint, "--json", "--silence", str(DEADLINE_S))
    watch = laboratory.start("apx-monitor", "watch", "--connect", daemon.endpoint)
    subscriber.wait_until_heard(3)

    daemon.call("start")
    subscriber.wait_for_hits(int(rate_hz))
    before = daemon.publisher
    end_at_once(before.pid, signal.SIGKILL)
    wait_until_gone(before)
    written = daemon.status().counts["readouts"]
    daemon.wait_for_readouts(written + 100)  # the acquisition goes on meanwhile
    assert daemon.publisher.pid != before.pid
    wait_until("the new publisher reports", lambda: daemon.status().publisher.restarts == 1)
    subscriber.wait_for_hits(3 * int(rate_hz))
    daemon.call("stop")
    subscriber.wait_for_end(run=1)
    assert daemon.end() == 0
    for observer in (sanity, watch):
        observer.send(signal.SIGINT)
    assert sanity.wait() == 0, sanity.output
    assert watch.wait() == 0

    run = daemon.run(1)
    record = run.check_closed()
    assert record.state == "finished"
    ledger = run.check_ledger()
    assert ledger.hits == len(run.hits) >= 3 * rate_hz
    assert subscriber.ledger(run=1) == ledger
    np.testing.assert_array_equal(by_id(subscriber.hits(run=1)), by_id(run.hits))
    counters = subscriber.close()
    assert counters.restarts == 1
    assert counters.duplicate_hits > 0
    assert counters.gaps == {}
    assert counters.missed_readouts == 0
    assert counters.malformed == 0
    summary = json.loads(sanity.output.splitlines()[-1])
    assert summary["ok"]
    assert summary["checked"]["hits"] == ledger.hits
    found = {finding["check"] for finding in summary["findings"]}
    assert {"publisher_restart", "duplicates"} <= found
    assert not {"sequence_gap", "missed_readouts", "run_totals"} & found
    assert re.search(r"missed 0 readouts \| gaps 0 \| restarts 1$", watch.output.strip())


def test_kill_the_publisher_and_end_the_daemon_at_once(laboratory: Laboratory) -> None:
    """Another publisher publishes what is left, and with that the run's ledger comes into its record."""
    daemon = laboratory.configure({"emulator": {"rate_hz": 5000.0}}).start()
    subscriber = daemon.subscribe()
    subscriber.wait_until_heard()
    daemon.call("start")
    subscriber.wait_for_hits(2000)
    publisher = daemon.publisher
    daemon.program.send(signal.SIGSTOP)  # so that it finds both at once: no publisher, and the wish to end
    end_at_once(publisher.pid, signal.SIGKILL)
    daemon.program.send(signal.SIGTERM)
    daemon.program.send(signal.SIGCONT)
    assert daemon.program.wait() == 0
    run = daemon.run(1)
    assert run.check_closed().state == "finished"
    assert run.check_ledger().hits == len(run.hits) >= 2000
    np.testing.assert_array_equal(by_id(subscriber.hits(run=1)), by_id(run.hits))
