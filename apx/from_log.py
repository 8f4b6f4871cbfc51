"""`apx from-log`: older text recordings become `.apx` files."""

import argparse
import io
import json
import lzma
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TextIO

from apx.new_file import new_file, output_paths
from apx.subcommand import MisuseError, ToolError, add_files, add_output, add_parser, for_each
from apx.terminal import complain, progress, say
from protocol.apx import FileHeader
from protocol.chips.chip_type import chip_types
from protocol.errors import TextLogError
from protocol.readout import AbstractAstroPixReadout
from protocol.text import counted
from protocol.textlog import OPTIONS_KEY, TextLog

_XZ_MAGIC = b"\xfd7zXZ\x00"
_SHOWN = 10


def add_to(programs: "argparse._SubParsersAction[argparse.ArgumentParser]") -> None:
    """Register the subcommand."""
    parser = add_parser(
        programs,
        "from-log",
        run,
        "convert older text recordings (.log, plain or .xz) to .apx",
        """
        apx from-log threshold_40mV.log
        apx from-log scans/*.log.xz --output converted/
        """,
    )
    add_files(parser, "text recordings, plain or compressed with xz")
    add_output(parser, "file or directory to write to (default: beside each recording, ending in .apx)")
    parser.add_argument("--json", action="store_true", help="report as one JSON object per file")


def run(arguments: argparse.Namespace) -> int:
    """Convert each file; returns the exit code."""
    paths: list[Path] = arguments.files
    if arguments.output == Path("-"):
        raise MisuseError("an .apx file cannot go to standard output: give a file or directory")
    targets = dict(zip(paths, output_paths(paths, arguments.output, ".apx"), strict=True))
    return for_each(paths, lambda path: _convert(path, targets[path], arguments))


@dataclass
class _Report:
    """What was written, and what of the text could not be used."""

    input: str
    output: str
    readouts: int = 0
    half_bytes: int = 0
    cut_readouts: int = 0
    ignored_characters: int = 0

    @property
    def all_used(self) -> bool:
        return not (self.half_bytes or self.cut_readouts or self.ignored_characters)


@contextmanager
def _opened_text(path: Path) -> Iterator[tuple[TextIO, Callable[[], None]]]:
    """The text of a recording, and a function that moves the progress bar to where the reading is."""
    with ExitStack() as stack:
        raw = stack.enter_context(path.open("rb"))
        advance = stack.enter_context(progress(path, path.stat().st_size if path.is_file() else 0))
        data: io.BufferedReader | lzma.LZMAFile = raw
        if raw.peek(len(_XZ_MAGIC)).startswith(_XZ_MAGIC):
            data = stack.enter_context(lzma.LZMAFile(raw))
        # paths written on Windows can hold bytes of its own code page; as escapes they stay readable literals
        text = io.TextIOWrapper(data, encoding="utf-8-sig", errors="backslashreplace")
        yield text, lambda: advance(raw.tell() if raw.seekable() else 0)


def _convert(path: Path, output: Path, arguments: argparse.Namespace) -> bool:
    report = _Report(str(path), str(output))
    try:
        with _opened_text(path) as (text, advance):
            log = TextLog(text)
            readout_class = _readout_class(path, log)
            with new_file(output, force=arguments.force) as file:
                file.write(FileHeader(readout_class, log.header).to_bytes())
                for row in log:
                    # a text recording has no time stamps
                    readout_class(row.data, row.readout_id, timestamp=0).write(file)
                    report.readouts += 1
                    report.cut_readouts += row.cut
                    if row.half_byte:
                        report.half_bytes += 1
                        _say_half_byte(path, report.half_bytes, row.line_number, row.readout_id)
                    if report.readouts % 256 == 0:
                        advance()
            report.ignored_characters = log.ignored_tail
    except TextLogError as error:
        raise ToolError(f"{path}: {error}") from None
    except lzma.LZMAError as error:
        raise ToolError(f"{path}: damaged xz file: {error}") from None
    except EOFError:
        raise ToolError(
            f"{path}: the xz file is cut; decompress what is there (xz -dc {path.name} > part.log), then convert that"
        ) from None
    return _finish(path, report, arguments.json)


def _readout_class(path: Path, log: TextLog) -> type[AbstractAstroPixReadout]:
    options = log.header.get(OPTIONS_KEY)
    version = options.get("chipVer", 4) if isinstance(options, dict) else 4
    # not by look-up: a version may be anything that a literal can be
    classes = {chip.number: chip.readout_classes["gecco"] for chip in chip_types() if "gecco" in chip.readout_classes}
    for number, readout_class in classes.items():
        if version == number:
            return readout_class
    known = " and ".join(map(str, classes))
    raise ToolError(f"{path}: recorded with chip version {version!r}: only versions {known} can be converted")


def _say_half_byte(path: Path, count: int, line_number: int, readout_id: int) -> None:
    if count <= _SHOWN:
        complain(
            f"{path}: line {line_number}: readout {readout_id} has an odd number of hex digits; "
            "its last digit, half a byte, was left out"
        )


def _finish(path: Path, report: _Report, as_json: bool) -> bool:
    if report.half_bytes > _SHOWN:
        complain(f"{path}: {report.half_bytes} readouts in all have an odd number of hex digits")
    if report.cut_readouts:
        complain(f"{path}: the file ends within its last readout, which was taken as far as it goes")
    if report.ignored_characters:
        complain(f"{path}: the last {report.ignored_characters} characters are no whole readout and were left out")
    if as_json:
        print(json.dumps(vars(report)))
    else:
        say(f"{report.output}: {counted(report.readouts, 'readout')}")
    return report.all_used
