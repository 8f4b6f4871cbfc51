"""What the subcommands of `apx` have in common: their parsers and options, their errors, their work file by file."""

import argparse
from collections.abc import Callable, Iterable
from pathlib import Path
from textwrap import dedent
from typing import get_args

from apx.terminal import complain
from astropix_runtime.command_line.arguments import chips
from astropix_runtime.command_line.output import is_of_output
from astropix_runtime.storage.run_directory import recordings_in
from protocol.errors import NoRecordingsError, ProtocolError
from protocol.readout_description import TimestampOrder
from protocol.stream_bytes import MAX_CHIPS
from protocol.text import reason_of


class ToolError(Exception):
    """The subcommand failed: exit code 1, one line on stderr."""


class MisuseError(ToolError):
    """The command is invalid: exit code 2, one line on stderr."""


def add_parser(
    programs: "argparse._SubParsersAction[argparse.ArgumentParser]",
    name: str,
    run: Callable[[argparse.Namespace], int],
    purpose: str,
    examples: str,
) -> argparse.ArgumentParser:
    """A subcommand's parser; `purpose` is its line in the program's help, `examples` end its own."""
    parser = programs.add_parser(
        name,
        help=purpose,
        description=f"{purpose[0].upper()}{purpose[1:]}.",
        epilog=f"examples:\n{indented(examples)}",
    )
    parser.set_defaults(run=run)
    return parser


def indented(text: str) -> str:
    """Lines of a help text, two spaces in."""
    return "\n".join(f"  {line}" for line in dedent(text).strip().splitlines())


def add_recordings(parser: argparse.ArgumentParser) -> None:
    """One or more recordings; `recordings_of` takes them."""
    add_files(parser, "recordings (.apx), directories of runs, data directories")


def recordings_of(arguments: argparse.Namespace) -> list[Path]:
    """The recordings that were given; `MisuseError` for a directory without any."""
    try:
        return recordings_in(arguments.files)
    except NoRecordingsError as error:
        raise MisuseError(str(error)) from error


def add_files(parser: argparse.ArgumentParser, what: str) -> None:
    """One or more input files."""
    parser.add_argument("files", nargs="+", type=Path, metavar="FILE", help=what)


def add_output(parser: argparse.ArgumentParser, what: str) -> None:
    """Where to write, and whether to replace what is there."""
    parser.add_argument("--output", "-o", type=Path, metavar="PATH", help=what)
    parser.add_argument("--force", action="store_true", help="replace output files that exist")


def add_chips(parser: argparse.ArgumentParser) -> None:
    """The number of chips in the chain."""
    parser.add_argument(
        "--chips",
        type=chips,
        metavar="N",
        help=f"chips in the chain, 1…{MAX_CHIPS}: only their hits are looked for (default: as the header says)",
    )


def add_timestamp_order(parser: argparse.ArgumentParser) -> None:
    """The byte order of the FPGA's time stamp."""
    parser.add_argument(
        "--timestamp-order",
        choices=get_args(TimestampOrder),
        help="byte order of the FPGA's time stamp in layer frames (default: as the header says)",
    )


def for_each(paths: Iterable[Path], work: Callable[[Path], bool]) -> int:
    """Do `work` on each file and return the exit code: 0, or 1 if one failed or `work` was not content (False).

    A failure is one line on stderr, and the next file gets its turn; `MisuseError` ends it all.
    """
    code = 0
    for path in paths:
        try:
            content = work(path)
        except (MisuseError, BrokenPipeError):
            raise
        except (ProtocolError, ToolError) as error:
            complain(str(error))
            content = False
        except OSError as error:
            if is_of_output(error):
                raise
            complain(f"{error.filename or path}: {reason_of(error)}")
            content = False
        if not content:
            code = 1
    return code
