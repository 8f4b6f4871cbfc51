"""`daqd`: the daemon and what belongs to it."""

import argparse
import asyncio
import contextlib
import faulthandler
import json
import logging
import sys
from collections.abc import Callable, Sequence
from pathlib import Path

from astropix_runtime.command_line.arguments import chips, seconds, whole_number
from astropix_runtime.command_line.program import MISUSE, OK, ProgramParser
from astropix_runtime.errors import RequestError
from astropix_runtime.process.logs import set_up_logging
from astropix_runtime.process.signals import ProcessSignals
from astropix_runtime.sockets.endpoints import check_stream_endpoint
from astropix_runtime.sockets.key_files import ServerKeys
from daqd.commands.configure import CONFIGURE_EXAMPLES, add_configure_arguments, configure_main
from daqd.commands.demo import add_demo_arguments, demo_main
from daqd.commands.emulate import EXAMPLES as EMULATE_EXAMPLES
from daqd.commands.emulate import add_emulate_arguments, emulate_main
from daqd.commands.probe import EXAMPLES as PROBE_EXAMPLES
from daqd.commands.probe import add_probe_arguments, probe_main
from daqd.commands.replayer import Replayer, ReplayOptions
from daqd.configuration.chip_setup import load_chip_setup
from daqd.configuration.config import Config, LogSection, SecuritySection, load_config
from daqd.errors import ConfigError, DaqError, code_of
from daqd.process.systemd import ServiceManager
from daqd.server_keys import load_server_keys
from daqd.service import Service
from protocol.version import __version__

try:
    import resource
except ImportError:  # Windows limits no descriptors
    resource = None  # type: ignore[assignment]  # a module, or none

log = logging.getLogger(__name__)

_EXAMPLES = """examples:
  daqd run -c config/emulated.toml                 serve; runs are started with daqctl
  daqd run -c config/emulated.toml --autostart     serve, and start a run at once
  daqd replay data/run_000001 --speed max          publish recorded files as if the detector were there
  daqd check-config -c config/emulated.toml        look for mistakes, touch nothing
  daqd probe                                       which boards are connected, and what answers
  daqd emulate --pty                               an emulated board on a serial port, for other programs
  daqd configure -c config/gecco.toml --dry-run    what would be said to the board, touching nothing
  daqd demo                                        everything at once, on an emulated board

exit codes:
  0  fine
  1  failed
  2  the command, or the configuration, cannot be meant so
"""


def _speed(text: str) -> float | str:
    if text == "max":
        return text
    try:
        value = float(text)
    except ValueError:
        value = 0.0
    if not 0 < value < float("inf"):
        raise argparse.ArgumentTypeError(f'{text!r} is neither a number above 0 nor "max"')
    return value


def build_parser() -> ProgramParser:
    """The command line of `daqd`."""
    parser = ProgramParser(prog="daqd", description="Data acquisition for AstroPix sensors.", epilog=_EXAMPLES)
    parser.add_argument("--version", action="version", version=f"daqd {__version__}")
    commands = parser.add_subparsers(dest="command", required=True, metavar="COMMAND")

    def add(name: str, purpose: str, epilog: str, main: Callable[[argparse.Namespace], int]) -> ProgramParser:
        command = commands.add_parser(name, help=purpose, epilog=epilog)
        command.set_defaults(main=main)
        return command

    run = add(
        "run",
        "serve: take runs as commanded, write files, publish hits",
        "examples:\n  daqd run -c config/emulated.toml\n"
        '  daqd run -c config/emulated.toml --autostart --comment "Cd-109, 40 mV" --duration 600\n',
        _run,
    )
    run.add_argument("-c", "--config", type=Path, required=True, help="configuration (TOML)")
    run.add_argument("--autostart", action="store_true", help="configure the board and start a run at once")
    run.add_argument("--comment", default="", help="comment of the run that --autostart starts")
    run.add_argument("--duration", type=seconds, metavar="S", help="end that run after so many seconds")

    replay = add(
        "replay",
        "publish recorded .apx files",
        "examples:\n  daqd replay data/run_000001\n  daqd replay old.apx --speed 10 --loop\n"
        "  daqd replay old.apx --speed max --wait-for 2\n"
        "  daqd replay old.apx --bind tcp://0.0.0.0:5556 --server-key daq-pc.key_secret --client-keys clients\n",
        _replay,
    )
    replay.add_argument(
        "files", type=Path, nargs="+", metavar="FILE", help=".apx files in order, or directories of runs"
    )
    replay.add_argument("--speed", type=_speed, default=1.0, help='1: as it was; N: N times as fast; "max"')
    replay.add_argument("--loop", action="store_true", help="begin again at the end")
    replay.add_argument(
        "--stay", action="store_true", help="go on answering for the past at the end, until interrupted"
    )
    replay.add_argument("--bind", default="tcp://127.0.0.1:5556", help="where to publish (default %(default)s)")
    replay.add_argument(
        "--catch-up",
        metavar="ENDPOINT",
        help="where those who come late ask for what they have missed; '': nowhere "
        "(default: the port after that of --bind, or any other)",
    )
    replay.add_argument(
        "--insecure", action="store_true", help="let --bind be an address that other machines can reach"
    )
    replay.add_argument(
        "--server-key", type=Path, metavar="FILE", help="secret key of the replay (NAME.key_secret): take only keys"
    )
    replay.add_argument("--client-keys", type=Path, metavar="DIR", help="directory of the public keys that may read")
    replay.add_argument(
        "--wait-for", type=whole_number(), default=1, metavar="N", help="begin when N subscribers are there (default 1)"
    )
    replay.add_argument("--chips", type=chips, metavar="N", help="chips in the chain, where the files do not say")
    replay.add_argument("--raw", action="store_true", help="publish the readout records, too")
    replay.add_argument("--name", default="replay", help="name of the stream (default %(default)s)")

    check = add(
        "check-config",
        "check a configuration, touch nothing",
        "examples:\n  daqd check-config -c config/emulated.toml\n  daqd check-config -c daqd.toml --json\n",
        _check_config,
    )
    check.add_argument("-c", "--config", type=Path, required=True, help="configuration (TOML)")
    check.add_argument("--json", action="store_true", help="print the configuration with all defaults, or the mistakes")

    add_probe_arguments(add("probe", "what is connected, what answers, what is in use", PROBE_EXAMPLES, probe_main))
    add_emulate_arguments(
        add("emulate", "an emulated board on a serial or TCP port, for other programs", EMULATE_EXAMPLES, emulate_main)
    )
    purpose = "bring a board from power-up to data, trace what was said to it"
    add_configure_arguments(add("configure", purpose, CONFIGURE_EXAMPLES, configure_main))
    purpose = "emulated board, daemon, sanity checker, page and terminal monitor at once"
    add_demo_arguments(add("demo", purpose, "examples:\n  daqd demo\n  daqd demo --rate 20000 --chips 4\n", demo_main))
    return parser


