"""The daemon as a service: what it tells the manager that has started it, what signals do, what its log looks like."""

import json
import re
import signal
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.conftest import REPOSITORY
from tests.system.laboratory import Laboratory
from tests.system.processes import wait_until
from tests.system.programs import program_path
from tests.system.service_manager import PlayedManager

WATCHDOG_S = 1.0
GATES = "tests.system.daemon_with_gates"


@pytest.fixture
def manager(laboratory: Laboratory) -> Iterator[PlayedManager]:
    manager = PlayedManager(laboratory.runtime_dir / "notify")
    yield manager
    manager.close()


def test_from_ready_to_stopping(laboratory: Laboratory, manager: PlayedManager) -> None:
    daemon = laboratory.configure().launch(environment=manager.environment(WATCHDOG_S))
    ready = manager.wait_for_key("READY", "1")
    assert daemon.status().state == "idle"  # it answers at once
    assert manager.messages[ready]["MAINPID"] == str(daemon.program.pid)
    assert manager.messages[ready]["STATUS"]
    assert not manager.said("WATCHDOG") or manager.wait_for_key("WATCHDOG") > ready
    subscriber = daemon.subscribe()
    subscriber.wait_for_state("idle")  # and publishes

    daemon.call("start")
    manager.wait_for_key("STATUS", "running (run 1 for ", ready)
    fed = manager.wait_for_key("WATCHDOG", "1", ready)
    manager.wait_for_key("WATCHDOG", "1", fed + 1)
    manager.wait_for(
        "how much was read", lambda said: bool(re.search(r"[1-9]\d* readouts/s", said.get("STATUS", ""))), ready
    )
    daemon.call("stop")
    manager.wait_for_key("STATUS", "configured (last run 1, ", fed)

    assert daemon.end() == 0
    stopping = manager.wait_for_key("STOPPING", "1", fed)
    assert "READY" not in {key for message in manager.messages[ready + 1 :] for key in message}
    assert manager.messages[stopping]["STATUS"].startswith("configured")


def test_a_start_that_fails_is_never_ready(laboratory: Laboratory, manager: PlayedManager) -> None:
    """The board is not there."""
    daemon = laboratory.configure({"board": {"transport": "serial"}, "serial": {"url": "/dev/no-such-port"}})
    daemon.launch("--autostart", environment=manager.environment())
    assert daemon.program.wait() == 1
    assert "cannot start a run: " in daemon.program.output
    assert not manager.said("READY")


def test_the_watchdog_is_not_fed_while_a_thread_is_stuck(laboratory: Laboratory, manager: PlayedManager) -> None:
    daemon = laboratory.configure()
    daemon.launch_command(
        [sys.executable, "-m", GATES, str(laboratory.folder), "run", "-c", str(daemon.config_path)],
        {**manager.environment(WATCHDOG_S), "PYTHONPATH": str(REPOSITORY)},
    ).wait_until_serving()
    daemon.call("start")
    daemon.wait_for_readouts(1)
    for gate, thread in (("board", "reader"), ("disk", "writer")):
        seen = len(manager.listen())
        (laboratory.folder / gate).touch()
        stuck = manager.wait_for_key("STATUS", f"STUCK: the {thread} of run 1 has not moved for ", seen)
        again = manager.wait_for_key("STATUS", "STUCK: ", stuck + 1)
        assert "WATCHDOG" not in {key for message in manager.messages[stuck : again + 1] for key in message}
        log = daemon.program.output
        assert re.search(f"ERROR daqd.process.supervision: the {thread} of run 1 has not moved for .* restart", log)
        assert daemon.status().state == "running"  # whoever can still answer does

        (laboratory.folder / gate).unlink()
        fed = manager.wait_for_key("WATCHDOG", "1", again)
        manager.wait_for("that all is well", lambda said: said.get("STATUS", "STUCK").startswith("running"), fed - 1)
        assert f"WARNING daqd.process.supervision: the {thread} of run 1 moves again" in daemon.program.output
    assert daemon.end() == 0
    daemon.run(1).check_closed()


def test_sighup_rotates(laboratory: Laboratory, manager: PlayedManager) -> None:
    daemon = laboratory.configure({"emulator": {"rate_hz": 5000.0}}).launch(environment=manager.environment())
    ready = manager.wait_for_key("READY")
    daemon.program.send(signal.SIGHUP)
    daemon.program.wait_for_output("SIGHUP: no run is being taken")
    manager.wait_for_key("READY", "1", manager.wait_for_key("RELOADING", "1", ready))

    subscriber = daemon.subscribe()
    subscriber.wait_until_heard()
    daemon.call("start")
    directory = daemon.config.daq.data_dir / "run_000001"
    for number in (1, 2):
        daemon.wait_for_readouts(daemon.status().counts["readouts"] + 20)
        before = len(manager.listen())
        daemon.program.send(signal.SIGHUP)
        wait_until(f"{number} files are finished", lambda: len(list(directory.glob("*.apx"))) == number)  # noqa: B023 - it is waited for here
        reloading = manager.wait_for_key("RELOADING", "1", before)
        assert int(manager.messages[reloading]["MONOTONIC_USEC"]) > 0
        manager.wait_for_key("READY", "1", reloading)
    daemon.wait_for_readouts(daemon.status().counts["readouts"] + 20)
    assert daemon.end() == 0
    run = daemon.run(1)
    record = run.check_closed()
    assert len(record.files) == 3
    assert record.state == "finished"
    assert run.check_ledger() == subscriber.ledger(run=1)
    assert len(subscriber.hits(run=1)) == len(run.hits)


