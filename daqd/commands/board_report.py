"""`daqd probe --report`: what the developers need to know of a board that they do not have, in one JSON file.

The report says which board and firmware answered, what its registers hold, how fast the link answers, what the chips
were configured to, what the board sent in a few seconds, what was logged, and what failed. It names no user, computer,
address, serial number or folder.
"""

import getpass
import json
import logging
import platform
import re
import socket
import statistics
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from datetime import UTC, datetime
from importlib.metadata import PackageNotFoundError, version
from io import StringIO
from pathlib import Path
from typing import Any, Final, TextIO

from daqd.boards.factory import open_board
from daqd.boards.linked_board import LinkedBoard
from daqd.commands.configure import REQUEST_PARSERS
from daqd.configuration.chip_setup import load_chip_setup
from daqd.configuration.config import Config
from daqd.errors import BoardError, DaqError
from daqd.transports.factory import make_link
from daqd.transports.trace import TracingLink
from protocol.text import reason_of
from protocol.version import __version__

FORMAT: Final = 1
MAX_CAPTURE_BYTES: Final = 1 << 18
ROUND_TRIPS: Final = 50

_MAX_TRANSFERS = 2000
_MAX_TRANSFER_BYTES = 64
_READ_TIMEOUT_S = 0.1
_SECTIONS = {"board", "astep", "chip", "emulator"}
"""Parts of the configuration that say how the board is run; the others say where things are kept, and for whom."""

_MIN_PRIVATE_LETTERS = 3
_DIGILENT_SERIAL = re.compile(r"(?<![0-9a-zA-Z])210[0-9]{3}[0-9A-Z]{4,6}(?![0-9a-zA-Z])")
_PACKAGES = ("numpy", "pyftdi", "pyusb", "libusb-package", "pyserial")


def write_board_report(config: Config, path: Path, seconds: float) -> dict[str, Any]:
    """Bring the board of `config` to data, read it for `seconds`, stop it, and write all that was learnt to `path`.

    Returns what was written. A board that fails somewhere is reported as far as it came, with the failure in `failed`.
    Raises `ConfigError` for a configuration that cannot be used, `DaqError` where `path` exists or cannot be written;
    then the board was not touched.
    """
    setup = load_chip_setup(config.chip, config.board)
    transfers = StringIO()
    with ExitStack() as held:
        lines = held.enter_context(_log_lines())
        link = TracingLink(make_link(config), REQUEST_PARSERS[config.board.kind], transfers)
        board = open_board(config, link)
        file = held.enter_context(_new_file(path))
        report: dict[str, Any] = {
            "format": FORMAT,
            "made": datetime.now(UTC).isoformat(timespec="seconds"),
            "system": _system(),
            "configuration": _configuration(config),
            "failed": None,
        }
        try:
            _look(board, report)
            setup = board.possible(setup)
            report["setup"] = setup.describe()
            board.configure(setup)
            board.start()
            report["capture"] = _capture(board, seconds)
            board.stop()
            report["stopped"] = True
        except BoardError as error:
            report["failed"] = str(error)
        finally:
            board.close()
        report["board"] = board.record()
        report["status"] = board.status().model_dump()
        report["transfers"] = _transfers(transfers)
        report["log"] = lines
        text = _without_private(json.dumps(report, indent=1), config)
        file.write(text + "\n")
    public: dict[str, Any] = json.loads(text)
    return public


def _new_file(path: Path) -> TextIO:
    try:
        return path.open("x", encoding="utf-8")
    except FileExistsError:
        raise DaqError(f"{path}: exists already; name a new file for the report") from None
    except OSError as error:
        raise DaqError(f"{path}: cannot be written: {reason_of(error)}") from error


def _look(board: LinkedBoard, report: dict[str, Any]) -> None:
    """Open the board and read its registers, before anything but its safe state was written."""
    board.open()
    report["firmware"] = board.firmware_name
    registers = board.read_registers()
    report["registers"] = {name: f"0x{value:X}" for name, value in registers.items()}
    report["round_trip_ms"] = _round_trips(board)


def _round_trips(board: LinkedBoard) -> dict[str, float]:
    """How long the board takes to answer one question: with 1 byte, an A-STEP board with 1024."""
    times_ms = []
    for _ in range(ROUND_TRIPS):
        start = time.perf_counter()
        board.read_registers(["SPI_DIVIDER"])
        times_ms.append(1000 * (time.perf_counter() - start))
    return {
        "questions": ROUND_TRIPS,
        "min": round(min(times_ms), 3),
        "median": round(statistics.median(times_ms), 3),
        "max": round(max(times_ms), 3),
    }


