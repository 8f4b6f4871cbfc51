"""`apx-monitor`: looks at the stream of a daemon or a replay."""

import argparse
import sys
import time
from collections.abc import Sequence

from astropix_runtime.command_line.arguments import seconds_or_inf, whole_number
from astropix_runtime.command_line.program import FAILED, MISUSE, OneLineParser
from astropix_runtime.process.signals import ended_by_signals
from monitor.alarm_receiver import AlarmReceiver, alarm_client
from monitor.client import DEFAULT_ALARM_ENDPOINT, DEFAULT_ENDPOINT, StreamClient
from monitor.control import AlarmActions, default_control_endpoint
from monitor.detector import Geometry
from monitor.errors import EndpointError, KeysError, MisuseError, MonitorError, NothingReceivedError
from monitor.events import StatMessage
from monitor.keys import add_alarm_key_argument, add_key_arguments, daemon_keys
from monitor.state.detector_state import DetectorState
from monitor.terminal.alarms import summary as alarm_summary
from monitor.terminal.status_lines import one_line
from monitor.web.arguments import EXAMPLES as SERVE_EXAMPLES
from monitor.web.arguments import add_serve_arguments
from protocol.version import __version__

_EXAMPLES = """\
examples:
  apx-monitor watch                                  the daemon on this computer; on a terminal, a screen of plots
  apx-monitor watch --connect tcp://daq-pc:5556 --server-key daq-pc.key --key alice.key_secret
                                                     another computer's, with the keys of daqctl keygen
  apx-monitor watch --once --json | jq .hits_hz      the state now, for scripts
  apx-monitor watch | tee watch.log                  one line a second
  apx-monitor serve                                  a page for browsers (apx-monitor serve --help)

keys of the screen:
  c C  next, previous chip     l  logarithmic or linear            m  the last minute, or all of the run
  t    rates: 10 min, 1 h, 12 h     f  freeze     r  empty the histograms     q  quit
  a    alarms: acknowledge, silence

exit codes:
  0  fine
  1  nothing was received (--once), or the page cannot be served there
  2  the command cannot be meant so
"""


_GATHER_S = 0.05
_LOOK_S = 0.2
_END_WITHIN_S = 5
"""A terminal that takes no more output would keep us for ever."""


def build_parser() -> OneLineParser:
    """The command line."""
    parser = OneLineParser(prog="apx-monitor", description="Look at the stream of a detector.", epilog=_EXAMPLES)
    parser.add_argument("--version", action="version", version=f"apx-monitor (astropix-daq) {__version__}")
    commands = parser.add_subparsers(title="commands", metavar="COMMAND", required=True)
    watch = commands.add_parser(
        "watch",
        help="rates, losses, hit maps and spectra in the terminal",
        description="Show rates, losses, hit maps and spectra; one line a second where the output is no terminal.",
        epilog=_EXAMPLES,
    )
    watch.add_argument(
        "--connect", metavar="ENDPOINT", default=DEFAULT_ENDPOINT, help="stream to watch (default %(default)s)"
    )
    add_key_arguments(watch)
    watch.add_argument(
        "--no-history",
        dest="history",
        action="store_false",
        help="only what comes from now on; do not ask for what the run has brought so far, or for what was missed",
    )
    watch.add_argument(
        "--alarms",
        metavar="ENDPOINT",
        help=f"show the alarms of the sanity checker that publishes there (default {DEFAULT_ALARM_ENDPOINT})",
    )
    add_alarm_key_argument(watch)
    watch.add_argument(
        "--alarm-control",
        metavar="ENDPOINT",
        help="where they are acknowledged: control socket of that checker (default: of the one called bench)",
    )
    watch.add_argument("--page", metavar="URL", default="", help="where apx-monitor serve runs: shown on the screen")
    watch.add_argument("--once", action="store_true", help="wait for the state, print it, and end")
    watch.add_argument("--json", action="store_true", help="with --once: everything, histograms too, as JSON")
    watch.add_argument(
        "--timeout", type=seconds_or_inf, default=5.0, metavar="S", help="with --once: wait at most so long (default 5)"
    )
    pixels = Geometry()
    watch.add_argument(
        "--chips", type=whole_number(1, 32), default=pixels.chips, help="chips in the chain (default: any)"
    )
    watch.add_argument("--rows", type=whole_number(1, 64), help="rows of a chip (default: as its version has)")
    watch.add_argument("--columns", type=whole_number(1, 64), help="columns (default: as its version has)")
    watch.set_defaults(run=run_watch)
    page = commands.add_parser(
        "serve",
        help="a page for browsers, and what Prometheus and other programs ask for",
        description="Serve a page with hit maps, spectra, rates, losses and alarms to any number of browsers.",
        epilog=SERVE_EXAMPLES,
    )
    add_serve_arguments(page)
    page.set_defaults(run=run_serve)
    return parser


