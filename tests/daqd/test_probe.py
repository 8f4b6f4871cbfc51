"""`daqd probe`: what it finds, what it says of it, and that it asks carefully."""

import argparse
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
import usb.backend.libusb1

from daqd.boards.which_firmware import firmware_on
from daqd.commands.probe import add_probe_arguments, probe_ftdi, probe_main, probe_serial
from daqd.configuration.config import Config
from daqd.emulator.astep_model import AstepModel
from daqd.emulator.board_model import BoardModel
from daqd.emulator.factory import emulated_board
from daqd.emulator.ft2232h import EmulatedFt2232h
from daqd.transports.emulated import EmulatedLink
from tests.daqd.emulated_bench import HandClock
from tests.daqd.lossy_line import LossyLine, OneFault
from tests.daqd.usb_bench import CountingBoard, UsbBench
from tests.deadline import DEADLINE_S

pytestmark = pytest.mark.slow

ASTEP = "firmware 0xAC04 (CMOD A7), version 26012701"
GECCO = "GECCO bench firmware"


def board(kind: str, clock: Callable[[], float] = time.monotonic) -> BoardModel:
    return emulated_board(Config.model_validate({"board": {"kind": kind, "transport": "emulated"}}), clock)


class Echo(CountingBoard):
    """A line whose two wires touch."""

    def exchange(self, data: bytes) -> bytes:
        return data


class Silence(CountingBoard):
    def exchange(self, data: bytes) -> bytes:
        return b""


@pytest.mark.parametrize(
    ("model", "firmware"), [(board("gecco"), GECCO), (board("astep"), ASTEP), (Echo(), ""), (Silence(), "")]
)
def test_which_firmware_answers(model: BoardModel, firmware: str) -> None:
    link = EmulatedLink(model)
    link.open()
    for _ in range(2):  # and asking changes nothing
        assert firmware_on(link) == firmware
    link.close()


def test_a_firmware_that_nobody_knows_is_named() -> None:
    config = Config.model_validate(
        {"board": {"kind": "astep", "transport": "emulated"}, "emulator": {"firmware_version": 26060101}}
    )
    link = EmulatedLink(emulated_board(config))
    link.open()
    assert firmware_on(link) == "firmware 0xAC04 (CMOD A7), version 26060101: its registers are not known"
    link.close()


def test_nothing_is_written_to_an_astep_board() -> None:
    model = board("astep")
    said = bytearray()
    exchange = model.exchange

    def listen(data: bytes) -> bytes:
        said.extend(data)
        return exchange(data)

    model.exchange = listen
    link = EmulatedLink(model)
    link.open()
    assert firmware_on(link) == ASTEP
    # The bench firmware's question begins no request; then id and version, byte by byte.
    identification = [f"020{byte}0004" for byte in (3, 2, 1, 0, 7, 6, 5, 4)]
    assert bytes(said).hex() == "00500004" + "".join(identification)


@pytest.mark.parametrize("is_lost", [True, False])
@pytest.mark.parametrize("position", range(36))
def test_no_question_hangs_an_astep_board_where_a_byte_goes_wrong(position: int, is_lost: bool) -> None:
    clock = HandClock()
    model = board("astep", clock)
    assert isinstance(model, AstepModel)
    line = LossyLine(model, OneFault(position, is_lost=is_lost), OneFault(None, is_lost=True))
    link = EmulatedLink(line, 0, clock, clock.sleep)
    link.open()
    assert firmware_on(link) == ASTEP
    assert not model.host.hung
    link.close()


@pytest.mark.parametrize("begun", ["00", "0018", "001808", "01", "0100ffff" + "aa" * 100, "0600040000"])
def test_a_gecco_board_in_the_middle_of_a_request(begun: str) -> None:
    model = board("gecco")
    link = EmulatedLink(model)
    link.open()
    link.write(bytes.fromhex(begun))
    assert firmware_on(link) == GECCO