def _capture(board: LinkedBoard, seconds: float) -> dict[str, Any]:
    """What the board sends for `seconds`, up to `MAX_CAPTURE_BYTES`, and what the decoder finds in it."""
    decoder = board.readout_class.make_decoder(board.description)
    readouts: list[dict[str, Any]] = []
    taken, kept, hits = 0, 0, 0
    start = time.monotonic()
    while time.monotonic() - start < seconds and kept < MAX_CAPTURE_BYTES:
        raw = board.read_readout(_READ_TIMEOUT_S)
        if raw is None:
            continue
        readout = board.readout_class(raw.data, len(readouts), raw.timestamp_ns)
        readouts.append(
            {
                "after_s": round(time.monotonic() - start, 4),
                "read_bytes": len(raw.data),
                "data": readout.data().hex(),
            }
        )
        taken += len(raw.data)
        kept += len(readout.data())
        hits += len(decoder.decode([readout]))
    hits += len(decoder.flush())
    return {
        "seconds": round(time.monotonic() - start, 3),
        "read_bytes": taken,
        "hits": hits,
        "ledger": decoder.ledger.to_dict(),
        "description": board.description.model_dump(exclude_none=True),
        "readouts": readouts,
    }


def _transfers(trace: StringIO) -> list[dict[str, Any]]:
    """The first transfers, long data cut. Reads of nothing, the zeros that resynchronise a board, are left out."""
    kept: list[dict[str, Any]] = []
    for line in trace.getvalue().splitlines():
        transfer = json.loads(line)
        if not transfer["length"]:
            continue
        if len(kept) == _MAX_TRANSFERS:
            break
        if len(transfer["data"]) > 2 * _MAX_TRANSFER_BYTES:
            transfer["data"] = transfer["data"][: 2 * _MAX_TRANSFER_BYTES] + "…"
        kept.append(transfer)
    return kept


def _system() -> dict[str, str]:
    system = {"system": platform.system(), "release": platform.release(), "machine": platform.machine()}
    system |= {"python": platform.python_version(), "daqd": __version__}
    for package in _PACKAGES:
        with suppress(PackageNotFoundError):
            system[package] = version(package)
    return system


def _configuration(config: Config) -> dict[str, Any]:
    """The sections that say how the board is run; files by name, without their folders."""
    shown: dict[str, Any] = config.model_dump(mode="json", include=_SECTIONS)
    for section in ("chip", "emulator"):
        if shown[section].get("file"):
            shown[section]["file"] = Path(shown[section]["file"]).name
    scheme, is_url, _ = config.serial.url.partition("://")
    shown["ftdi"] = config.ftdi.model_dump(mode="json", exclude={"serial"})
    shown["serial"] = {"baud": config.serial.baud, "kind": scheme if is_url else "device"}
    return shown


@contextmanager
def _log_lines() -> Iterator[list[str]]:
    """Everything that is logged in the block."""
    lines: list[str] = []

    class Keep(logging.Handler):
        def emit(self, record: logging.LogRecord) -> None:
            lines.append(f"{record.levelname} {record.name}: {record.getMessage()}")

    handler, root = Keep(logging.DEBUG), logging.getLogger()
    level = root.level
    root.addHandler(handler)
    root.setLevel(min(level or logging.WARNING, logging.INFO))
    try:
        yield lines
    finally:
        root.removeHandler(handler)
        root.setLevel(level)


def _without_private(text: str, config: Config) -> str:
    """`text` with every name of a user, computer, device or folder replaced by what it is."""
    private = {str(Path.home()): "home", config.serial.url: "port", config.ftdi.serial: "serial"}
    private[socket.gethostname()] = "computer"
    with suppress(OSError, KeyError):
        private[getpass.getuser()] = "user"
    for word in sorted(private, key=len, reverse=True):
        if len(word) >= _MIN_PRIVATE_LETTERS:
            text = re.sub(rf"(?<!\w){re.escape(json.dumps(word)[1:-1])}(?!\w)", f"<{private[word]}>", text)
    return _DIGILENT_SERIAL.sub("<serial>", text)
