"""`kill -9` of the daemon: what was handed to the operating system is there, and the next one goes on."""

import numpy as np

from protocol.hit import HitTable
from tests.system.laboratory import Laboratory
from tests.system.processes import wait_until, wait_until_gone


def keys(hits: HitTable) -> HitTable:
    return hits[["readout_id", "decoding_order", "row", "column", "ts_dec1", "ts_dec2"]]


def test_kill_the_daemon(laboratory: Laboratory) -> None:
    daemon = laboratory.configure({"emulator": {"rate_hz": 20_000.0}, "files": {"max_size_mb": 0.05}}).start()
    subscriber = daemon.subscribe()
    subscriber.wait_until_heard()
    daemon.call("start")
    daemon.wait_for_readouts(600)
    written = daemon.status().counts["readouts"]
    publisher = daemon.publisher
    daemon.program.kill()
    wait_until_gone(publisher)

    run = daemon.run(1)
    assert run.record.state == "running"
    assert len(run.files) > 1
    assert len(run.parts) <= 1
    assert len(run.readouts) >= written
    assert [each.readout_id for each in run.readouts] == list(range(len(run.readouts)))
    # All but the last hit, which may have been cut: only the end of the run would settle it, and nobody told that.
    subscriber.wait_for_hits(len(run.hits) - 1)
    received = subscriber.hits(run=1)
    np.testing.assert_array_equal(keys(received), keys(run.hits[: len(received)]))

    daemon.start("--autostart")
    assert "run 1, which was left open, is repaired: " in daemon.program.output
    assert daemon.wait_for_readouts(10).run == 2
    wait_until("the ledger is in the record", lambda: daemon.run(1).record.ledger)
    daemon.ctl("stop")
    assert daemon.end() == 0
    assert daemon.run(2).check_closed().state == "finished"
    assert subscriber.close().malformed == 0

    repaired = daemon.run(1)
    record = repaired.check_closed()
    assert record.state == "interrupted"
    assert repaired.readouts == run.readouts
    np.testing.assert_array_equal(repaired.hits, run.hits)
    assert repaired.check_ledger() == run.ledger
    assert record.end_ns == run.readouts[-1].timestamp_ns
    assert f"did not live to close it: {len(run.readouts)} readouts in {len(record.files)} files" in record.end_reason


def test_kill_the_daemon_again_and_again_and_in_its_repair(laboratory: Laboratory) -> None:
    """Each start finds what the one before has left, also where that was killed while it tidied up."""
    daemon = laboratory.configure({"emulator": {"rate_hz": "max"}, "files": {"max_size_mb": 0.2}})
    for run in range(1, 4):
        daemon.start("--autostart")
        daemon.wait_for_readouts(300)
        publisher = daemon.publisher
        daemon.program.kill()
        wait_until_gone(publisher)
        daemon.launch()
        wait_until("it does something", lambda: daemon.program.output or daemon.control_socket.exists())
        daemon.program.kill()
        laboratory.wait_until_empty()
        assert daemon.run(run).readouts
    daemon.start()
    assert daemon.end() == 0
    for run in range(1, 4):
        assert daemon.run(run).check_closed().state == "interrupted"
