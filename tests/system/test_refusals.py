"""What cannot work is refused at once, in words, and disturbs nobody."""

import os
import re
import socket
from pathlib import Path

import pytest

from tests.system.laboratory import Daemon, Laboratory, Settings
from tests.system.programs import Finished


def check_refused(finished: Finished, *said: str, code: int = 1) -> None:
    """That it ended with `code` and said all of `said`, each within one line, and no traceback."""
    assert finished.code == code, finished
    assert "Traceback" not in finished.stderr
    for pattern in said:
        assert re.search(pattern, finished.stderr), f"{pattern!r} is not in:\n{finished.stderr}"


def check_unharmed(daemon: Daemon) -> None:
    """That it takes data as before."""
    before = daemon.status()
    assert before.state == "running"
    assert before.publisher.restarts == 0
    daemon.wait_for_readouts(before.counts["readouts"] + 20)
    assert daemon.end() == 0
    assert daemon.run(1).check_closed().state == "finished"
    daemon.run(1).check_ledger()


@pytest.fixture
def first(laboratory: Laboratory) -> Daemon:
    """A daemon that is taking a run."""
    daemon = laboratory.configure(name="first").start("--autostart")
    daemon.wait_for_readouts(1)
    return daemon


def test_second_daemon_on_the_same_control_socket(laboratory: Laboratory, first: Daemon) -> None:
    refused = laboratory.run("daqd", "run", "-c", first.config_path, "--autostart")
    check_refused(refused, f"control socket .*first.ipc is in use by process {first.program.pid}: end that daemon")
    assert len(refused.stderr.splitlines()) == 1
    check_unharmed(first)


def test_second_daemon_on_the_same_data_directory(laboratory: Laboratory, first: Daemon) -> None:
    """Under another name, so that nothing else keeps them apart."""
    second = laboratory.configure({"daq": {"data_dir": str(laboratory.folder / "data")}}, name="second")
    refused = laboratory.run("daqd", "run", "-c", second.config_path, "--autostart")
    check_refused(refused, f"the data directory .* is in use by process {first.program.pid}")
    check_unharmed(first)


def test_second_daemon_on_the_same_port(laboratory: Laboratory, first: Daemon) -> None:
    data_dir = {"data_dir": str(laboratory.folder / "elsewhere")}
    second = laboratory.configure({"daq": data_dir, "stream": {"bind": first.endpoint}}, name="second")
    refused = laboratory.run("daqd", "run", "-c", second.config_path, "--autostart")
    who = rf"the publisher of the daemon 'first' \(process {first.publisher.pid}\)"
    check_refused(refused, f"cannot publish at {first.endpoint}: Address already in use by {who}.* another stream.bind")
    assert not list((laboratory.folder / "elsewhere").glob("run_*"))
    assert not second.control_socket.exists()
    check_unharmed(first)


def test_second_daemon_on_the_same_port_for_catching_up(laboratory: Laboratory, first: Daemon) -> None:
    catch_up = first.status().catch_up
    data_dir = {"data_dir": str(laboratory.folder / "elsewhere")}
    second = laboratory.configure({"daq": data_dir, "stream": {"catch_up": catch_up}}, name="second")
    refused = laboratory.run("daqd", "run", "-c", second.config_path, "--autostart")
    who = r"the catch-up service of another daemon \(process \d+\)"
    check_refused(refused, f"cannot answer at {catch_up}: Address already in use by {who}.* another stream.catch_up")
    assert not list((laboratory.folder / "elsewhere").glob("run_*"))
    check_unharmed(first)


def test_port_of_a_foreign_program(laboratory: Laboratory) -> None:
    with socket.create_server(("127.0.0.1", 0)) as foreign:
        bind = f"tcp://127.0.0.1:{foreign.getsockname()[1]}"
        daemon = laboratory.configure({"stream": {"bind": bind}})
        refused = laboratory.run("daqd", "run", "-c", daemon.config_path)
    check_refused(refused, rf"cannot publish at {bind}: .* by another program, \S+ \(process {os.getpid()}\)")


