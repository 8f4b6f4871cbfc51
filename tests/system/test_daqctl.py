"""The life of a daemon as its operator commands it."""

import re

import pytest

from astropix_runtime.errors import RefusedError
from protocol.wire.messages import Stat
from tests.system.laboratory import Daemon, Laboratory, Settings


@pytest.fixture
def daemon(laboratory: Laboratory) -> Daemon:
    return laboratory.configure({"emulator": {"rate_hz": 5000.0}}).start()


def test_from_start_to_shutdown(daemon: Daemon) -> None:
    subscriber = daemon.subscribe()
    assert "state      idle (no run yet)" in daemon.ctl("status").stdout
    assert daemon.ctl("configure").stdout == "state configured\n"

    started = daemon.ctl("start", "--comment", "Cd-109, 40 mV", "--json")
    assert started.code == 0
    assert started.json() == {"state": "running", "run": 1, "directory": str(daemon.run(1).directory)}
    daemon.wait_for_readouts(20)
    status = daemon.ctl("status", "--json")
    assert status.code == 0
    running = Stat.model_validate(status.json()["status"])
    assert (running.state, running.run) == ("running", 1)
    assert running.file.endswith("run_000001_0000.apx.part")
    assert daemon.ctl("rotate").stdout == "run 1 goes on in its next file\n"
    daemon.wait_for_readouts(daemon.status().counts["readouts"] + 20)

    stopped = daemon.ctl("stop", "--json")
    assert stopped.code == 0
    assert stopped.json()["record"]["state"] == "finished"
    assert daemon.ctl("stop").stdout == "no run is being taken\n"
    daemon.call("start", readouts=30)
    second = daemon.wait_for_status("the second run has ended by itself", state="configured", run=2)
    assert second.counts["readouts"] >= 30  # and what the board had sent by then
    assert daemon.ctl("start", "--run", "7", "--duration", "0.2").code == 0
    daemon.wait_for_status("the third run has ended by itself", state="configured", run=7)
    subscriber.wait_for_end(run=7)
    assert daemon.ctl("shutdown").stdout == "state stopping\n"
    assert daemon.program.wait() == 0

    first = daemon.run(1).check_closed()
    assert (first.comment, first.end_reason, len(first.files)) == ("Cd-109, 40 mV", "stopped by command", 2)
    assert daemon.run(2).check_closed().end_reason == "30 readouts read, as asked"
    assert daemon.run(7).check_closed().end_reason == "0.2 s taken, as asked"
    for run in (1, 2, 7):
        assert daemon.run(run).check_ledger() == subscriber.ledger(run)


def test_what_is_refused(daemon: Daemon) -> None:
    def check_refused(*arguments: str, code: str, said: str) -> None:
        refused = daemon.ctl(*arguments, "--json")
        assert refused.code == 1
        answer = refused.json()
        assert (answer["ok"], answer["error"]["code"]) == (False, code)
        assert re.search(said, answer["error"]["message"])
        assert refused.stderr == f"daqctl: {answer['error']['message']}\n"

    check_refused("rotate", code="not_running", said="no run is being taken")
    daemon.call("start", run=5)
    for command in ("start", "configure", "reset"):
        with pytest.raises(RefusedError, match="run 5 is being taken: stop it first") as refused:
            daemon.call(command)
        assert refused.value.code == "running"
    daemon.call("stop")
    check_refused("start", "--run", "5", code="run_number", said="run 5 was given before; the next free number is 6")
    assert daemon.ctl("start", "--run", "0").code == 2
    assert daemon.ctl("jump").code == 2
    assert daemon.status().state == "configured"
    assert daemon.end() == 0
    assert daemon.run(5).check_closed().state == "finished"


def test_rotation_by_size(laboratory: Laboratory) -> None:
    """Files as they are finished while the run goes on: each opens alone, and ids go on from one to the next."""
    limit_mb = 0.05
    settings: Settings = {"emulator": {"rate_hz": 20_000.0}, "files": {"max_size_mb": limit_mb}}
    daemon = laboratory.configure(settings).start()
    subscriber = daemon.subscribe()
    subscriber.wait_until_heard()
    daemon.call("start")
    run = daemon.run(1)
    subscriber.wait_for_hits(20_000)
    finished = run.files
    assert len(finished) > 3
    assert laboratory.run("apx-sanity", "--once", *finished).code == 0
    assert laboratory.run("apx", "info", finished[1]).code == 0
    daemon.call("stop")
    subscriber.wait_for_end(run=1)
    assert daemon.end() == 0
    record = run.check_closed()
    assert [path.name for path in finished] == [file.name for file in record.files][: len(finished)]
    assert all(file.size_bytes <= limit_mb * 1e6 for file in record.files)
    assert run.check_ledger() == subscriber.ledger(run=1)