def _run(args: argparse.Namespace) -> int:
    if (args.comment or args.duration) and not args.autostart:
        print("daqd run: --comment and --duration say how --autostart starts a run; add it", file=sys.stderr)
        return MISUSE
    config = load_config(args.config)
    load_chip_setup(config.chip, config.board)  # a mistake in the chips' file is reported before anything starts
    _server_keys(config)
    take_all_descriptors()
    autostart = {"comment": args.comment, "duration_s": args.duration or 0.0} if args.autostart else None
    signals = ProcessSignals()
    signals.take_over()
    faulthandler.enable()  # a watchdog that bites aborts: where each thread stood is then in the log
    try:
        return asyncio.run(_serve(config, signals, autostart))
    finally:
        signals.ignore()


async def _serve(config: Config, signals: ProcessSignals, autostart: dict[str, object] | None) -> int:
    service = Service(config, signals)
    set_up_logging(config.log, lambda: service.run_number)
    with ServiceManager.from_environment() as manager:
        return await service.run(manager, autostart)


def take_all_descriptors() -> None:
    """Raise the limit of open files to what the administrator permits, also for processes that are started later.

    The usual 1024 are soon used up by connections whose keys nobody has checked yet. A run could then open no file.
    """
    if resource is not None:
        _, most = resource.getrlimit(resource.RLIMIT_NOFILE)
        with contextlib.suppress(ValueError, OSError):  # macOS permits less than it says
            resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))


def _server_keys(config: Config) -> ServerKeys | None:
    """The keys of the configuration; `ConfigError` with every mistake."""
    security = config.security
    return load_server_keys(security.server_key, security.client_keys) if security.keys else None


def _replay(args: argparse.Namespace) -> int:
    keyed = args.server_key is not None
    for wrong, text in (
        (keyed != (args.client_keys is not None), "--server-key and --client-keys go together"),
        (keyed and args.insecure, "--insecure and --server-key contradict each other: take one of them out"),
        (args.loop and args.stay, "--loop has no end after which to --stay: take one of them out"),
        (args.stay and args.catch_up == "", "--stay is for those who come late: take --catch-up '' out"),
    ):
        if wrong:
            print(f"daqd replay: {text}", file=sys.stderr)
            return MISUSE
    for option, endpoint in (("--bind", args.bind), ("--catch-up", args.catch_up)):
        if not endpoint and option == "--catch-up":
            continue
        try:
            check_stream_endpoint(endpoint, args.insecure, "add --insecure if that is meant", keys=keyed)
        except ValueError as error:
            print(f"daqd replay: {option} {error}", file=sys.stderr)
            return MISUSE
    keys = load_server_keys(args.server_key, args.client_keys, "daqd replay") if keyed else None
    take_all_descriptors()
    set_up_logging(LogSection())
    if args.insecure:
        log.warning("--insecure: every machine that reaches %s, or the past beside it, can read it", args.bind)
    security = SecuritySection(server_key=str(args.server_key), client_keys=str(args.client_keys)) if keyed else None
    options = ReplayOptions(
        files=tuple(args.files),
        speed=args.speed,
        loop=args.loop,
        stay=args.stay,
        bind=args.bind,
        catch_up=args.catch_up,
        wait_for=args.wait_for,
        chips=args.chips,
        max_hits=8192,
        raw=args.raw,
        batch_s=0.005,
        name=args.name,
        keys=keys,
        security=security or SecuritySection(),
    )
    return Replayer(options).run()


def _check_config(args: argparse.Namespace) -> int:
    try:
        config = load_config(args.config)
        load_chip_setup(config.chip, config.board)
        _server_keys(config)
    except ConfigError as error:
        if args.json:
            print(json.dumps({"ok": False, "mistakes": list(error.mistakes)}, indent=2))
            return MISUSE
        raise
    if args.json:
        print(json.dumps({"ok": True, "config": config.model_dump(mode="json")}, indent=2))
    else:
        print(f"{args.config}: no mistakes")
    return OK


def main(argv: Sequence[str] | None = None) -> int:
    """Entry point of `daqd`."""
    parser = build_parser()
    args = parser.parse_args(argv)
    return parser.run(lambda: args.main(args), (DaqError, RequestError), code_of, interrupted=OK)


if __name__ == "__main__":
    sys.exit(main())
