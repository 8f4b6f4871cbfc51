"""The clock of the host is set in the middle of a run: what lasts is measured otherwise, and no byte is lost."""

import sys

import numpy as np
import pytest

from tests.system.laboratory import Laboratory

HOUR_NS = 3600 * 10**9

SET_CLOCK = """
import os, sys, time

true_time, true_time_ns = time.time, time.time_ns

def offset_s():
    try:
        with open(os.environ["OFFSET"]) as file:
            return int(file.read() or 0)
    except FileNotFoundError:
        return 0

time.time = lambda: true_time() + offset_s()
time.time_ns = lambda: true_time_ns() + offset_s() * 10**9

from daqd.cli import main

sys.exit(main())
"""
"""`daqd` on a host whose clock is off by what stands in the file `OFFSET`, in seconds."""


@pytest.mark.parametrize("hours", [-1, 1])
def test_the_clock_is_set_in_the_middle_of_a_run(laboratory: Laboratory, hours: int) -> None:
    """Duration, rotation and status go by a clock that nobody sets; time stamps tell what happened to the other one."""
    offset = laboratory.folder / "offset"
    daemon = laboratory.configure({"files": {"max_time_s": 600.0}, "emulator": {"rate_hz": 2000.0}})
    command = [sys.executable, "-c", SET_CLOCK, "run", "-c", str(daemon.config_path)]
    daemon.launch_command(command, {"OFFSET": str(offset)}).wait_until_serving()
    subscriber = daemon.subscribe()
    subscriber.wait_until_heard()
    daemon.call("start", duration_s=4.0)
    before = daemon.wait_for_readouts(100).counts["readouts"]
    draft = offset.with_suffix(".new")
    draft.write_text(str(hours * 3600))
    draft.rename(offset)
    daemon.wait_for_readouts(before + 200)  # an hour earlier, or later, nothing has ended and nothing waits
    assert daemon.status().state == "running"
    assert len(daemon.run().parts) == 1, "rotation goes by time that has passed"
    status = daemon.wait_for_status("the run has ended by its duration", state="configured")
    subscriber.wait_for_end(run=1)
    assert daemon.end() == 0  # the record is complete, with the publisher's ledger

    run = daemon.run()
    record = run.check_closed(clock_set_back=hours < 0)
    run.check_ledger()
    assert record.end_reason == "4 s taken, as asked"
    assert record.counts.board_bytes == status.board.counters["read_bytes"] > 0
    steps = np.diff([readout.timestamp_ns for readout in run.readouts])
    (jump,) = steps[np.abs(steps) > HOUR_NS / 2]
    assert abs(jump - hours * HOUR_NS) < HOUR_NS / 60
    np.testing.assert_array_equal(subscriber.hits(run=1), run.hits)
    verified = laboratory.run("apx", "verify", run.directory)
    assert verified.code == 0, verified.stdout + verified.stderr
    assert laboratory.run("apx", "info", run.directory).code == 0
    quality = laboratory.run("apx-sanity", "--once", run.directory)
    assert quality.code == 1 and "clock was set" in quality.stdout, quality.stdout + quality.stderr
    assert ("time stamps go back 1 time, by up to 3" in verified.stdout) == (hours < 0)
