"""What the daemon writes to is removed, moved or locked away under its hands: the run ends, and what it had is kept."""

import os
import re
import shutil
from pathlib import Path

import numpy as np
import pytest

from protocol.wire.messages import Stat
from tests.system.laboratory import Daemon, Laboratory
from tests.system.programs import program_path
from tests.system.subscriber import Subscriber

AS_ANYBODY = ["setpriv", "--bounding-set=-dac_override,-dac_read_search"]
"""Even root may then do only what the permissions of files allow."""


def begin(laboratory: Laboratory) -> tuple[Daemon, Subscriber]:
    """A daemon in its first run, and who listens to it."""
    daemon = laboratory.configure({"files": {"max_size_mb": 0.02}}).start()
    subscriber = daemon.subscribe()
    subscriber.wait_until_heard()
    daemon.call("start")
    daemon.wait_for_readouts(500)
    return daemon, subscriber


def check_all_accounted_for(reason: str, readouts: int, status: Stat) -> None:
    """That what the board delivered was written, or is said to be lost."""
    lost = re.search(r"(\d+) readouts that had been read could not be written", reason)
    assert readouts + int(lost[1] if lost else 0) == status.board.counters["readouts"]


def check_goes_on(daemon: Daemon) -> None:
    """That another run can be taken as if nothing had been."""
    daemon.call("reset")
    daemon.call("start", readouts=50)
    daemon.wait_for_status("the second run is over", state="configured", run=2)
    assert daemon.end() == 0
    assert daemon.run(2).check_closed().state == "finished"


def test_a_run_that_is_removed_while_it_is_taken(laboratory: Laboratory) -> None:
    """Finished files are gone; what is in the open one comes back, and everything is on the stream."""
    daemon, subscriber = begin(laboratory)
    run = daemon.run(1)
    shutil.rmtree(run.directory)
    status = daemon.wait_for_status("the run has failed", state="error")
    record = run.record
    assert record.state == "failed"
    assert re.match(
        r"run_000001_\d{4}\.apx\.part was removed; what had been written was written once more; "
        r"\d+ finished files are not in their place any more",
        record.end_reason,
    )
    assert status.reason == record.end_reason
    last = record.files[-1]
    assert [path.name for path in run.files] == [last.name]
    assert [each.readout_id for each in run.readouts] == list(range(last.first_readout or 0, record.counts.readouts))
    check_all_accounted_for(record.end_reason, record.counts.readouts, status)
    subscriber.wait_for_end(run=1)
    assert subscriber.ledger(run=1).readouts == record.counts.readouts
    check_goes_on(daemon)


@pytest.mark.soak
def test_a_run_that_is_moved_while_it_is_taken(laboratory: Laboratory) -> None:
    """Everything is where it was moved to; what was open then is in its old place, too."""
    daemon, subscriber = begin(laboratory)
    run = daemon.run(1)
    elsewhere = run.directory.rename(run.directory.with_name("kept by hand"))
    status = daemon.wait_for_status("the run has failed", state="error")
    record = run.record
    assert f"was moved to {elsewhere}/run_000001_" in record.end_reason
    assert "it has its old name again, too" in record.end_reason
    assert (run.directory / record.files[-1].name).samefile(elsewhere / f"{record.files[-1].name}.part")
    assert {file.name for file in record.files[:-1]} <= {path.name for path in elsewhere.iterdir()}
    check_all_accounted_for(record.end_reason, record.counts.readouts, status)
    subscriber.wait_for_end(run=1)
    assert subscriber.ledger(run=1).readouts == record.counts.readouts
    check_goes_on(daemon)


@pytest.mark.skipif(not os.geteuid() and shutil.which("setpriv") is None, reason="root may do everything here")
@pytest.mark.parametrize("whose", [pytest.param("the run", marks=pytest.mark.soak), "all data"])
def test_permission_is_taken_away(laboratory: Laboratory, whose: str) -> None:
    """The file keeps its unfinished name, and the next start repairs it."""
    daemon = laboratory.configure({"files": {"max_time_s": 2.0}})
    as_anybody = [] if os.geteuid() else AS_ANYBODY
    daemon.launch_command([*as_anybody, program_path("daqd"), "run", "-c", str(daemon.config_path)])
    daemon.wait_until_serving()
    daemon.call("start")
    daemon.wait_for_readouts(100)
    run = daemon.run(1)
    locked: Path = run.directory if whose == "the run" else run.directory.parent
    locked.chmod(0o500 if whose == "the run" else 0)
    status = daemon.wait_for_status("the run has failed", state="error")
    locked.chmod(0o700)
    assert "Permission denied" in status.reason
    assert "cannot write the record of run 1" in status.reason
    assert "run_000001_0000.apx.part keeps its name" in status.reason
    written = len(run.readouts)
    assert [path.name for path in run.parts] == ["run_000001_0000.apx.part"]
    check_all_accounted_for(status.reason, written, status)
    assert daemon.end() == 0

    daemon.start()
    assert daemon.end() == 0
    repaired = daemon.run(1)
    assert repaired.check_closed().state == "interrupted"
    assert len(repaired.readouts) == written
    np.testing.assert_array_equal(repaired.hits, run.hits)
