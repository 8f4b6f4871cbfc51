"""`apx-sanity`: is what comes from the detector, or lies in its files, what it should be?"""

import argparse
import os
import sys
import time
from collections.abc import Sequence
from pathlib import Path

from monitor.client import DEFAULT_ENDPOINT, StreamClient
from monitor.curve import add_key_arguments
from monitor.detector import Geometry
from monitor.errors import EndpointError, KeysError
from monitor.program import ProgramParser, ended_by_signals, not_negative, positive, whole
from monitor.sanity import catalogue
from monitor.sanity.limits import Limits
from monitor.sanity.live import LiveChecks
from monitor.sanity.recorded import MOST_CHIPS, RecordedChecks
from monitor.sanity.report import Report
from protocol.tool.output import drop_output

_EXAMPLES = """\
examples:
  apx-sanity                                    check the stream of the daemon on this computer, until Ctrl-C
  apx-sanity --connect tcp://daq-pc:5556 --server-key daq-pc.key --key alice.key_secret --json
                                                findings of another computer's stream, one JSON object a line
  apx-sanity --runs 1                           until the end of the run
  apx-sanity --runs 1 --history                 the same, and what the run has brought so far
  apx-sanity --once data/run_000012/*.apx       check recorded files
  apx-sanity --list                             what is checked

exit codes:
  0  all well (findings of level info are all well)
  1  findings
  2  the command cannot be meant so
"""

_TICK_S = 0.25
_GATHER_S = 0.05


def build_parser() -> ProgramParser:
    """The command line."""
    limits = Limits()
    parser = ProgramParser(
        prog="apx-sanity",
        description="Check the stream of a detector, or recorded .apx files, and say what is wrong.",
        epilog=_EXAMPLES,
    )
    parser.add_version()
    parser.add_argument("--json", action="store_true", help="print JSON, one object a line, the last one a summary")
    parser.add_argument("--list", action="store_true", help="list the checks and end")
    source = parser.add_argument_group("what is checked")
    source.add_argument("--connect", metavar="ENDPOINT", help=f"stream to check (default {DEFAULT_ENDPOINT})")
    add_key_arguments(source)
    source.add_argument(
        "--history",
        action="store_true",
        default=None,
        help="a run that is being taken from its begin, and what was missed of it when it can be had",
    )
    source.add_argument("--once", nargs="+", type=Path, metavar="FILE", help="check these files and end")
    source.add_argument("--for", dest="duration_s", type=positive, metavar="S", help="end after so many seconds")
    source.add_argument("--runs", type=whole(1 << 31), metavar="N", help="end when N runs have ended on the stream")
    pixels = parser.add_argument_group("detector")
    pixels.add_argument("--chips", type=whole(MOST_CHIPS), help="chips in the chain (default: as stream or file says)")
    pixels.add_argument("--rows", type=whole(64), help="(default: as the version of the chips has)")
    pixels.add_argument("--columns", type=whole(64), help="(default: as the version of the chips has)")
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
        bounds.add_argument(
            f"--{name}", type=not_negative, default=default, metavar="X", help=f"{text} (default %(default)s)"
        )
    return parser


def limits_of(arguments: argparse.Namespace) -> Limits:
    """The limits that the arguments ask for."""
    return Limits(
        geometry=Geometry(arguments.chips or Geometry().chips, arguments.rows, arguments.columns),
        min_tot_us=arguments.min_tot_us,
        max_tot_us=arguments.max_tot_us,
        tot_zero_fraction=arguments.max_tot_zero,
        orphan_fraction=arguments.max_orphan,
        dropped_fraction=arguments.max_dropped,
        restored_fraction=arguments.max_restored,
        time_step_s=arguments.max_time_step,
        stat_silence_s=arguments.silence,
        hit_silence_s=arguments.hit_silence,
    )


def main(argv: Sequence[str] | None = None) -> int:
    """Run `apx-sanity`; returns the exit code. `SystemExit` for --help, --version and arguments that make no sense."""
    parser = build_parser()
    arguments = parser.parse_args(argv)
    if arguments.once:
        live_only = {"--connect": arguments.connect, "--for": arguments.duration_s, "--runs": arguments.runs}
        live_only |= {"--server-key": arguments.server_key, "--key": arguments.key, "--history": arguments.history}
        for name, value in live_only.items():
            if value is not None:
                parser.error(f"{name} is for streams and --once for files: give one of them")
        for path in arguments.once:
            if not os.access(path, os.R_OK) or not path.is_file():
                parser.error(f"{path} is no file that can be read")
    try:
        if arguments.list:
            print_checks()
            return 0
        return check_files(arguments) if arguments.once else check_stream(arguments)
    except (EndpointError, KeysError) as error:
        parser.error(str(error))
    except BrokenPipeError:
        drop_output()
        return 1


def print_checks() -> None:
    """The table of the checks."""
    width = max(len(check.name) for check in catalogue.ALL)
    for check in catalogue.ALL:
        print(f"{check.name:<{width}}  {check.level:<8}  {check.what}")


def check_files(arguments: argparse.Namespace) -> int:
    """`--once`."""
    report = Report(as_json=arguments.json, live=False)
    checks = RecordedChecks(limits_of(arguments), arguments.chips)
    interrupted = False
    try:
        for place, notice in checks.check(arguments.once):
            report.note(place, notice, time.time_ns())
    except KeyboardInterrupt:
        interrupted = True
    checked = {"files": checks.files, "runs": checks.runs, "readouts": checks.readouts, "hits": checks.hits}
    report.finish(checked, interrupted=interrupted)
    return report.exit_code or int(interrupted)


def check_stream(arguments: argparse.Namespace) -> int:
    """Without `--once`."""
    report = Report(as_json=arguments.json)
    with (
        StreamClient(
            arguments.connect or DEFAULT_ENDPOINT,
            gather_s=_GATHER_S,
            history=bool(arguments.history),
            server_key=arguments.server_key,
            key=arguments.key,
        ) as client,
        ended_by_signals(client.interrupt),
    ):
        began = now = time.monotonic()
        end = None if arguments.duration_s is None else began + arguments.duration_s
        checks = LiveChecks(limits_of(arguments), began, arguments.chips)
        tick_at = began
        refusal = ""
        while not client.interrupted and (end is None or now < end):
            event = client.receive(_TICK_S if end is None else min(_TICK_S, end - now))
            now = time.monotonic()
            if event is not None:
                for place, notice in checks.feed(event, now):
                    report.note(place, notice, time.time_ns())
            if now >= tick_at:
                tick_at = now + _TICK_S
                if client.refusal != refusal:
                    refusal = client.refusal
                    if refusal:
                        print(f"apx-sanity: {refusal}", file=sys.stderr)
                for place, notice in checks.tick(now, client.counters.malformed, client.last_error):
                    report.note(place, notice, time.time_ns())
            if arguments.runs is not None and checks.runs_ended >= arguments.runs:
                break
        for place, notice in checks.settle(now):
            report.note(place, notice, time.time_ns())
        counters = client.counters
    messages = sum(counters.messages.values())
    report.finish(
        {"messages": messages, "runs": checks.runs_ended, "readouts": counters.readouts, "hits": counters.hits}
    )
    return report.exit_code


if __name__ == "__main__":
    sys.exit(main())
