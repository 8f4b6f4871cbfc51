"""`apx info`: what is in a recording, from one pass over it."""

import argparse
import json
import sys
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from rich.console import Console
from rich.table import Table
from rich.text import Text

from apx.recording import open_recording
from apx.subcommand import add_chips, add_parser, add_recordings, for_each, recordings_of
from apx.terminal import moment, say
from protocol.block import ReadoutBlock
from protocol.ledger import BYTE_COUNTS, Ledger
from protocol.text import counted, printable

_HEADER_WIDTH = 100


def add_to(programs: "argparse._SubParsersAction[argparse.ArgumentParser]") -> None:
    """Register the subcommand."""
    parser = add_parser(
        programs,
        "info",
        run,
        "say what is in recordings: header, readouts, hits, rates, where every byte went",
        """
        apx info run_000012_0000.apx
        apx info --json data/*/*.apx | jq '[.path, .hits]'
        """,
    )
    add_recordings(parser)
    add_chips(parser)
    parser.add_argument("--header", action="store_true", help="print the header in full, not a line per key")
    parser.add_argument("--json", action="store_true", help="one JSON object per file, with the whole header")


def run(arguments: argparse.Namespace) -> int:
    """Report on each file; returns the exit code."""

    def report(path: Path) -> bool:
        with open_recording(path) as recording:
            summary = RecordingSummary(
                str(path),
                recording.size_bytes,
                recording.header_bytes,
                recording.header.readout_class().__name__,
                recording.header.content,
            )
            decoder = recording.header.decoder(arguments.chips)
            for block in recording.blocks():
                summary.add(block)
                decoder.decode(block)
            decoder.flush()
            summary.settle(decoder.ledger, recording.leftover_bytes)
            complete = recording.complete()
        if arguments.json:
            print(json.dumps(summary.to_dict()))
        else:
            _print(summary, arguments.header)
        return complete

    return for_each(recordings_of(arguments), report)


@dataclass
class RecordingSummary:
    """What `apx info` says of a file; sizes in bytes, time stamps in ns since the epoch, rates per second.

    `first_readout_id` … `timestamp_last` are None for a file without readouts; rates, and `duration_s`, where the time
    stamps do not tell. `id_breaks`: readouts whose id is not that of the one before plus one.
    """

    path: str
    size_bytes: int
    header_bytes: int
    readout_class: str
    header: dict[str, Any]
    readouts: int = 0
    data_bytes: int = 0
    readout_bytes_min: int | None = None
    readout_bytes_max: int | None = None
    first_readout_id: int | None = None
    last_readout_id: int | None = None
    id_breaks: int = 0
    timestamp_first_ns: int | None = None
    timestamp_last_ns: int | None = None
    leftover_bytes: int = 0
    ledger: Ledger = field(default_factory=Ledger)

    def add(self, block: ReadoutBlock) -> None:
        """Count the next readouts; `block` is not empty."""
        sizes = np.diff(block.offsets)
        smallest, largest = int(sizes.min()), int(sizes.max())
        if self.readout_bytes_min is None or self.readout_bytes_max is None:
            self.readout_bytes_min, self.readout_bytes_max = smallest, largest
        self.readout_bytes_min = min(self.readout_bytes_min, smallest)
        self.readout_bytes_max = max(self.readout_bytes_max, largest)
        ids = block.readout_id.astype(np.int64)
        self.id_breaks += int(np.count_nonzero(np.diff(ids) != 1))
        if self.last_readout_id is not None:
            self.id_breaks += int(ids[0]) != self.last_readout_id + 1
        if self.first_readout_id is None:
            self.first_readout_id = int(ids[0])
            self.timestamp_first_ns = int(block.timestamp[0])
        self.last_readout_id = int(ids[-1])
        self.timestamp_last_ns = int(block.timestamp[-1])
        self.readouts += len(block)
        self.data_bytes += len(block.data)

    def settle(self, ledger: Ledger, leftover_bytes: int) -> None:
        """Add what is known when everything was decoded."""
        self.ledger = ledger
        self.leftover_bytes = leftover_bytes

    @property
    def duration_s(self) -> float | None:
        """From the first time stamp to the last."""
        if self.timestamp_first_ns is None or self.timestamp_last_ns is None:
            return None
        duration_ns = self.timestamp_last_ns - self.timestamp_first_ns
        return duration_ns / 1e9 if duration_ns > 0 else None

    def rate(self, count: int) -> float | None:
        """`count` per second of the recording."""
        return None if self.duration_s is None else count / self.duration_s

    @property
    def chip_hits(self) -> dict[int, int]:
        """Hits of each chip that has any."""
        return {chip: hits for chip, hits in enumerate(self.ledger.chip_hits) if hits}

    def to_dict(self) -> dict[str, Any]:
        """All of it, as JSON can carry it."""
        return asdict(self) | {
            "hits": self.ledger.hits,
            "chip_hits": {str(chip): hits for chip, hits in self.chip_hits.items()},
            "duration_s": self.duration_s,
            "readouts_per_s": self.rate(self.readouts),
            "hits_per_s": self.rate(self.ledger.hits),
            "bytes_per_s": self.rate(self.data_bytes),
        }


