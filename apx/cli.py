"""The `apx` program: looking at recordings, and turning them into other things."""

import argparse
import sys
from collections.abc import Sequence

from apx import convert, dump, from_log, info, repair, verify
from apx.errors import MisuseError, ToolError
from apx.options import indented
from astropix_runtime.command_line.output import drop_output, is_of_output
from astropix_runtime.command_line.terminal import complain
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

_INTERRUPTED = 130
"""As shells report a program that Ctrl-C ended."""


def build_parser() -> argparse.ArgumentParser:
    """The command line of `apx`."""
    parser = argparse.ArgumentParser(
        prog="apx",
        description="Look at AstroPix recordings (.apx), verify, repair and convert them.",
        epilog=f"examples:\n{indented(_EXAMPLES)}\n\nexit codes:\n{indented(_EXIT_CODES)}",
        formatter_class=argparse.RawDescriptionHelpFormatter,
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
    arguments = build_parser().parse_args(argv)
    try:
        code: int = arguments.run(arguments)
        sys.stdout.flush()
    except BrokenPipeError:
        # whoever read our output has seen enough, as in `apx dump … | head`
        drop_output()
        return 0
    except KeyboardInterrupt:
        drop_output()
        complain("interrupted")
        return _INTERRUPTED
    except MisuseError as error:
        complain(str(error))
        return 2
    except (ToolError, ProtocolError) as error:
        complain(str(error))
        return 1
    except OSError as error:
        if is_of_output(error):
            raise  # `astropix_programs` says it, for all programs alike
        complain(f"{error.filename + ': ' if error.filename else ''}{reason_of(error)}")
        return 1
    return code


if __name__ == "__main__":
    sys.exit(main())
