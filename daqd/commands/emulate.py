"""`daqd emulate`: an emulated board for other programs, on a serial port or a TCP port."""

import argparse
import json
import os
import signal
import sys
import threading
from pathlib import Path
from types import FrameType

from astropix_runtime.command_line.arguments import port
from astropix_runtime.process.signals import noted_signals
from daqd.configuration.config import Config, load_config
from daqd.emulator.factory import emulated_board, emulated_cable
from daqd.emulator.stream_device import PtyDevice, StreamDevice, TcpDevice
from daqd.errors import BoardError

EXAMPLES = """examples:
  daqd emulate --pty                               a GECCO board on a pseudo terminal, at the pace of a UART
  daqd emulate --pty /tmp/board -c config/astep-uart.toml
  daqd emulate --tcp 5600 --no-pace                on TCP, as fast as it goes: url = "socket://127.0.0.1:5600"

kind and behaviour of the board are those of [board], [chip] and [emulator] of the configuration, the pace is
serial.baud. Ctrl-C ends it; the signal USR1 pulls the cable out, and puts it back in.
"""


def add_emulate_arguments(parser: argparse.ArgumentParser) -> None:
    """The command line of `daqd emulate`."""
    where = parser.add_mutually_exclusive_group(required=True)
    where.add_argument(
        "--pty",
        nargs="?",
        type=Path,
        const=Path(),
        metavar="PATH",
        help="a serial port at PATH (default: in the runtime directory)",
    )
    where.add_argument("--tcp", type=port, metavar="PORT", help="a TCP port; 0: any free one")
    parser.add_argument("--host", default="127.0.0.1", help="address of the TCP port (default %(default)s)")
    parser.add_argument("-c", "--config", type=Path, help="configuration (TOML; default: a GECCO board with one chip)")
    parser.add_argument("--no-pace", action="store_true", help="as fast as it goes, not as fast as serial.baud")
    parser.add_argument("--json", action="store_true", help="print where it is as JSON")


def emulate_main(args: argparse.Namespace) -> int:
    """Serve until a signal ends it."""
    config = load_config(args.config) if args.config else Config.model_validate({"board": {"transport": "emulated"}})
    device = _device(args, config)
    end = threading.Event()

    def pull_or_plug(_: int, __: FrameType | None) -> None:
        # Not in the handler: the cable's lock may be held by the thread that it interrupts.
        cable = device.cable
        threading.Thread(target=cable.unplug if cable.plugged else cable.plug_in, name="cable").start()

    with noted_signals(lambda _: end.set()):
        if hasattr(signal, "SIGUSR1"):
            signal.signal(signal.SIGUSR1, pull_or_plug)
        try:
            device.start()
        except OSError as error:
            raise BoardError(f"the emulated board cannot be served: {error}") from error
        try:
            if args.json:
                print(json.dumps({"kind": config.board.kind, "url": device.url, "pid": os.getpid()}), flush=True)
            else:
                where = f'transport = "serial", url = "{device.url}"'
                print(f"emulated {config.board.kind} board (process {os.getpid()}): {where}", flush=True)
            end.wait()
        finally:
            device.close()
        print("ended", file=sys.stderr)
    return 0


def _device(args: argparse.Namespace, config: Config) -> StreamDevice:
    board = emulated_board(config)
    cable = emulated_cable(config, board)
    baud = 0 if args.no_pace else config.serial.baud
    if args.tcp is not None:
        return TcpDevice(board, args.tcp, args.host, baud, cable)
    path = args.pty if args.pty != Path() else config.runtime_dir / f"{config.daq.name}.pty"
    return PtyDevice(board, path, baud, cable)
