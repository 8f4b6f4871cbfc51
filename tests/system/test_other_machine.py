"""A daemon and its clients on two machines, which are two network namespaces: with a key all, without one nothing."""

import re
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.key_ring import KeyRing
from tests.system.laboratory import Daemon, Laboratory, Settings
from tests.system.namespaces import DAQ_ADDRESS, TwoMachines
from tests.system.programs import Finished, program_path

STREAM, CONTROL = f"tcp://{DAQ_ADDRESS}:5556", f"tcp://{DAQ_ADDRESS}:5558"


@pytest.fixture
def machines() -> Iterator[TwoMachines]:
    with TwoMachines() as machines:
        yield machines


class Remote:
    """Runs the programs on the other machine."""

    def __init__(self, machines: TwoMachines, laboratory: Laboratory) -> None:
        self._machines = machines
        self._laboratory = laboratory

    def run(self, program: str, *arguments: str | Path) -> Finished:
        command = self._machines.at_remote(program_path(program), *map(str, arguments))
        return self._laboratory.run_command(command)

    def watch(self, *arguments: str | Path) -> Finished:
        return self.run("apx-monitor", "watch", "--once", "--json", "--connect", STREAM, *arguments)


@pytest.fixture
def remote(machines: TwoMachines, laboratory: Laboratory) -> Remote:
    return Remote(machines, laboratory)


def serve(machines: TwoMachines, laboratory: Laboratory, settings: Settings) -> Daemon:
    daemon = laboratory.configure({"emulator": {"rate_hz": 2000.0}, **settings})
    command = machines.at_daq(program_path("daqd"), "run", "-c", str(daemon.config_path))
    return daemon.launch_command(command).wait_until_serving()


def test_with_a_key_and_without(machines: TwoMachines, laboratory: Laboratory, remote: Remote) -> None:
    ring = KeyRing(laboratory.folder / "keys")
    sockets: Settings = {"stream": {"bind": "tcp://0.0.0.0:5556"}, "control": {"endpoint": "tcp://0.0.0.0:5558"}}
    daemon = serve(machines, laboratory, {**sockets, "security": ring.section})
    alice = ["--server-key", ring.public("daq"), "--key", ring.secret("alice")]
    mallory = ["--server-key", ring.public("daq"), "--key", ring.secret("mallory")]

    for keys in ([], mallory):
        watch = remote.watch(*keys)
        assert (watch.code, watch.stdout) == (1, "")
        assert f"the server at {STREAM} refuses this client" in watch.stderr
    start = remote.run("daqctl", "--endpoint", CONTROL, *mallory, "start")
    assert (start.code, start.stdout) == (1, "")
    assert f"the daemon at {CONTROL} refuses this client: it does not know this key" in start.stderr

    ctl = ["--endpoint", CONTROL, *alice]
    assert remote.run("daqctl", *ctl, "status", "--json").json()["status"]["state"] == "idle"
    started = remote.run("daqctl", *ctl, "start", "--comment", "from afar")
    assert (started.code, started.stderr) == (0, "")
    seen = remote.watch(*alice)
    assert seen.code == 0, seen.stderr
    assert seen.json()["stat"]["state"] == "running"
    assert remote.run("daqctl", *ctl, "stop").code == 0
    assert "refused 192.0.2.2: its key " in daemon.program.output
    assert remote.run("daqctl", *ctl, "shutdown").code == 0
    assert daemon.program.wait() == 0
    record = daemon.run(1).check_closed()
    assert (record.state, record.comment) == ("finished", "from afar")


def test_nobody_from_outside_as_it_comes(machines: TwoMachines, laboratory: Laboratory, remote: Remote) -> None:
    daemon = serve(machines, laboratory, {"stream": {"bind": "tcp://127.0.0.1:5556"}})
    watch = remote.watch("--timeout", "0.5")
    assert (watch.code, watch.stdout) == (1, "")
    assert "nothing came from" in watch.stderr
    assert daemon.status().state == "idle"  # the socket of a file is the same on both
    assert daemon.end() == 0


def test_everybody_where_the_operator_says_so(machines: TwoMachines, laboratory: Laboratory, remote: Remote) -> None:
    daemon = serve(machines, laboratory, {"stream": {"bind": "tcp://0.0.0.0:5556", "insecure": True}})
    watch = remote.watch()
    assert watch.code == 0, watch.stderr
    assert watch.json()["stat"]["state"] == "idle"
    assert re.search(r"every machine that reaches tcp://0\.0\.0\.0:5556 .*can read it", daemon.program.output)
    assert daemon.end() == 0