def main(argv: Sequence[str] | None = None) -> int:
    """Run `apx-monitor`; returns the exit code. `SystemExit` for --help, --version and what argparse refuses."""
    parser = build_parser()
    arguments = parser.parse_args(argv)
    if getattr(arguments, "json", False) and not arguments.once:
        parser.error("--json goes with --once")
    if getattr(arguments, "once", False) and (arguments.alarms or arguments.alarm_control):
        option = "--alarms" if arguments.alarms else "--alarm-control"
        parser.error(f"{option} does not go with --once: apx-sanity alarms --json has them")
    return parser.run(lambda: arguments.run(arguments), MonitorError, _code_of)


def _code_of(error: MonitorError) -> int:
    return MISUSE if isinstance(error, (EndpointError, KeysError, MisuseError)) else FAILED


def run_watch(arguments: argparse.Namespace) -> int:
    """`apx-monitor watch`."""
    geometry = Geometry(arguments.chips, arguments.rows, arguments.columns)
    client = StreamClient(
        arguments.connect,
        gather_s=0.0 if arguments.once else _GATHER_S,
        history=arguments.history,
        **daemon_keys(arguments),
    )
    if arguments.once:
        with client:
            print_once(client, geometry, arguments.timeout, as_json=arguments.json)
        return 0
    endpoint = arguments.alarms or DEFAULT_ALARM_ENDPOINT
    control = arguments.alarm_control or default_control_endpoint("bench")
    try:
        actions = AlarmActions(control, "a terminal", arguments.alarms_server_key, arguments.key)
        alarms = AlarmReceiver(alarm_client(endpoint, arguments.alarms_server_key, arguments.key))
    except (EndpointError, KeysError):
        client.close()
        raise
    with alarms:
        if sys.stdout.isatty() and sys.stdin.isatty():
            return show_screen(client, geometry, alarms, actions, arguments.page)
        with client:
            print_lines(client, geometry, alarms)
    return 0


def run_serve(arguments: argparse.Namespace) -> int:
    """`apx-monitor serve`."""
    # Bokeh takes a second to import: not for watch.
    from monitor.web.program import serve

    return serve(arguments)


def print_once(client: StreamClient, geometry: Geometry, timeout_s: float, *, as_json: bool) -> None:
    """Print the state as soon as the daemon has told its own, and the run so far is here, or the time is over.

    `NothingReceivedError` where that is nothing.
    """
    state = DetectorState(geometry)
    deadline = time.monotonic() + timeout_s
    with ended_by_signals(client.interrupt):
        while (
            (state.stat is None or client.fetching)
            and not client.interrupted
            and (left_s := deadline - time.monotonic()) > 0
        ):
            event = client.receive(min(left_s, _LOOK_S))
            if event is not None:
                state.feed(event)
            elif client.obstacle:
                raise NothingReceivedError(client.obstacle)
    if state.age_s() is None:
        told = f" ({client.counters.malformed} messages that are none of ours)" if client.counters.malformed else ""
        raise NothingReceivedError(
            f"nothing came from {client.endpoint} within {timeout_s:g} s{told}: "
            "is the daemon running, and is it this address?"
        )
    snapshot = state.snapshot(client.counters)
    print(snapshot.model_dump_json() if as_json else one_line(snapshot, client.endpoint), flush=True)


def print_lines(client: StreamClient, geometry: Geometry, alarms: AlarmReceiver) -> None:
    """Print a line each time that the daemon tells its state, until a signal comes."""
    state = DetectorState(geometry)
    with ended_by_signals(client.interrupt):
        for event in client.events():
            state.feed(event)
            if isinstance(event, StatMessage):
                line = one_line(state.summary(client.counters), client.endpoint)
                wrong = alarm_summary(alarms.alarms)
                print(f"{line} | alarms {wrong}" if wrong else line, flush=True)


def show_screen(
    client: StreamClient, geometry: Geometry, alarms: AlarmReceiver, actions: AlarmActions, page: str = ""
) -> int:
    """Draw on the terminal until q, Ctrl-C or a signal."""
    # Textual takes a quarter of a second to import: not for --once.
    from monitor.receiver import Receiver
    from monitor.terminal.app import WatchApp

    with Receiver(client, geometry) as receiver:
        app = WatchApp(receiver, alarms, actions, page)
        with ended_by_signals(app.end, within_s=_END_WITHIN_S):
            app.run()
    return app.return_code or 0


if __name__ == "__main__":
    sys.exit(main())
