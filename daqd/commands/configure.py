"""`daqd configure`: bring a board from power-up to where it sends data, say what was done, and trace it."""

import argparse
import json
import signal
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Final, TextIO

from astropix_runtime.command_line.program import OK
from astropix_runtime.process.signals import END_SIGNALS, noted_signals
from daqd.boards.factory import open_board
from daqd.configuration.chip_arguments import add_chip_arguments, chip_overrides
from daqd.configuration.chip_setup import load_chip_setup
from daqd.configuration.config import Config, EmulatorSection, load_config
from daqd.emulator.factory import emulated_board
from daqd.errors import BoardError, ConfigError, DaqError, code_of
from daqd.transports.emulated import EmulatedLink
from daqd.transports.factory import make_link
from daqd.transports.link import Link
from daqd.transports.trace import Parser, TracingLink
from protocol.chips.chip_setup import ChipSetup
from protocol.chips.gecco_cards import shown_voltages
from protocol.registers import astep, gecco
from protocol.text import counted, reason_of

CONFIGURE_EXAMPLES: Final = """examples:
  daqd configure -c config/gecco.toml
  daqd configure -c config/gecco.toml --threshold 40 --inject 1,9 --vinj 300 --analog 9
  daqd configure -c config/gecco.toml --chip-file config_v4_none.yml --dry-run --trace transfers.jsonl
"""

REQUEST_PARSERS: Final[dict[str, Callable[[], Parser]]] = {"gecco": gecco.RequestParser, "astep": astep.RequestParser}

_SILENT_HZ: Final = 0.001
"""What a dry run reports must not depend on when a hit came."""


def add_configure_arguments(parser: argparse.ArgumentParser) -> None:
    """The arguments of `daqd configure`."""
    parser.add_argument("-c", "--config", type=Path, required=True, help="configuration (TOML)")
    parser.add_argument("--chip-file", type=Path, metavar="FILE", help="chip configuration (YAML) instead of chip.file")
    add_chip_arguments(parser)
    parser.add_argument("--dry-run", action="store_true", help="touch no board; answers are those of a healthy one")
    parser.add_argument("--trace", type=Path, metavar="FILE", help="write every transfer, a JSON object a line")
    parser.add_argument(
        "--stop", action="store_true", help="then stop: injection off, chips held in reset (else they go on)"
    )
    parser.add_argument("--json", action="store_true", help="print what was done as JSON")


def configure_main(args: argparse.Namespace) -> int:
    """Do it. `DaqError` where the configuration or the board is not as it should be."""
    try:
        result, setup = _configure(args)
    except DaqError as error:
        if not args.json:
            raise
        mistakes = list(error.mistakes) if isinstance(error, ConfigError) else [str(error)]
        print(json.dumps({"ok": False, "mistakes": mistakes}, indent=2))
        return code_of(error)
    if args.json:
        print(json.dumps({"ok": True, **result, "setup": setup.describe()}, indent=2))
    else:
        _tell(result, setup)
    return OK


def _configure(args: argparse.Namespace) -> tuple[dict[str, Any], ChipSetup]:
    config = load_config(args.config)
    settings = config.chip.overridden(chip_overrides(args))
    if args.chip_file is not None:
        settings = settings.model_copy(update={"file": str(args.chip_file)})
    setup = load_chip_setup(settings, config.board)
    inputs = [Path(name) for name in (args.config, settings.file) if name]
    if args.trace is not None and args.trace.exists() and any(path.samefile(args.trace) for path in inputs):
        raise ConfigError([f"--trace {args.trace}: is read by this command and is kept: write to another file"])
    end = _EndBySignal()
    with _trace_file(args.trace) as out, noted_signals(end.note, END_SIGNALS):
        bare_link = _dry_link(config) if args.dry_run else make_link(config)
        link = TracingLink(bare_link, REQUEST_PARSERS[config.board.kind], out, end.raise_once)
        setup = _bring_up(config, link, setup, end, stop=args.stop)
    return {
        "board": config.board.kind,
        "transport": link.name,
        "dry_run": args.dry_run,
        "stopped": args.stop,
        "transfers": link.transfers,
        "bytes": link.bytes,
        "trace": None if args.trace is None else str(args.trace),
    }, setup


