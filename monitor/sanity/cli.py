"""`apx-sanity`: is what comes from the detector, or lies in its files, what it should be?"""

import argparse
import sys
import time
from collections.abc import Callable, Iterable, Sequence
from contextlib import ExitStack
from dataclasses import replace
from pathlib import Path

from astropix_runtime.command_line.arguments import chips, not_negative, seconds_or_inf, whole_number
from astropix_runtime.command_line.program import FAILED, MISUSE, OK, OneLineParser
from astropix_runtime.process.signals import ended_by_signals
from monitor.client import DEFAULT_ENDPOINT, StreamClient
from monitor.detector import Geometry
from monitor.errors import AlarmServiceError, ConfigError, EndpointError, KeysError, MissingPackageError
from monitor.keys import add_key_arguments
from monitor.sanity.alarms.alarm_commands import COMMANDS, command_main
from monitor.sanity.alarms.alarm_service import AlarmService
from monitor.sanity.checks import catalogue
from monitor.sanity.checks.check_table import CheckEntry
from monitor.sanity.checks.event_checks import with_limits
from monitor.sanity.checks.findings import CheckInfo, Notice, Place
from monitor.sanity.checks.limits import Limits
from monitor.sanity.checks.statistics import special_functions
from monitor.sanity.configuration import SanityConfiguration, default_configuration, load_configuration
from monitor.sanity.configuration_sections import StreamSection
from monitor.sanity.live import LiveChecks
from monitor.sanity.recorded import once
from monitor.sanity.recorded.report import Report
from monitor.sanity.stuck import ended_when_stuck
from protocol.text import counted
from protocol.version import __version__

_EXAMPLES = """\
examples:
  apx-sanity                                    check the stream of the daemon on this computer, until Ctrl-C
  apx-sanity --connect tcp://daq-pc:5556 --server-key daq-pc.key --key alice.key_secret --json
                                                findings of another computer's stream, one JSON object a line
  apx-sanity --runs 1                           until the end of the run
  apx-sanity --runs 1 --history                 the same, and what the run has brought so far
  apx-sanity -c sanity.toml                     with alarms: latched, published, sent (config/sanity.toml has it all)
  apx-sanity alarms                             the alarms of a running one; also: ack, silence, unsilence
  apx-sanity --once data/run_000012             check recorded files: run quality in one command
  apx-sanity --once data/run_000012 --html run12.html --reference good.json
                                                the same as a page with figures, and held against a good run
  apx-sanity --make-reference data/run_000007 -o good.json
  apx-sanity --list                             what is checked

exit codes:
  0  all well (findings of level info are all well)
  1  findings
  2  the command cannot be meant so
"""

_TICK_S = 0.25
_GATHER_S = 0.05


def build_parser() -> OneLineParser:
    """The command line."""
    limits = Limits()
    parser = OneLineParser(
        prog="apx-sanity",
        description="Check the stream of a detector, or recorded .apx files, and say what is wrong.",
        epilog=_EXAMPLES,
    )
    parser.add_argument("--version", action="version", version=f"apx-sanity (astropix-daq) {__version__}")
    parser.add_argument("--json", action="store_true", help="print JSON, one object a line, the last one a summary")
    parser.add_argument("--list", action="store_true", help="list the checks and end")
    parser.add_argument(
        "-c",
        "--config",
        type=Path,
        metavar="FILE",
        help="raise alarms, as this file says; of files: its checks and limits",
    )
    source = parser.add_argument_group("what is checked")
    source.add_argument("--connect", metavar="ENDPOINT", help=f"stream to check (default {DEFAULT_ENDPOINT})")
    add_key_arguments(source)
    source.add_argument(
        "--history",
        action="store_true",
        default=None,
        help="a run that is being taken from its begin, and what was missed of it when it can be had",
    )
    source.add_argument("--for", dest="duration_s", type=seconds_or_inf, metavar="S", help="end after so many seconds")
    source.add_argument(
        "--runs", type=whole_number(1, 1 << 31), metavar="N", help="end when N runs have ended on the stream"
    )
    once.add_arguments(parser)
    pixels = parser.add_argument_group("detector")
    pixels.add_argument("--chips", type=chips, help="chips in the chain (default: as stream or file says)")
    pixels.add_argument("--rows", type=whole_number(1, 64), help="(default: as the version of the chips has)")
    pixels.add_argument("--columns", type=whole_number(1, 64), help="(default: as the version of the chips has)")
    bounds = parser.add_argument_group("limits; fractions are of a run's hits, or bytes")
    for name, default, text in (
        ("min-tot-us", limits.min_tot_us, "shortest time over threshold in µs"),
        ("max-tot-us", limits.max_tot_us, "longest time over threshold in µs"),
        ("max-tot-zero", limits.tot_zero_fraction, "fraction of hits of no duration"),
        ("max-orphan", limits.orphan_fraction, "fraction of bytes outside any hit"),
        ("max-dropped", limits.dropped_fraction, "fraction of hits begun and not completed"),
        ("max-restored", limits.restored_fraction, "fraction of hits whose end was taken for padding"),
        ("max-time-step", limits.time_step_s, "seconds between readouts"),
        ("silence", limits.stat_silence_s, "seconds without a state"),
        ("hit-silence", limits.hit_silence_s, "seconds without hits in a running run"),
    ):
        bounds.add_argument(f"--{name}", type=not_negative, metavar="X", help=f"{text} (default {default})")
    return parser


