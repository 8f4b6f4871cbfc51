"""`apx convert`: the hits of recordings, for other programs to read."""

import argparse
import json
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import BinaryIO

from apx.export import EXPORT_FORMATS, ExportFormat
from apx.new_file import new_file, output_paths
from apx.recording import chosen_columns, open_recording
from apx.subcommand import (
    MisuseError,
    add_chips,
    add_output,
    add_parser,
    add_recordings,
    add_timestamp_order,
    for_each,
    recordings_of,
)
from apx.terminal import say
from protocol.text import counted

_STDOUT = Path("-")


def add_to(programs: "argparse._SubParsersAction[argparse.ArgumentParser]") -> None:
    """Register the subcommand."""
    parser = add_parser(
        programs,
        "convert",
        run,
        "decode recordings and write their hits in another format",
        """
        apx convert run_000012_0000.apx --format csv
        apx convert data/run_000012 --format csv --output tables/
        apx convert run.apx --format csv --columns row,column,tot_us --output - | head
        """,
    )
    add_recordings(parser)
    formats = "; ".join(f"{each.name}: {each.description}" for each in EXPORT_FORMATS.values())
    parser.add_argument("--format", choices=sorted(EXPORT_FORMATS), required=True, help=formats)
    add_output(parser, "file or directory to write to (default: beside each recording; - for standard output)")
    parser.add_argument("--columns", metavar="A,B,…", help="columns to write, in this order (default: all)")
    add_chips(parser)
    add_timestamp_order(parser)
    parser.add_argument("--json", action="store_true", help="report as one JSON object per file")


def run(arguments: argparse.Namespace) -> int:
    """Convert each file; returns the exit code."""
    paths = recordings_of(arguments)
    to_stdout = arguments.output == _STDOUT
    if to_stdout and (len(paths) > 1 or arguments.json):
        raise MisuseError("standard output takes the hits of one file, and no report beside them")
    form = EXPORT_FORMATS[arguments.format]
    if to_stdout and form.seeks:
        raise MisuseError(f"{form.name} cannot be written to standard output: give a file as --output")
    outputs = [_STDOUT] if to_stdout else output_paths(paths, arguments.output, form.suffix)
    targets = dict(zip(paths, outputs, strict=True))
    return for_each(paths, lambda path: _convert(path, targets[path], form, arguments))


@contextmanager
def _opened(output: Path, force: bool) -> Iterator[BinaryIO]:
    if output == _STDOUT:
        yield sys.stdout.buffer
        return
    with new_file(output, force=force) as file:
        yield file


def _convert(path: Path, output: Path, form: ExportFormat, arguments: argparse.Namespace) -> bool:
    with open_recording(path, arguments.timestamp_order, prints=output == _STDOUT) as recording:
        columns = chosen_columns(arguments.columns, recording.hit_class)
        decoder = recording.header.decoder(arguments.chips)
        with _opened(output, arguments.force) as file, form.writer(file, recording.header, columns) as write_hits:
            for block in recording.blocks():
                write_hits(decoder.decode(block))
            write_hits(decoder.flush())
        complete = recording.complete()
    ledger = decoder.ledger
    if arguments.json:
        report = {
            "input": str(path),
            "output": str(output),
            "format": form.name,
            "readouts": ledger.readouts,
            "hits": ledger.hits,
            "leftover_bytes": recording.leftover_bytes,
        }
        print(json.dumps(report))
    elif output != _STDOUT:
        say(f"{output}: {counted(ledger.hits, 'hit')} of {counted(ledger.readouts, 'readout')}")
    return complete
