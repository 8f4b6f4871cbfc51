"""`apx-sanity alarms`, `ack`, `silence`, `unsilence`: talk to the one that is running."""

import argparse
import json
import sys
import time
from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from astropix_runtime.command_line.arguments import seconds_or_inf
from astropix_runtime.command_line.program import FAILED, MISUSE, OneLineParser
from astropix_runtime.errors import RequestError
from monitor.control import CheckerClient, default_control_endpoint
from monitor.errors import AlarmServiceError, ConfigError, EndpointError, KeysError, MonitorError
from monitor.keys import add_key_arguments, client_keys
from monitor.sanity.alarms.silence_list import Silenced
from monitor.sanity.configuration import load_configuration
from monitor.sanity.recorded.report import alarm_line
from protocol.units import NS_PER_S
from protocol.wire.alarms import Alarm, AlarmLevel

COMMANDS = ("alarms", "ack", "silence", "unsilence")

_EXAMPLES = """\
examples:
  apx-sanity alarms                                       what is wrong, or was and nobody has acknowledged it
  apx-sanity ack noisy_pixel:chip_0_pixel_5/7             somebody has seen it
  apx-sanity ack 'noisy_pixel*' silence                   all noisy pixels, and the alarm called silence
  apx-sanity silence 'tot_*' --for 3600 --reason "new threshold"    call nobody for an hour
  apx-sanity unsilence 'tot_*'                            call again
  apx-sanity alarms -c /etc/astropix-daq/sanity.toml      of the one with that configuration

exit codes:
  0  done; of alarms: none, or all are acknowledged
  1  refused, or nobody answers; of alarms: there are some
  2  the command cannot be meant so
"""


def build_parser() -> OneLineParser:
    """The command line."""
    parser = OneLineParser(prog="apx-sanity", description="Talk to the running apx-sanity.", epilog=_EXAMPLES)
    commands = parser.add_subparsers(dest="command", required=True, metavar="COMMAND")
    for name, text in (
        ("alarms", "list the alarms and who is silenced"),
        ("ack", "acknowledge alarms: what is over leaves the list, what is not stays until it is"),
        ("silence", "call nobody for some alarms, for a while; they are shown all the same"),
        ("unsilence", "take back a silence"),
    ):
        command = commands.add_parser(name, help=text, description=text[0].upper() + text[1:] + ".", epilog=_EXAMPLES)
        command.add_argument("--json", action="store_true", help="print the answer as JSON")
        where = command.add_mutually_exclusive_group()
        where.add_argument("-c", "--config", type=Path, metavar="FILE", help="its configuration; says where it listens")
        where.add_argument("--name", default="bench", help="its name (sanity.name; default %(default)s)")
        where.add_argument("--control", metavar="ENDPOINT", help="its control endpoint")
        add_key_arguments(command.add_argument_group("where it takes only keys"), "its public key (NAME.key)")
        if name == "ack":
            command.add_argument(
                "ids", nargs="+", metavar="ID", help="id of an alarm, a check, or a pattern with * ? []"
            )
        elif name != "alarms":
            command.add_argument("pattern", metavar="PATTERN", help="id of an alarm, a check, or a pattern with * ? []")
        if name == "silence":
            command.add_argument(
                "--for",
                dest="for_s",
                type=seconds_or_inf,
                default=3600.0,
                metavar="S",
                help="seconds (default %(default)g)",
            )
            command.add_argument("--reason", default="", help="for those who see the list")
    return parser


def command_main(argv: Sequence[str]) -> int:
    """Run one of `COMMANDS`; returns the exit code."""
    parser = build_parser()
    arguments = parser.parse_args(argv)
    return parser.run(lambda: _command(arguments), (MonitorError, RequestError), _code_of, unread=FAILED)


def _command(arguments: argparse.Namespace) -> int:
    endpoint = _endpoint(arguments)
    keys = client_keys(arguments.server_key, arguments.key, endpoint)
    with CheckerClient(endpoint, keys=keys) as client:
        result = client.call(arguments.command, **_wishes(arguments))
    try:
        return _tell(arguments, result)
    except (KeyError, TypeError, ValidationError):
        raise AlarmServiceError("it answers as another version does: --json prints what it said") from None


def _code_of(error: Exception) -> int:
    misused = isinstance(error, (ConfigError, EndpointError, KeysError))
    return MISUSE if misused or getattr(error, "code", "") == "bad_arguments" else FAILED


def _endpoint(arguments: argparse.Namespace) -> str:
    if arguments.control:
        return str(arguments.control)
    if arguments.config:
        return load_configuration(arguments.config).file.control_endpoint
    return default_control_endpoint(arguments.name)


def _wishes(arguments: argparse.Namespace) -> dict[str, Any]:
    return {
        name: getattr(arguments, name) for name in ("ids", "pattern", "for_s", "reason") if hasattr(arguments, name)
    }


def _tell(arguments: argparse.Namespace, result: dict[str, Any]) -> int:
    alarms = [Alarm.model_validate(each) for each in result["alarms"]] if arguments.command == "alarms" else []
    if arguments.json:
        print(json.dumps(result, ensure_ascii=False), flush=True)
    elif arguments.command == "alarms":
        _print_alarms(alarms, [Silenced.model_validate(each) for each in result["silences"]])
    else:
        ((_, ids),) = ((name, value) for name, value in result.items() if isinstance(value, list))
        for each in ids:
            print(each)
        if "until_ns" in result:
            print(f"{arguments.pattern} is silenced until {_clock(result['until_ns'])}")
        sys.stdout.flush()
    return int(any(not alarm.acknowledged for alarm in alarms))


def _print_alarms(alarms: Sequence[Alarm], silences: Sequence[Silenced]) -> None:
    now_ns = time.time_ns()
    for alarm in alarms:
        marks = [name for name in ("acknowledged", "silenced") if getattr(alarm, name)]
        if alarm.level is AlarmLevel.OK:
            marks.append(f"over since {_clock(alarm.last_ns)}")
        age_s = max(now_ns - alarm.since_ns, 0) // NS_PER_S
        run = "" if alarm.run is None else f" run {alarm.run}"
        print(
            f"{_clock(alarm.since_ns)} ({age_s} s){run} {alarm_line(alarm)}"
            + (f" ({', '.join(marks)})" if marks else "")
        )
    for silenced in silences:
        until = "as long as it is configured" if silenced.until_ns is None else f"until {_clock(silenced.until_ns)}"
        print(f"silenced: {silenced.pattern} {until}" + (f", {silenced.reason}" if silenced.reason else ""))
    if not alarms:
        print("no alarms")
    sys.stdout.flush()


def _clock(time_ns: int) -> str:
    return f"{datetime.fromtimestamp(time_ns / 1e9, UTC):%Y-%m-%dT%H:%M:%SZ}"
