"""`kill -9` of the daemon: what was handed to the operating system is there, and the next one goes on."""

import signal
import sys

import numpy as np

from protocol.hit import HitTable
from tests.system.laboratory import Laboratory
from tests.system.processes import wait_until, wait_until_gone

DIES_IN_REPAIR = """
import os, signal, sys

from daqd.cli import main
from astropix_runtime.storage import durable

left = int(sys.argv.pop(1))

def dying(function):
    def call(*arguments):
        global left
        if not left:
            os.kill(os.getpid(), signal.SIGKILL)
        left -= 1
        return function(*arguments)
    return call

for name in ("remove", "replace_copy", "replace_text", "truncate", "rename"):
    setattr(durable, name, dying(getattr(durable, name)))
sys.exit(main())
"""
"""`daqd` that is killed when its repair has changed the disk so many times."""


def keys(hits: HitTable) -> HitTable:
    return hits[["readout_id", "decoding_order", "row", "column", "ts_dec1", "ts_dec2"]]


def test_kill_the_daemon(laboratory: Laboratory) -> None:
    daemon = laboratory.configure({"emulator": {"rate_hz": 20_000.0}, "files": {"max_size_mb": 0.05}}).start()
    subscriber = daemon.subscribe()
    subscriber.wait_until_heard()
    daemon.call("start")
    daemon.wait_for_readouts(600)
    wait_until("two files are finished", lambda: len(daemon.run(1).files) > 1)
    written = daemon.status().counts["readouts"]
    publisher = daemon.publisher
    daemon.program.kill()
    wait_until_gone(publisher)

    run = daemon.run(1)
    left_open = run.record
    assert left_open.state == "running"
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
    # The last sign of life: of a file that the record knew as finished, its end, which is later than its last readout.
    assert record.end_ns == max([run.readouts[-1].timestamp_ns, *(file.end_ns for file in left_open.files)])
    assert f"did not live to close it: {len(run.readouts)} readouts in {len(record.files)} files" in record.end_reason


def test_kill_the_daemon_in_its_repair(laboratory: Laboratory) -> None:
    """Each start goes on where the one before was killed, and the last one needs no hand."""
    daemon = laboratory.configure({"emulator": {"rate_hz": "max"}})
    daemon.start("--autostart")
    daemon.wait_for_readouts(300)
    publisher = daemon.publisher
    daemon.program.kill()
    wait_until_gone(publisher)
    run = daemon.run(1)
    expected = run.readouts
    (part,) = run.parts
    with part.open("ab") as file:
        file.write(bytes(4096))  # as a power cut leaves it
    for steps in (1, 2):
        daemon.launch_command([sys.executable, "-c", DIES_IN_REPAIR, str(steps), "run", "-c", str(daemon.config_path)])
        wait_until("it is killed", lambda: daemon.program.code is not None)
        assert daemon.program.code == -signal.SIGKILL
        assert "publishes at" not in daemon.program.output
    daemon.start()
    assert daemon.end() == 0
    repaired = daemon.run(1)
    record = repaired.check_closed()
    assert repaired.readouts == expected
    (cut,) = record.cuts
    assert (cut.file, cut.kept_as) == (part.name.removesuffix(".part"), part.name.replace(".part", ".cut"))
    assert (repaired.directory / cut.kept_as).read_bytes().endswith(bytes(4096))
    assert laboratory.run("apx", "verify", daemon.config.daq.data_dir).code == 0
