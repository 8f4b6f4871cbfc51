"""A board that cuts hits, loses bytes and sends garbage: every byte is accounted for, live as in the files."""

import json

import numpy as np
import pytest

from tests.system.laboratory import Laboratory, Settings

CHIPS = 4
HITS = 30_000


@pytest.mark.finds("orphan_bytes", "dropped_hits")
def test_every_byte_is_accounted_for(laboratory: Laboratory) -> None:
    settings: Settings = {
        "board": {"chips": CHIPS},
        "emulator": {"rate_hz": 20_000.0, "hits_limit": HITS, "seed": 7},
        "emulator.misbehave": {"cut_hits": 0.05, "lost_bytes": 0.05, "garbage": 0.05, "padding": 0.05},
    }
    daemon = laboratory.configure(settings).start()
    subscriber = daemon.subscribe()
    sanity = laboratory.start("apx-sanity", "--connect", daemon.endpoint, "--runs", "1", "--json")
    subscriber.wait_until_heard(2)
    daemon.call("start")
    daemon.wait_until_exhausted()
    daemon.call("stop")
    subscriber.wait_for_end(run=1)
    assert sanity.wait() == 1, sanity.output
    assert daemon.end() == 0

    run = daemon.run(1)
    assert run.check_closed().state == "finished"
    ledger = run.check_ledger()
    assert subscriber.ledger(run=1) == ledger
    np.testing.assert_array_equal(subscriber.hits(run=1), run.hits)
    assert min(ledger.orphan, ledger.dropped, ledger.padding, ledger.dropped_hits) > 0
    assert 0.8 * HITS < ledger.hits < HITS
    assert min(ledger.chip_hits[:CHIPS]) > 0
    assert set(ledger.chip_hits[CHIPS:]) == {0}
    assert sum(ledger.chip_hits) == ledger.hits
    found = {finding["check"] for finding in json.loads(sanity.output.splitlines()[-1])["findings"]}
    assert {"orphan_bytes", "dropped_hits"} <= found


@pytest.mark.finds("daemon_state", "run_gaps", "tot_zero", "impossible_address")
def test_what_the_board_does_wrong_is_told_while_it_does(laboratory: Laboratory) -> None:
    settings: Settings = {
        "emulator": {"rate_hz": 2000.0, "unplug_every_s": 2.0, "unplug_for_s": 1.5},
        "emulator.misbehave": {"tot_zero": 0.01, "wrong_rows": 0.01},
    }
    daemon = laboratory.configure(settings).start()
    sanity = laboratory.start("apx-sanity", "--connect", daemon.endpoint, "--json")
    daemon.call("start")
    for check in ("tot_zero", "impossible_address", "daemon_state", "run_gaps"):
        sanity.wait_for_output(f'"check": ?"{check}"')
    assert daemon.end() == 0
    assert sanity.end() == 1