def test_second_daemon_on_the_same_socket_for_the_stream(laboratory: Laboratory) -> None:
    """A path, which ZeroMQ would take away from who has it."""
    bind = f"ipc://{laboratory.runtime_dir}/stream"
    first = laboratory.configure({"stream": {"bind": bind}}, name="first").start("--autostart")
    data_dir = {"data_dir": str(laboratory.folder / "elsewhere")}
    second = laboratory.configure({"daq": data_dir, "stream": {"bind": bind}}, name="second")
    refused = laboratory.run("daqd", "run", "-c", second.config_path)
    check_refused(refused, f"cannot publish at {bind}: Address already in use by the publisher of the daemon 'first'")
    first.subscribe().wait_until_heard()
    check_unharmed(first)


def test_second_daemon_on_the_same_board(laboratory: Laboratory) -> None:
    device = laboratory.runtime_dir / "board"
    laboratory.start("daqd", "emulate", "--no-pace", "--pty", device).wait_for_output("emulated gecco board")
    board: Settings = {"board": {"transport": "serial"}, "serial": {"url": str(device)}}
    first = laboratory.configure(board, name="first").start("--autostart")
    first.wait_for_readouts(1)
    data_dir = {"data_dir": str(laboratory.folder / "elsewhere")}
    second = laboratory.configure({**board, "daq": data_dir}, name="second")
    refused = laboratory.run("daqd", "run", "-c", second.config_path, "--autostart")
    check_refused(refused, rf"cannot start a run: serial port \S+ is in use by process {first.program.pid}")
    check_unharmed(first)


def test_replay_on_the_port_of_a_daemon(laboratory: Laboratory, first: Daemon) -> None:
    first.ctl("rotate")
    recorded = first.run(1).directory / "run_000001_0000.apx"
    first.wait_for_readouts(first.status().counts["readouts"] + 1)
    refused = laboratory.run("daqd", "replay", recorded, "--bind", first.endpoint)
    check_refused(refused, f"cannot publish at {first.endpoint}")
    check_unharmed(first)


def test_no_configuration(laboratory: Laboratory) -> None:
    missing = laboratory.run("daqd", "run", "-c", "missing.toml")
    check_refused(missing, r"missing\.toml: cannot be read: No such file", code=2)
    check_refused(laboratory.run("daqd", "run"), "required: -c", code=2)
    check_refused(laboratory.run("daqctl", "-c", "missing.toml", "status"), "cannot be read", code=2)


def test_configuration_with_mistakes(laboratory: Laboratory) -> None:
    wrong: Settings = {
        "board": {"chips": 99, "spi_divder": 3},
        "stream": {"bind": "tcp://0.0.0.0:5556"},
        "emulator": {"rate_hz": -1.0},
    }
    daemon = laboratory.configure(wrong)
    mistakes = [r"board\.chips", r"board\.spi_divder", r"stream: .*insecure = true", r"emulator\.rate_hz"]
    check_refused(laboratory.run("daqd", "run", "-c", daemon.config_path), *mistakes, code=2)
    assert not (laboratory.folder / "data").exists()


def test_data_directory_that_cannot_be(laboratory: Laboratory) -> None:
    (laboratory.folder / "file").write_text("not a directory")
    daemon = laboratory.configure({"daq": {"data_dir": str(laboratory.folder / "file" / "data")}})
    refused = laboratory.run("daqd", "run", "-c", daemon.config_path)
    check_refused(refused, "cannot make the data directory")


def test_recording_that_cannot_be_played(laboratory: Laboratory) -> None:
    text = laboratory.folder / "text.apx"
    text.write_text("this is no recording")
    bind = ["--bind", "tcp://127.0.0.1:*"]
    check_refused(laboratory.run("daqd", "replay", text, *bind), r"cannot replay .*text\.apx")
    check_refused(laboratory.run("daqd", "replay", "missing.apx", *bind), r"cannot replay missing\.apx: .*No such file")
    check_refused(laboratory.run("daqd", "replay", text, "--speed", "0", *bind), "0.*number above 0", code=2)
    daemon = laboratory.configure({"emulator": {"source": "file", "file": str(text)}})
    check_refused(laboratory.run("daqd", "run", "-c", daemon.config_path), r"emulator\.file: .*text\.apx", code=2)


def test_runtime_directory_open_to_others(laboratory: Laboratory) -> None:
    shared = laboratory.runtime_dir / "shared"
    shared.mkdir()
    shared.chmod(0o777)
    daemon = laboratory.configure({"daq": {"runtime_dir": str(shared)}})
    refused = laboratory.run("daqd", "run", "-c", daemon.config_path)
    check_refused(refused, "others could command the board: chmod 700")
    assert not list(Path(shared).iterdir())
