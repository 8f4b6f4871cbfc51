"""However it is told to end, the daemon ends soon, in order, with everything written."""

import signal
from pathlib import Path

import pytest

from protocol import AstroPix4Readout, FileHeader, apx_open
from tests.system.laboratory import Daemon, Laboratory, Settings
from tests.system.processes import wait_until

READOUT = bytes.fromhex("bcbce05042030620d701bcbc")

INTERRUPT, TERMINATE = signal.SIGINT, signal.SIGTERM


def check_nothing_left(laboratory: Laboratory, daemon: Daemon) -> None:
    """That no process of the daemon is left, and with that none of its ports, nor the file of its control socket."""
    laboratory.wait_until_empty()
    assert not daemon.control_socket.exists()


@pytest.mark.parametrize(("number", "whole_group"), [(INTERRUPT, True), (TERMINATE, False)], ids=["Ctrl-C", "SIGTERM"])
def test_in_the_middle_of_a_run(laboratory: Laboratory, number: signal.Signals, whole_group: bool) -> None:
    daemon = laboratory.configure({"emulator": {"rate_hz": 5000.0}}).start("--autostart", "--comment", "cut short")
    subscriber = daemon.subscribe()
    daemon.wait_for_readouts(100)
    (daemon.program.send_to_group if whole_group else daemon.program.send)(number)
    assert daemon.program.wait() == 0
    check_nothing_left(laboratory, daemon)

    run = daemon.run(1)
    record = run.check_closed()
    assert (record.state, record.end_reason, record.comment) == ("finished", "the daemon was ended", "cut short")
    assert record.counts.readouts >= 100
    assert run.check_ledger() == subscriber.ledger(run=1)
    assert subscriber.wait_for_state("stopping").run == 1


def test_flat_out(laboratory: Laboratory) -> None:
    """Everything that was read when Ctrl-C came is written, and on the stream."""
    settings: Settings = {"emulator": {"rate_hz": "max"}, "acquisition": {"queue_mb": 512.0}}
    daemon = laboratory.configure(settings).start()
    subscriber = daemon.subscribe(high_water=0)
    subscriber.wait_until_heard()
    daemon.call("start")
    daemon.wait_for_readouts(2000)
    daemon.program.send_to_group(INTERRUPT)
    assert daemon.program.wait() == 0
    run = daemon.run(1)
    record = run.check_closed()
    assert record.state == "finished"
    assert subscriber.wait_for_end(run=1).counts == record.counts
    assert len(subscriber.hits(run=1)) == len(run.hits)


@pytest.mark.parametrize("number", [INTERRUPT, TERMINATE])
def test_while_idle(laboratory: Laboratory, number: signal.Signals) -> None:
    daemon = laboratory.configure().start()
    daemon.program.send_to_group(number)
    assert daemon.program.wait() == 0
    check_nothing_left(laboratory, daemon)
    assert not list(daemon.config.daq.data_dir.glob("run_*"))


@pytest.mark.parametrize("number", [INTERRUPT, TERMINATE])
def test_while_starting(laboratory: Laboratory, number: signal.Signals) -> None:
    """The publisher is a process already, and has not told yet that it publishes."""
    daemon = laboratory.configure().launch("--autostart")
    daemon.program.child("daqd.publishing.publish")
    daemon.program.send_to_group(number)
    assert daemon.program.wait() == 0
    laboratory.wait_until_empty()
    assert not daemon.control_socket.exists()
    for run in daemon.config.daq.data_dir.glob("run_*"):
        assert run.name == "run_000001"
        daemon.run(1).check_closed()


def test_shutdown_by_command(laboratory: Laboratory) -> None:
    daemon = laboratory.configure().start("--autostart")
    daemon.wait_for_readouts(10)
    told = daemon.ctl("shutdown", "--json")
    assert told.code == 0
    assert told.json() == {"state": "stopping"}
    assert daemon.program.wait() == 0
    check_nothing_left(laboratory, daemon)
    assert daemon.run(1).check_closed().state == "finished"


def make_recording(laboratory: Laboratory) -> Path:
    recorded = laboratory.folder / "recorded.apx"
    with apx_open(recorded, "wb", FileHeader(AstroPix4Readout, {})) as file:
        for readout_id in range(100):
            file.write(AstroPix4Readout(READOUT, readout_id, 10**18 + readout_id).to_bytes())
    return recorded


@pytest.mark.parametrize("number", [INTERRUPT, TERMINATE])
@pytest.mark.parametrize("waiting", [True, False], ids=["waiting", "looping"])
def test_replay(laboratory: Laboratory, number: signal.Signals, waiting: bool) -> None:
    recorded = make_recording(laboratory)
    replay = laboratory.start("daqd", "replay", recorded, "--loop", "--bind", "tcp://127.0.0.1:*")
    endpoint = replay.wait_for_output(r"at (tcp://\S+)")[1]
    if not waiting:
        laboratory.subscribe(endpoint).wait_for_end(run=1, pass_=2)
    replay.send_to_group(number)
    assert replay.wait() == 0
    laboratory.wait_until_empty()


@pytest.mark.parametrize(
    ("command", "begun"),
    [
        ("daqd replay RECORDED --loop --bind tcp://127.0.0.1:*", "waiting for 1 subscriber"),
        ("daqd emulate --tcp 0", "emulated gecco board"),
        ("daqd demo", "The page is at"),
        ("apx-monitor serve --connect ipc://DIRECTORY/stream --port 0", "the page is at"),
    ],
)
def test_signals_until_the_last_moment_are_harmless(laboratory: Laboratory, command: str, begun: str) -> None:
    """What ends in good order has not failed because the end was asked for again."""
    words = {"RECORDED": str(make_recording(laboratory)), "DIRECTORY": str(laboratory.runtime_dir)}
    for name, value in words.items():
        command = command.replace(name, value)
    program = laboratory.start(*command.split())
    program.wait_for_output(begun)
    assert program.end_again_and_again() == 0
    laboratory.wait_until_empty()


@pytest.mark.parametrize(("command", "codes"), [("apx-monitor watch", {0}), ("apx-sanity", {0, 1})])
def test_so_they_are_to_consumers(laboratory: Laboratory, command: str, codes: set[int]) -> None:
    """The checker has a finding where it has heard nothing by then."""
    daemon = laboratory.configure().start()
    program = laboratory.start(*command.split(), "--connect", daemon.endpoint)
    wait_until("it listens", lambda: daemon.status().publisher.subscribers == 1)
    assert program.end_again_and_again() in codes
