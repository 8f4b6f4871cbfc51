"""`apx dump`: the hits of a recording as lines of text, or its bytes and what each was taken for."""

import argparse
import json
import sys
from collections.abc import Iterator
from pathlib import Path

import numpy as np

from apx.hex_view import HexView
from apx.recording import Recording, chosen_columns, open_recording
from apx.subcommand import (
    MisuseError,
    add_chips,
    add_parser,
    add_recordings,
    add_timestamp_order,
    for_each,
    recordings_of,
)
from apx.terminal import COLOUR_CHOICES, say, wants_colour
from astropix_runtime.command_line.arguments import whole_number
from protocol.block import ReadoutBlock
from protocol.hit import HitTable
from protocol.readout_decoder import ReadoutDecoder

_WIDTHS = {"timestamp": 19, "readout_id": 10, "tot_us": 8}


def add_to(programs: "argparse._SubParsersAction[argparse.ArgumentParser]") -> None:
    """Register the subcommand."""
    parser = add_parser(
        programs,
        "dump",
        run,
        "print the hits of recordings, or their bytes and what each was taken for",
        """
        apx dump run.apx --count 20
        apx dump run.apx --columns readout_id,row,column,tot_us
        apx dump run.apx --hex --first 100 --count 5 --color always | less -R
        """,
    )
    add_recordings(parser)
    view = parser.add_mutually_exclusive_group()
    view.add_argument("--hits", action="store_true", help="a line per hit (default)")
    view.add_argument("--hex", action="store_true", help="the bytes of each readout, by what they were taken for")
    parser.add_argument(
        "--first", type=whole_number(), metavar="ID", help="begin with the first readout of this id or more"
    )
    parser.add_argument("--count", type=whole_number(), metavar="N", help="so many readouts at most")
    parser.add_argument(
        "--columns", metavar="A,B,…", help="columns to print for each hit, in this order (default: all)"
    )
    add_chips(parser)
    add_timestamp_order(parser)
    parser.add_argument(
        "--color", choices=COLOUR_CHOICES, default="auto", help="colours: auto (default) is on a terminal, no NO_COLOR"
    )
    parser.add_argument("--json", action="store_true", help="one JSON object per hit, or with --hex per readout")


def run(arguments: argparse.Namespace) -> int:
    """Print each file; returns the exit code."""
    if arguments.hex and arguments.columns is not None:
        raise MisuseError("--columns is for hits, not for --hex")
    paths = recordings_of(arguments)
    several = len(paths) > 1

    def show(path: Path) -> bool:
        with open_recording(path, arguments.timestamp_order, prints=True) as recording:
            if several and not arguments.json:
                say(f"== {path}")
            to_the_end = _dump_hex(recording, arguments) if arguments.hex else _dump_hits(recording, arguments)
            return recording.complete() if to_the_end else True

    return for_each(paths, show)


class _Part:
    """The readouts to show: from the first whose id is `first` or more, at most `count`."""

    def __init__(self, first: int | None, count: int | None) -> None:
        self._first = first
        self._left = count

    def over(self) -> bool:
        return self._left == 0

    def split(self, block: ReadoutBlock) -> tuple[ReadoutBlock, ReadoutBlock]:
        """The readouts of `block` before the part, and those in it."""
        begin = 0
        if self._first is not None:
            beyond = np.flatnonzero(block.readout_id >= self._first)
            if len(beyond) == 0:
                return block, ReadoutBlock.empty()
            begin, self._first = int(beyond[0]), None
        end = len(block) if self._left is None else min(len(block), begin + self._left)
        if self._left is not None:
            self._left -= end - begin
        return block[:begin], block[begin:end]


def _parts(recording: Recording, decoder: ReadoutDecoder, part: _Part) -> Iterator[ReadoutBlock]:
    """The readouts to show; those before them go through the decoder, which may carry a hit into the first."""
    if part.over():
        return
    for block in recording.blocks():
        before, wanted = part.split(block)
        decoder.decode(before)
        if len(wanted):
            yield wanted
        if part.over():
            return


def _dump_hits(recording: Recording, arguments: argparse.Namespace) -> bool:
    """Print the hits; whether the file was read to its end."""
    columns = chosen_columns(arguments.columns, recording.hit_class)
    decoder = recording.header.decoder(arguments.chips)
    part = _Part(arguments.first, arguments.count)
    # one %-format for the whole line is the fastest that Python has
    line = " ".join(f"%{max(len(name), _WIDTHS.get(name, 0))}s" for name in columns) + "\n"
    if not arguments.json:
        print(line % columns, end="")

    def show(table: HitTable) -> None:
        rows = zip(*(table[name].tolist() for name in columns), strict=True)
        if arguments.json:
            sys.stdout.writelines(json.dumps(dict(zip(columns, row, strict=True))) + "\n" for row in rows)
        else:
            sys.stdout.writelines(line % row for row in rows)

    for wanted in _parts(recording, decoder, part):
        for slice_ in wanted.cut(1 << 16):
            show(decoder.decode(slice_))
    if part.over():
        return False
    show(decoder.flush())
    return True


def _dump_hex(recording: Recording, arguments: argparse.Namespace) -> bool:
    """Print the bytes; whether the file was read to its end."""
    decoder = recording.header.decoder(arguments.chips)
    part = _Part(arguments.first, arguments.count)
    view = HexView(decoder, colour=wants_colour(arguments.color, sys.stdout))
    if not arguments.json:
        print(view.legend())
    for wanted in _parts(recording, decoder, part):
        for index in range(len(wanted)):
            readout = view.examine(wanted[index : index + 1])
            if arguments.json:
                print(json.dumps(readout.to_dict()))
            else:
                sys.stdout.writelines(f"{line}\n" for line in view.lines(readout))
    if part.over():
        return False
    if not arguments.json and decoder.carried:
        print(view.last_line())
    return True