def test_a_socket_that_nobody_reads_and_a_watchdog_that_bites(laboratory: Laboratory) -> None:
    """Full, and then gone: that hurts nobody. SIGABRT, which systemd sends, leaves the stacks in the log."""
    manager = PlayedManager(laboratory.runtime_dir / "notify")
    daemon = laboratory.configure().launch("--autostart", environment=manager.environment(0.02)).wait_until_serving()
    daemon.program.wait_for_output("the service manager cannot be told anything")
    manager.close()
    daemon.wait_for_readouts(daemon.status().counts["readouts"] + 50)

    daemon.program.send(signal.SIGABRT)
    assert daemon.program.wait() == -signal.SIGABRT
    assert "Fatal Python error: Aborted" in daemon.program.output
    assert re.search(r"File .*acquisition/reader\.py", daemon.program.output)
    assert re.search(r"File .*writer\.py", daemon.program.output)
    laboratory.wait_until_empty()  # the children end by themselves


def test_a_log_in_json(laboratory: Laboratory) -> None:
    """Of the daemon and of its publisher, whose checkpoint cannot be written for a while."""
    in_the_way = laboratory.folder / "data" / "publisher.checkpoint.new"
    in_the_way.mkdir(parents=True)
    daemon = laboratory.configure({"log": {"format": "json"}}).launch("--autostart", "--comment", 'two\nlines\u2028"')
    daemon.program.wait_for_output("publishes at ")
    daemon.program.wait_for_output("cannot write")
    daemon.wait_for_readouts(daemon.status().counts["readouts"] + 100)
    in_the_way.rmdir()
    daemon.program.wait_for_output("can be written again")
    assert daemon.end() == 0
    entries = [json.loads(line) for line in daemon.program.output.splitlines()]
    from_publisher = [entry for entry in entries if entry["logger"] == "daqd-publish"]
    assert [entry["level"] for entry in from_publisher] == ["warning", "warning"]
    assert from_publisher[0]["message"].startswith(f"cannot write {in_the_way.with_suffix('')}: ")
    assert all({"time", "level", "logger", "message", "run"} <= set(entry) for entry in entries)
    assert {entry["run"] for entry in entries} == {None, 1}
    (began,) = [entry for entry in entries if entry["message"].startswith("run 1 began")]
    assert began["message"] == 'run 1 began: two\nlines\u2028"'
    assert began["run"] == 1
    assert began["level"] == "info"


def test_a_run_from_the_start_and_a_log_for_the_journal(laboratory: Laboratory, manager: PlayedManager) -> None:
    """As the service manager does it: ready when the run has begun, standard error is what JOURNAL_STREAM names."""
    daemon = laboratory.configure()
    folder = Path(laboratory.folder)
    launcher = folder / "launcher"
    launcher.write_text(
        "import os, sys\nstatus = os.fstat(2)\n"
        "os.environ['JOURNAL_STREAM'] = f'{status.st_dev}:{status.st_ino}'\nos.execv(sys.argv[1], sys.argv[1:])\n"
    )
    daemon.launch_command(
        [
            *(sys.executable, str(launcher), program_path("daqd")),
            *("run", "-c", str(daemon.config_path), "--autostart", "--comment", "a\n<2>b"),
        ],
        manager.environment(),
    )
    manager.wait_for_key("READY", "1")
    assert daemon.status().run == 1
    assert daemon.end() == 0
    assert manager.said("STOPPING") == ["1"]
    assert not manager.said("WATCHDOG")
    lines = daemon.program.output.splitlines()
    assert lines
    assert all(re.match(r"<[3467]>", line) for line in lines)
    began = lines.index("<6>daqd.run_control: run 1 began: a")
    assert lines[began + 1] == "<6>    <2>b"


def test_signals_until_the_last_moment_are_harmless(laboratory: Laboratory) -> None:
    daemon = laboratory.configure({"emulator": {"rate_hz": 5000.0}}).start("--autostart")
    daemon.wait_for_readouts(100)
    assert daemon.program.end_again_and_again() == 0
    laboratory.wait_until_empty()
    assert daemon.run(1).check_closed().state == "finished"