_LIMIT_ARGUMENTS = {
    "min_tot_us": "min_tot_us",
    "max_tot_us": "max_tot_us",
    "max_tot_zero": "tot_zero_fraction",
    "max_orphan": "orphan_fraction",
    "max_dropped": "dropped_fraction",
    "max_restored": "restored_fraction",
    "max_time_step": "time_step_s",
    "silence": "stat_silence_s",
    "hit_silence": "hit_silence_s",
}


def limits_of(arguments: argparse.Namespace, configuration: SanityConfiguration | None = None) -> Limits:
    """The limits that the arguments ask for; what they do not name is as configured."""
    limits = Limits()
    if configuration is not None:
        limits = with_limits(replace(limits, geometry=configuration.file.geometry), configuration.limits)
    geometry = limits.geometry
    named = {
        field: value for name, field in _LIMIT_ARGUMENTS.items() if (value := getattr(arguments, name)) is not None
    }
    return replace(
        limits,
        geometry=Geometry(
            arguments.chips or geometry.chips, arguments.rows or geometry.rows, arguments.columns or geometry.columns
        ),
        **named,
    )


def main(argv: Sequence[str] | None = None) -> int:
    """Run `apx-sanity`; returns the exit code. `SystemExit` for --help, --version and arguments that make no sense."""
    argv = sys.argv[1:] if argv is None else argv
    if argv and argv[0] in COMMANDS:
        return command_main(argv)
    parser = build_parser()
    arguments = parser.parse_args(argv)
    once.check_arguments(parser, arguments)
    return parser.run(
        lambda: _check(arguments),
        (EndpointError, KeysError, ConfigError, AlarmServiceError, MissingPackageError),
        lambda error: FAILED if isinstance(error, (AlarmServiceError, MissingPackageError)) else MISUSE,
        unread=OK if arguments.list else FAILED,  # what was not looked at may have findings
    )


def _check(arguments: argparse.Namespace) -> int:
    if arguments.list:
        print_checks(default_configuration() if arguments.config is None else load_configuration(arguments.config))
        return OK
    if arguments.make_reference:
        return once.make_reference(arguments, limits_of(arguments))
    return check_files(arguments) if arguments.once else check_stream(arguments)


def print_checks(configuration: SanityConfiguration) -> None:
    """The table of the checks: what each looks for, what to do, and its limits; what is configured of them."""
    by_name = {entry.name: entry for entry in configuration.entries}
    rows: list[CheckInfo | CheckEntry] = [*catalogue.ALL]
    rows += [entry for entry in configuration.entries if entry.name not in {check.name for check in catalogue.ALL}]
    width = max(len(row.name) for row in rows)
    for row in rows:
        print(f"{row.name:<{width}}  {row.level:<8}  {row.what}")
        print(f"{'':<{width}}            → {row.advice}")
        if row.name in by_name:
            for limit in by_name[row.name].limits:
                value = configuration.limits[row.name][limit.name]
                print(f"{'':<{width}}            {limit.name} = {value:g}: {limit.what}")