class _EndBySignal:
    """The board gets out of what it is in, safe, between two transfers.

    In the middle of one, it would take what comes next for the rest of it.
    """

    def __init__(self) -> None:
        self._name = ""
        self._armed = False

    def arm(self) -> None:
        """From now on there is something to make safe."""
        self._armed = True

    def raise_once(self) -> None:
        """`BoardError` if a signal has come, and `arm` before; never again, for the board is made safe then."""
        if self._name and self._armed:
            self._armed = False
            raise BoardError(f"ended by {self._name}: injection is off, the chips are held in reset")

    def note(self, number: signal.Signals) -> None:
        """A signal has come; only the first one counts."""
        self._name = self._name or number.name


def _bring_up(config: Config, link: Link, setup: ChipSetup, end: _EndBySignal, stop: bool) -> ChipSetup:
    """Returns what the board was set to."""
    board = open_board(config, link)
    try:
        board.open()
        setup = board.possible(setup)
        end.arm()
        board.configure(setup)
        board.start()
        end.raise_once()
        if not stop:
            # Only the link: the board goes on with what it was told.
            link.close()
        return setup
    finally:
        board.close()


def _dry_link(config: Config) -> Link:
    given = config.emulator
    silent = EmulatorSection(rate_hz=_SILENT_HZ, firmware_id=given.firmware_id, firmware_version=given.firmware_version)
    link = EmulatedLink(emulated_board(config.model_copy(update={"emulator": silent})))
    link.name = "dry run"
    return link


@contextmanager
def _trace_file(path: Path | None) -> Iterator[TextIO | None]:
    if path is None:
        yield None
        return
    try:
        file = path.open("w", encoding="utf-8", buffering=1)
    except OSError as error:
        raise DaqError(f"{path}: cannot be written: {reason_of(error)}") from error
    with file:
        yield file


def _by_layer(setup: ChipSetup, values: list[str]) -> str:
    """One value for each chip, the layers named where there are several."""
    chain = setup.chain_length
    layers = [", ".join(values[first : first + chain]) for first in range(0, len(values), chain)]
    return layers[0] if len(layers) == 1 else "; ".join(f"layer {n}: {of}" for n, of in enumerate(layers, 1))


def _tell(result: dict[str, Any], setup: ChipSetup) -> None:
    told = setup.describe()
    chips = f"{counted(len(setup.chips), 'chip')}, AstroPix {setup.version}"
    print(f"board      {result['board']} over {result['transport']}, {chips}")
    on_chips = _by_layer(setup, [f"{value:.1f}" for value in told["threshold_mv"]["chips"]])
    if setup.cards is None:
        print("cards      none")
        print(f"threshold  {on_chips} mV on the chip")
    else:
        print(f"cards      {shown_voltages(setup.cards.dacs_v)}; slot {setup.cards.voltage_slot}")
        print(f"threshold  {setup.cards.threshold_mv:g} mV on the card, {on_chips} mV on the chip")
    print(f"pixels on  {_by_layer(setup, [str(chip['pixels_on']) for chip in told['chips']])}")
    injection = setup.injection
    if injection is None:
        print("injection  off")
    else:
        print(
            f"injection  {setup.name(injection.chip)}, row {injection.row}, column {injection.column}: "
            f"{injection.amplitude_mv:g} mV from the {injection.output}"
        )
    for line in (*setup.defaulted, *setup.notes):
        print(f"note       {line}")
    state = "injection off, chips held in reset" if result["stopped"] else "the chips send data"
    if result["dry_run"]:
        state = "nothing was touched"
    print(f"done       {result['transfers']} transfers, {result['bytes']} bytes: {state}")
    if result["trace"]:
        print(f"trace      {result['trace']}")
