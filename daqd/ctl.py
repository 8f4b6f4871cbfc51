"""`daqctl`: commands to a running daemon."""

import argparse
import json
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from astropix_runtime.command_line.program import FAILED, MISUSE, OK, ProgramParser
from astropix_runtime.errors import KeyFileError, RequestError
from astropix_runtime.sockets.endpoints import connectable, default_runtime_dir, is_tcp
from astropix_runtime.sockets.key_files import ClientKeys, read_client_keys
from daqd.commands.keygen import EXAMPLES as KEYGEN_EXAMPLES
from daqd.commands.keygen import add_keygen_arguments, keygen_main
from daqd.configuration.config import load_config
from daqd.control import ControlClient
from daqd.control_commands import COMMANDS
from daqd.errors import ConfigError, DaqError
from protocol.text import counted, printable
from protocol.version import __version__
from protocol.wire.messages import Stat

_EXAMPLES = """examples:
  daqctl status                                    what the daemon is doing
  daqctl start --comment "Cd-109, 40 mV"           the next run
  daqctl start --duration 600                      a run of ten minutes
  daqctl start --threshold 40 --inject 1,9 --vinj 300   with the chips set otherwise than usual, for this run
  daqctl rotate                                    finish the current file, go on in the next
  daqctl stop                                      end the run
  daqctl -c config/emulated.toml shutdown          end the daemon that uses this configuration
  daqctl --endpoint tcp://daq-pc:5560 --server-key daq-pc.key --key alice.key_secret status    of another machine
  daqctl keygen                                    keys, for sockets that other machines can reach

exit codes:
  0  done
  1  refused, or nobody answers
  2  the command, or the configuration, cannot be meant so
"""


def build_parser() -> ProgramParser:
    """The command line of `daqctl`."""
    parser = ProgramParser(prog="daqctl", description="Command a running daqd.", epilog=_EXAMPLES)
    parser.add_argument("--version", action="version", version=f"daqctl {__version__}")
    where = parser.add_mutually_exclusive_group()
    where.add_argument("-c", "--config", type=Path, help="configuration of the daemon; says where it listens")
    where.add_argument("--name", default="bench", help="name of the daemon (daq.name; default %(default)s)")
    where.add_argument("--endpoint", help="its control endpoint, like ipc:///run/astropix-daq/bench.ipc")
    keys = parser.add_argument_group("keys, for a daemon that listens at tcp://")
    keys.add_argument("--server-key", type=Path, metavar="FILE", help="public key of the daemon (NAME.key)")
    keys.add_argument("--key", type=Path, metavar="FILE", help="secret key of yours (NAME.key_secret)")
    commands = parser.add_subparsers(dest="command", required=True, metavar="COMMAND")
    for each in COMMANDS.values():
        command = commands.add_parser(
            each.name, help=each.summary, description=each.summary, epilog=f"examples:\n{each.examples}"
        )
        command.add_argument("--json", action="store_true", help="print the daemon's answer as JSON")
        each.add_options(command)
    keygen = commands.add_parser(
        "keygen",
        help="make a pair of keys, for the daemon or for a client",
        description="Make a pair of keys: NAME.key_secret, which stays where it is, and NAME.key, to give away.",
        epilog=KEYGEN_EXAMPLES,
    )
    keygen.add_argument("--json", action="store_true", help="print the paths and the public key as JSON")
    add_keygen_arguments(keygen)
    return parser


def endpoint_of(args: argparse.Namespace) -> str:
    """Where the daemon listens that the command line means."""
    if args.endpoint:
        return str(args.endpoint)
    if args.config:
        return connectable(load_config(args.config).control_endpoint)
    return f"ipc://{default_runtime_dir() / args.name}.ipc"


def client_keys_of(args: argparse.Namespace, endpoint: str) -> ClientKeys | None:
    """The keys that the command line names, if it does; `ConfigError` where that cannot be meant so."""
    if (args.server_key is None) != (args.key is None):
        raise ConfigError(["--server-key and --key go together"])
    if args.server_key is None:
        if is_tcp(endpoint):
            raise ConfigError(
                [f"{endpoint} takes commands only from clients with a key: give --server-key and --key (daqctl keygen)"]
            )
        return None
    if not is_tcp(endpoint):
        raise ConfigError([f"--server-key and --key are for tcp://ADDRESS:PORT, not for {endpoint}"])
    try:
        return read_client_keys(args.server_key, args.key)
    except KeyFileError as error:
        raise ConfigError([str(error)]) from None


def main(argv: Sequence[str] | None = None) -> int:
    """Entry point of `daqctl`."""
    parser = build_parser()
    args = parser.parse_args(argv)
    return parser.run(lambda: _command(args), (DaqError, RequestError), _code_of, interrupted=FAILED)


