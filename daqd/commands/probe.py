"""`daqd probe`: what is connected, what answers, what is in use, and what is missing to use it."""

import argparse
import json
import os
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

from serial.tools import list_ports

from astropix_runtime.command_line.arguments import seconds
from astropix_runtime.command_line.program import FAILED, OK
from astropix_runtime.sockets.endpoints import default_runtime_dir
from daqd.boards.which_firmware import firmware_on
from daqd.commands.board_report import write_board_report
from daqd.configuration.config import FtdiSection, SerialSection, load_config
from daqd.errors import BoardError, ConfigError
from daqd.process.device_lock import DeviceLock
from daqd.transports.ftdi import PRODUCT, VENDOR, FtdiLink, UsbBackend, libusb, list_ftdi
from daqd.transports.link import Link
from daqd.transports.serial_link import DIALOUT_ADVICE, SerialLink, port_label

EXAMPLES = """examples:
  daqd probe                                       all FTDI devices and serial ports
  daqd probe /dev/ttyUSB1                          and ask what answers on this port
  daqd probe socket://192.168.1.20:5600 --json
  daqd probe --report report.json -c mine.toml     bring the board to data, write down all that helps the developers

Boards are asked for their firmware, unless a daemon has them. A serial port that is none of an FT2232H is only asked
where it is named: there may be anything behind it.
"""

_BOARD = FtdiSection().description


@dataclass(frozen=True)
class ProbedPort:
    """A device or port. `transport` and `name`: what to write into the configuration.

    `firmware`: what answers, empty where nothing does or nothing was asked. `in_use`: by whom, empty if free.
    `problem`: why it cannot be used, and what to do about it.
    """

    transport: str
    name: str
    description: str
    firmware: str = ""
    in_use: str = ""
    problem: str = ""
    asked: bool = False


def add_probe_arguments(parser: argparse.ArgumentParser) -> None:
    """The command line of `daqd probe`."""
    parser.add_argument(
        "port", nargs="*", metavar="PORT", help="serial ports to ask: a device path, socket://HOST:PORT"
    )
    parser.add_argument("-c", "--config", type=Path, help="look for locks where this configuration keeps them")
    parser.add_argument("--no-ask", action="store_true", help="list only; send nothing to any board")
    parser.add_argument(
        "--report",
        type=Path,
        metavar="FILE",
        help="configure the board of --config, read it, stop it, and report on it",
    )
    parser.add_argument(
        "--seconds",
        type=seconds,
        default=2.0,
        metavar="S",
        help="how long --report reads the board (default %(default)g)",
    )
    parser.add_argument("--json", action="store_true", help="print what was found as JSON")


def probe_main(args: argparse.Namespace) -> int:
    """Print what is connected, or write a report; fails if a named port does not answer, or the board does not run."""
    if args.report is not None:
        return _report(args)
    lock_dir = load_config(args.config).runtime_dir if args.config else default_runtime_dir()
    problems: list[str] = []
    findings: list[ProbedPort] = []
    try:
        findings += probe_ftdi(libusb(), lock_dir, ask=not args.no_ask)
    except BoardError as error:
        problems.append(str(error))
    findings += probe_serial(args.port, lock_dir, ask=not args.no_ask)
    if args.json:
        print(json.dumps({"found": [asdict(finding) for finding in findings], "problems": problems}, indent=2))
    else:
        print("\n".join(_as_text(findings, problems)))
    silent = [found for found in findings if found.name in args.port and found.asked and not found.firmware]
    broken = [found for found in findings if found.name in args.port and found.problem]
    return FAILED if problems or silent or broken else OK


def _report(args: argparse.Namespace) -> int:
    if args.config is None or args.port or args.no_ask:
        raise ConfigError(["--report: needs -c CONFIG, which names the board, and neither PORT nor --no-ask"])
    report = write_board_report(load_config(args.config), args.report, args.seconds)
    if args.json:
        print(json.dumps(report, indent=2))
    else:
        print("\n".join(_summary(report, args.report)))
    return FAILED if report["failed"] else OK