def check_files(arguments: argparse.Namespace) -> int:
    """`--once`; a configuration gives limits and checks, and no alarms."""
    special_functions()
    named = None if arguments.config is None else load_configuration(arguments.config)
    return once.check_files(arguments, limits_of(arguments, named), named or default_configuration())


def check_stream(arguments: argparse.Namespace) -> int:
    """Without `--once`."""
    configuration = None if arguments.config is None else load_configuration(arguments.config)
    # With alarms, these are what is told as it comes; findings are in the summary.
    report = Report(as_json=arguments.json, live=configuration is None)
    with ExitStack() as stack:
        client = stack.enter_context(_client(arguments, configuration))
        # First the handler: who is asked to end at the very begin ends in order, too.
        stack.enter_context(ended_by_signals(client.interrupt))
        special_functions()  # loaded before anything comes, and refused at once if they are missing
        if sys.stderr.isatty():  # all may be well for hours, and nothing is said of it
            print(f"checking {client.endpoint}; Ctrl-C ends it", file=sys.stderr)
        service = None
        if configuration is not None:
            service = stack.enter_context(AlarmService(configuration, report.announce))
        chips = arguments.chips or (None if configuration is None else configuration.file.detector.chips)
        checks = LiveChecks(limits_of(arguments, configuration), time.monotonic(), chips)
        own = configuration is not None and configuration.own_checks
        turn = stack.enter_context(ended_when_stuck()) if own else _no_turn
        checked = _follow(arguments, client, report, service, checks, turn)
    if service is not None and service.undelivered:
        print(f"apx-sanity: {counted(service.undelivered, 'alarm')} could not be sent before the end", file=sys.stderr)
    report.alarmed = service is not None and service.alarmed
    report.finish(checked)
    return report.exit_code


def _no_turn() -> None:
    """The checks of this package keep nobody waiting."""


def _client(arguments: argparse.Namespace, configuration: SanityConfiguration | None) -> StreamClient:
    """The client of the stream that arguments, or else the configuration, name."""
    stream = StreamSection() if configuration is None else configuration.file.stream
    folder = Path() if configuration is None else configuration.folder
    named = arguments.connect is not None
    server_key, key = arguments.server_key, arguments.key
    if not named and server_key is None and key is None:
        server_key, key = (
            folder / Path(path).expanduser() if path else None for path in (stream.server_key, stream.key)
        )
    return StreamClient(
        arguments.connect if named else stream.connect,
        gather_s=_GATHER_S,
        server_key=server_key,
        key=key,
        history=bool(arguments.history),
    )


def _follow(
    arguments: argparse.Namespace,
    client: StreamClient,
    report: Report,
    service: AlarmService | None,
    checks: LiveChecks,
    turn: Callable[[], None],
) -> dict[str, int]:
    """Check what comes until the end; what was checked. `turn`: told of each."""
    began = now = time.monotonic()
    end = None if arguments.duration_s is None else began + arguments.duration_s

    def note(found: Iterable[tuple[Place, Notice]]) -> None:
        for place, notice in found:
            report.note(place, notice, time.time_ns())
            if service is not None:
                service.notice(notice)

    tick_at = began
    obstacle = ""
    while not client.interrupted and (end is None or now < end):
        event = client.receive(_TICK_S if end is None else min(_TICK_S, end - now))
        now = time.monotonic()
        turn()
        if event is not None:
            note(checks.feed(event, now))
            if service is not None:
                service.feed(event)
        if now >= tick_at:
            tick_at = now + _TICK_S
            if client.obstacle != obstacle:
                obstacle = client.obstacle
                if obstacle:
                    print(f"apx-sanity: {obstacle}", file=sys.stderr)
            note(checks.tick(now, client.counters.malformed, client.last_error))
            if service is not None:
                service.tick(client.counters, checks.lasting(now))
        if arguments.runs is not None and checks.runs_ended >= arguments.runs:
            break
    note(checks.settle(now))
    counters = client.counters
    messages = sum(counters.messages.values())
    return {"messages": messages, "runs": checks.runs_ended, "readouts": counters.readouts, "hits": counters.hits}


if __name__ == "__main__":
    sys.exit(main())