def _command(args: argparse.Namespace) -> int:
    try:
        if args.command == "keygen":
            return keygen_main(args)
        result = _ask(args)
    except (DaqError, RequestError) as error:
        if args.json:
            code = getattr(error, "code", "unreachable")
            print(json.dumps({"ok": False, "error": {"code": code, "message": str(error)}}))
        raise
    if args.json:
        print(json.dumps(result, indent=2))
        return OK
    try:
        _print_result(args.command, result)
    except (KeyError, TypeError, ValueError):
        raise DaqError("the daemon answers as another version does: --json prints what it said") from None
    return OK


def _code_of(error: Exception) -> int:
    return MISUSE if isinstance(error, ValueError) or getattr(error, "code", "") == "bad_arguments" else FAILED


def _ask(args: argparse.Namespace) -> dict[str, Any]:
    command, endpoint = COMMANDS[args.command], endpoint_of(args)
    with ControlClient(endpoint, command.answer_s, client_keys_of(args, endpoint)) as client:
        return client.call(command.name, **command.given(args))


def _print_result(command: str, result: dict[str, Any]) -> None:
    match command:
        case "status":
            _print_status(Stat.model_validate(result["status"]))
        case "start":
            print(f"run {result['run']} is being taken, files in {result['directory']}")
        case "stop":
            _print_end(result.get("record"))
        case "rotate":
            print(f"run {result['run']} goes on in its next file")
        case "configure" | "reset" | "shutdown":
            print(f"state {result['state']}")
        case _:
            for key, value in result.items():
                print(printable(f"{key} {value}"))


def _print_end(record: dict[str, Any] | None) -> None:
    if record is None:
        print("no run is being taken")
        return
    counts = record["counts"]
    print(
        f"run {record['run']} {record['state']} ({record['end_reason']}): {counts['readouts']} readouts, "
        f"{counts['file_bytes']} bytes in {counted(len(record['files']), 'file')}"
    )


def _print_status(stat: Stat) -> None:
    run = "no run yet" if stat.run is None else f"run {stat.run}, {stat.elapsed_s:.0f} s"
    print(f"state      {stat.state}{': ' + stat.reason if stat.reason else ''} ({run})")
    if stat.file:
        print(f"file       {stat.file}")
    counts, rates = stat.counts, stat.rates
    print(
        f"readouts   {counts.get('readouts', 0)} ({rates.readouts_hz:.0f}/s), "
        f"{counts.get('board_bytes', 0)} bytes from the board ({rates.bytes_hz / 1e6:.2f} MB/s)"
    )
    ledger = stat.ledger or {}
    print(f"hits       {ledger.get('hits', 0)} ({rates.hits_hz:.0f}/s)")
    names = ("idle", "padding", "hit", "carried", "orphan", "dropped")
    print(f"bytes      {', '.join(f'{name} {ledger.get(name, 0)}' for name in names)}")
    queue, disk, publisher = stat.queue, stat.disk, stat.publisher
    print(f"queue      {queue.bytes} of {queue.limit_bytes} bytes, at most {queue.high_water_bytes}")
    full = "" if disk.time_to_full_s is None else f", full in {_in_words(disk.time_to_full_s)}"
    alarm = f", {disk.level.upper()}: {disk.reason}" if disk.level != "ok" else ""
    free = f"{disk.free_bytes / 1e9:.1f} GB" if disk.free_bytes >= 1e9 else f"{disk.free_bytes / 1e6:.0f} MB"
    room = f"{free} free" if disk.total_bytes or disk.free_bytes else "free space not known"
    print(f"disk       {room} at {disk.path}{full}{alarm}")
    print(
        f"board      {stat.board.kind} over {stat.board.transport}, {'connected' if stat.board.connected else 'closed'}"
    )
    if stat.board.counters:
        print(f"counters   {', '.join(f'{name} {_rounded(value)}' for name, value in stat.board.counters.items())}")
    for warning in stat.board.warnings:
        print(f"WARNING    {warning}")
    print(
        f"publisher  {publisher.subscribers} subscribers, {publisher.messages} messages, {publisher.dropped} dropped, "
        f"{publisher.lag_bytes} bytes behind, {publisher.restarts} restarts"
    )


def _rounded(value: float | str) -> str:
    return f"{value:.3f}" if isinstance(value, float) else str(value)


def _in_words(seconds: float) -> str:
    hours = seconds / 3600
    if hours >= 48:
        return f"{hours / 24:.0f} days"
    return f"{hours:.1f} h" if hours >= 1 else f"{seconds / 60:.0f} min"


if __name__ == "__main__":
    sys.exit(main())
