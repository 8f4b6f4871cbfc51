"""The `apx` program: looking at recordings, and turning them into other things."""

import argparse
import sys
from collections.abc import Sequence

from apx import convert, dump, from_log, info, repair, verify
from apx.subcommand import MisuseError, ToolError, indented
from apx.terminal import complain
from astropix_runtime.command_line.output import drop_output, is_of_output
from astropix_runtime.command_line.program import FAILED, INTERRUPTED, MISUSE, ProgramParser
from protocol.errors import ProtocolError
from protocol.text import reason_of
from protocol.version import __version__

_EXAMPLES = """
apx info data/run_000012
apx dump run.apx --hex --first 100 --count 5
apx verify data
apx convert run.apx --format csv
apx from-log threshold_40mV.log.xz
"""

_EXIT_CODES = """
0  fine
1  failed, or something in a file could not be used (said on stderr)
2  the command cannot be meant so
"""


class _Parser(ProgramParser):
    """Reports each error on one line, whatever the names of files contain."""

    def complain(self, text: str, code: int = FAILED) -> None:
        """One line on stderr."""
        complain(text)


def build_parser() -> ProgramParser:
    """The command line of `apx`."""
    parser = _Parser(
        prog="apx",
        description="Look at AstroPix recordings (.apx), verify, repair and convert them.",
        epilog=f"examples:\n{indented(_EXAMPLES)}\n\nexit codes:\n{indented(_EXIT_CODES)}",
    )
    parser.add_argument("--version", action="version", version=f"apx (astropix-daq) {__version__}")
    programs = parser.add_subparsers(title="commands", metavar="COMMAND", required=True)
    for subcommand in (info, dump, verify, repair, convert, from_log):
        subcommand.add_to(programs)
    return parser


def main(argv: Sequence[str] | None = None) -> int:
    """Run `apx` with the arguments `argv` (default: the process's own); returns the exit code.

    `SystemExit` for --help, --version and arguments that argparse refuses.
    """
    parser = build_parser()
    arguments = parser.parse_args(argv)
    return parser.run(lambda: _command(arguments), (ToolError, ProtocolError), _code_of)


def _command(arguments: argparse.Namespace) -> int:
    try:
        code: int = arguments.run(arguments)
    except KeyboardInterrupt:
        drop_output()
        complain("interrupted")
        return INTERRUPTED
    except OSError as error:
        if isinstance(error, BrokenPipeError) or is_of_output(error):
            raise  # reported for all programs alike
        raise ToolError(f"{error.filename + ': ' if error.filename else ''}{reason_of(error)}") from error
    return code


def _code_of(error: Exception) -> int:
    return MISUSE if isinstance(error, MisuseError) else FAILED


if __name__ == "__main__":
    sys.exit(main())