def _summary(report: dict[str, Any], path: Path) -> Iterator[str]:
    yield f"firmware   {report.get('firmware') or 'none that the configuration is for'}"
    if trips := report.get("round_trip_ms"):
        spread = f"{trips['min']:g} to {trips['max']:g} ms"
        yield f"link       {trips['median']:g} ms from question to answer (median; {spread})"
    if capture := report.get("capture"):
        yield f"data       {capture['read_bytes']} bytes, {capture['hits']} hits in {capture['seconds']:g} s"
    if report["failed"]:
        yield f"failed     {report['failed']}"
    yield f"report     {path}: read it before you send it; it should name no user, computer, address or serial number"


def probe_ftdi(backend: UsbBackend, lock_dir: Path, *, ask: bool) -> list[ProbedPort]:
    """All FT2232H devices; those that look like a board are asked for their firmware. `BoardError` from the bus."""
    findings = []
    for device in list_ftdi(backend):
        device.close()
        finding = ProbedPort(
            "ftdi",
            device.serial or f"bus {device.bus}, address {device.address}",
            device.description,
            in_use=DeviceLock(lock_dir, device.label).holder(),
            problem=device.problem,
        )
        if ask and device.serial and device.description.startswith(_BOARD):
            settings = FtdiSection(serial=device.serial, description=device.description)
            finding = _asked(finding, FtdiLink(settings, lock_dir, lambda: backend))
        findings.append(finding)
    return findings


def probe_serial(named: Sequence[str], lock_dir: Path, *, ask: bool) -> list[ProbedPort]:
    """All serial ports of this machine and those that are `named`, which are asked, as are those of an FT2232H."""
    findings = []
    for name, description, looks_right in _ports(named):
        problem = ""
        if "://" not in name:
            if not Path(name).exists():
                problem = "there is no such port"
            elif not os.access(name, os.R_OK | os.W_OK):
                problem = DIALOUT_ADVICE
        finding = ProbedPort(
            "serial", name, description, in_use=DeviceLock(lock_dir, port_label(name)).holder(), problem=problem
        )
        if ask and (looks_right or name in named):
            finding = _asked(finding, SerialLink(SerialSection(url=name), lock_dir))
        findings.append(finding)
    return findings


def _ports(named: Sequence[str]) -> Iterator[tuple[str, str, bool]]:
    """Path or URL, description, and whether it belongs to an FT2232H."""
    listed = set()
    for port in sorted(list_ports.comports(), key=lambda port: str(port.device)):
        listed.add(port.device)
        description = " ".join(part for part in (port.manufacturer, port.product, port.serial_number) if part)
        yield port.device, description or str(port.description or ""), (port.vid, port.pid) == (VENDOR, PRODUCT)
    for name in named:
        if name not in listed:
            yield name, "", True


def _asked(finding: ProbedPort, link: Link) -> ProbedPort:
    """What answers there, where it can be asked."""
    if finding.in_use or finding.problem:
        return finding
    try:
        link.open()
        return replace(finding, asked=True, firmware=firmware_on(link))
    except BoardError as error:
        return replace(finding, problem=str(error))
    finally:
        link.close()


def _as_text(findings: list[ProbedPort], problems: list[str]) -> Iterator[str]:
    for transport, title in (("ftdi", "FTDI devices (FT2232H)"), ("serial", "Serial ports")):
        yield title
        found = [finding for finding in findings if finding.transport == transport]
        for finding in found:
            what = f"  ({finding.description})" if finding.description else ""
            yield f"  {finding.name}{what}: {_state(finding)}"
        if not found:
            yield "  none"
    for problem in problems:
        yield f"problem: {problem}"
    if not any(finding.transport == "ftdi" or finding.firmware for finding in findings) and not problems:
        yield "A board that is plugged in and not here: is it switched on, is its cable one for data?"


def _state(finding: ProbedPort) -> str:
    if finding.problem:
        return finding.problem
    if finding.in_use:
        return f"in use by {finding.in_use}"
    if finding.firmware:
        return finding.firmware
    return "free, no firmware answers: is it loaded, is the board powered?" if finding.asked else "free, not asked"