def _moment(timestamp_ns: int | None) -> str:
    return moment(timestamp_ns) if timestamp_ns else "not known"


def _per_second(rate: float | None) -> str:
    return "" if rate is None else f", {rate:.6g}/s"


def _header_lines(summary: RecordingSummary, full: bool) -> list[tuple[str, str]]:
    if full:
        text = json.dumps(summary.header, indent=2)
        return [("header" if number == 0 else "", line) for number, line in enumerate(text.splitlines())]
    lines = []
    for key, value in summary.header.items():
        text = json.dumps(value)
        lines.append((f"  {key}", text if len(text) <= _HEADER_WIDTH else f"{text[: _HEADER_WIDTH - 1]}…"))
    return [("header", f"{summary.header_bytes} bytes, {summary.readout_class}"), *lines]


def _lines(summary: RecordingSummary, full_header: bool) -> list[tuple[str, str]]:
    """A name and a value for each line."""
    ledger = summary.ledger
    mean = f"{summary.data_bytes / summary.readouts:.1f}" if summary.readouts else "-"
    lines = [
        *_header_lines(summary, full_header),
        ("size", f"{summary.size_bytes} bytes"),
        ("readouts", f"{summary.readouts}{_per_second(summary.rate(summary.readouts))}"),
    ]
    if summary.readouts:
        lines += [
            (
                "  ids",
                f"{summary.first_readout_id} to {summary.last_readout_id}, {counted(summary.id_breaks, 'break')}",
            ),
            ("  bytes", f"{summary.readout_bytes_min} to {summary.readout_bytes_max}, {mean} on average"),
            ("  first", _moment(summary.timestamp_first_ns)),
            ("  last", _moment(summary.timestamp_last_ns)),
        ]
        if summary.duration_s is not None:
            lines.append(("  duration", f"{summary.duration_s:.3f} s"))
    lines += [
        ("data", f"{summary.data_bytes} bytes{_per_second(summary.rate(summary.data_bytes))}"),
        *((f"  {name}", str(getattr(ledger, name))) for name in BYTE_COUNTS),
        ("hits", f"{ledger.hits}{_per_second(summary.rate(ledger.hits))}"),
        *((f"  chip {chip}", str(hits)) for chip, hits in summary.chip_hits.items()),
        ("  rejoined", str(ledger.rejoined_hits)),
        ("  restored", f"{ledger.restored_hits} ({ledger.restored_bytes} bytes)"),
        ("  dropped", str(ledger.dropped_hits)),
    ]
    if summary.leftover_bytes:
        lines.append(("left over", f"{summary.leftover_bytes} bytes after the last whole readout"))
    return lines


def _print(summary: RecordingSummary, full_header: bool) -> None:
    lines = _lines(summary, full_header)
    if sys.stdout.isatty():
        table = Table(title=Text(printable(summary.path)), title_justify="left", show_header=False, pad_edge=False)
        for name, value in lines:
            table.add_row(Text(printable(name)), Text(printable(value)))
        Console().print(table)
        return
    say(summary.path)
    width = max(len(name) for name, _ in lines) + 2
    for name, value in lines:
        say(f"{name:{width}}{value}".rstrip())
