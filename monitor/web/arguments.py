"""The command line of `apx-monitor serve`."""

from pathlib import Path

from astropix_runtime.command_line.arguments import port
from astropix_runtime.command_line.program import ProgramParser
from monitor.client import DEFAULT_ALARM_ENDPOINT, DEFAULT_ENDPOINT
from monitor.keys import add_alarm_key_argument, add_key_arguments

EXAMPLES = """\
examples:
  apx-monitor serve                                  the daemon on this computer, at http://127.0.0.1:8050
  apx-monitor serve --plots my_plots.py              with plots of your own (docs/monitor.md)
  apx-monitor serve --address 0.0.0.0 --cert cert.pem --key-file key.pem
                                                     for other computers: TLS, and the token that it prints
  apx-monitor serve --operator-token-file operator.token --control ipc:///run/astropix-daq/bench.ipc
                                                     who has that token may start and stop runs on the page;
                                                     --alarm-control: acknowledge and silence alarms

  http://127.0.0.1:8050/metrics                      for Prometheus
  http://127.0.0.1:8050/state.json                   everything, for programs
  http://127.0.0.1:8050/snapshot.png                 a picture, for a logbook
"""


def add_serve_arguments(serve: ProgramParser) -> None:
    """Arguments of `apx-monitor serve`."""
    serve.add_argument("--connect", metavar="ENDPOINT", default=DEFAULT_ENDPOINT, help="stream (default %(default)s)")
    add_key_arguments(serve)
    serve.add_argument(
        "--alarms",
        metavar="ENDPOINT",
        default=DEFAULT_ALARM_ENDPOINT,
        help="stream of a sanity checker (default %(default)s)",
    )
    add_alarm_key_argument(serve)
    serve.add_argument("--no-history", dest="history", action="store_false", help="only what comes from now on")
    serve.add_argument("--plots", type=Path, metavar="FILE.py", help="a Python file with PLOTS of your own")
    where = serve.add_argument_group("where")
    where.add_argument("--address", default="127.0.0.1", help="address to listen at (default %(default)s)")
    where.add_argument("--port", type=port, default=8050, help="port, 0: any free one (default %(default)s)")
    where.add_argument("--cert", type=Path, metavar="FILE", help="certificate for TLS (PEM)")
    where.add_argument("--key-file", type=Path, metavar="FILE", help="the key to it (PEM)")
    where.add_argument("--token-file", type=Path, metavar="FILE", help="token that browsers need (default: a new one)")
    where.add_argument("--insecure", action="store_true", help="let everybody who can reach the address look")
    command = serve.add_argument_group("what the operator may do from the page")
    command.add_argument("--operator-token-file", type=Path, metavar="FILE", help="token of who may")
    command.add_argument("--control", metavar="ENDPOINT", help="start and stop runs: control socket of the daemon")
    command.add_argument(
        "--alarm-control", metavar="ENDPOINT", help="acknowledge and silence alarms: control socket of apx-sanity"
    )