def test_ftdi_devices(tmp_path: Path) -> None:
    bench = UsbBench(tmp_path, board("gecco"))
    for model, serial, description in (
        (board("astep"), "210276AA", "Digilent USB Device"),
        (CountingBoard(), "FT4ZZZ", "Dual RS232-HS"),
        (Silence(), "210276BB", "Digilent USB Device"),
    ):
        device = EmulatedFt2232h(model, serial, description, clock=bench.clock, sleep=bench.clock.sleep)
        bench.bus.plug_in(device)
    found = {finding.name: finding for finding in probe_ftdi(bench.bus, tmp_path, ask=True)}
    assert {name: finding.firmware for name, finding in found.items()} == {
        "210276A1B2C3": GECCO, "210276AA": ASTEP, "FT4ZZZ": "", "210276BB": "",
    }  # fmt: skip
    assert [name for name, finding in found.items() if finding.asked] == ["210276A1B2C3", "210276AA", "210276BB"]
    assert not any(finding.problem or finding.in_use for finding in found.values())


def test_a_device_in_use_is_left_alone(tmp_path: Path) -> None:
    bench = UsbBench(tmp_path)
    link = bench.link()
    link.open()
    (finding,) = probe_ftdi(bench.bus, tmp_path, ask=True)
    assert finding.in_use == f"process {os.getpid()}"
    assert not finding.asked
    # A daemon of another user: its lock is not seen, its claim is.
    (finding,) = probe_ftdi(bench.bus, tmp_path / "elsewhere", ask=True)
    assert "in use by another program" in finding.problem
    assert isinstance(bench.board, CountingBoard)
    assert bench.board.answered == 0
    assert bench.device.bit_mode == 0x40
    link.close()
    (finding,) = probe_ftdi(bench.bus, tmp_path, ask=False)
    assert (finding.in_use, finding.asked) == ("", False)


def test_ports_that_are_not_there(tmp_path: Path) -> None:
    *_, finding = probe_serial([str(tmp_path / "none")], tmp_path, ask=True)
    assert finding.problem == "there is no such port"
    *_, finding = probe_serial(["socket://127.0.0.1:1"], tmp_path, ask=True)
    assert "cannot be opened" in finding.problem


@pytest.fixture(params=["gecco", "astep"])
def emulated_port(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[tuple[str, subprocess.Popen[str]]]:
    """Path of a port that the real `daqd emulate` serves, and its process."""
    config = tmp_path / "daq.toml"
    config.write_text(f'[board]\nkind = "{request.param}"\ntransport = "emulated"\n', encoding="utf-8")
    path = tmp_path / "port"
    command = [sys.executable, "-m", "daqd.cli", "emulate", "--pty", str(path), "-c", str(config), "--json"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        assert json.loads(process.stdout.readline()) == {"kind": request.param, "url": str(path), "pid": process.pid}
        yield request.param, process
        process.send_signal(signal.SIGTERM)
        _, errors = process.communicate(timeout=DEADLINE_S)
    assert (process.returncode, errors) == (0, "ended\n")
    assert not path.is_symlink()


def test_the_programs(tmp_path: Path, emulated_port: tuple[str, subprocess.Popen[str]]) -> None:
    kind, _ = emulated_port
    port = str(tmp_path / "port")
    environment = {**os.environ, "RUNTIME_DIRECTORY": str(tmp_path / "run")}
    command = [sys.executable, "-m", "daqd.cli", "probe", port]
    result = subprocess.run([*command, "--json"], env=environment, capture_output=True, text=True, timeout=DEADLINE_S)
    assert (result.returncode, result.stderr) == (0, "")
    found = json.loads(result.stdout)
    assert found["problems"] == []
    (finding,) = (finding for finding in found["found"] if finding["name"] == port)
    assert finding["firmware"] == {"gecco": GECCO, "astep": ASTEP}[kind]
    result = subprocess.run([*command, "--no-ask"], env=environment, capture_output=True, text=True, timeout=DEADLINE_S)
    assert result.returncode == 0
    assert f"  {port}: free, not asked\n" in result.stdout
    command[-1] = str(tmp_path / "none")
    result = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=DEADLINE_S)
    assert result.returncode == 1
    assert "none: there is no such port" in result.stdout


def test_it_is_said_where_there_is_no_libusb(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("RUNTIME_DIRECTORY", str(tmp_path))
    monkeypatch.setattr(usb.backend.libusb1, "get_backend", lambda find_library: None)
    parser = argparse.ArgumentParser()
    add_probe_arguments(parser)
    assert probe_main(parser.parse_args(["--no-ask"])) == 1
    assert "problem: no libusb: install it" in capsys.readouterr().out
