"""`apx-sanity --once` and `--make-reference`: run quality out of recorded files, in one command."""

import argparse
import json
import os
import sys
import time
from collections.abc import Sequence
from pathlib import Path

from astropix_runtime.command_line.program import ProgramParser
from astropix_runtime.storage.run_directory import recordings_in
from monitor.sanity.check import Check, CheckInput
from monitor.sanity.checks.findings import Place
from monitor.sanity.checks.limits import Limits
from monitor.sanity.checks.reference import Reference, ReferenceCounts
from monitor.sanity.checks.reference_checks import with_reference
from monitor.sanity.configuration import SanityConfiguration
from monitor.sanity.recorded.recorded_files import RecordedChecks
from monitor.sanity.recorded.report import Report
from monitor.sanity.recorded.run_quality import RunQuality
from protocol.errors import NoRecordingsError
from protocol.text import counted


def add_arguments(parser: ProgramParser) -> None:
    """What only recorded files know."""
    group = parser.add_argument_group("recorded files")
    group.add_argument("--once", nargs="+", type=Path, metavar="FILE", help="check these files, or runs, and end")
    group.add_argument("--html", type=Path, metavar="PAGE", help="with --once: also a page with figures, in one file")
    group.add_argument(
        "--reference", type=Path, metavar="REF", help="with --once: what a good run looks like, from --make-reference"
    )
    group.add_argument(
        "--make-reference", nargs="+", type=Path, metavar="FILE", help="keep maps and spectra of these files, and end"
    )
    group.add_argument("-o", "--output", type=Path, metavar="REF", help="with --make-reference: where")


_LIVE_ONLY = ("connect", "duration_s", "runs", "server_key", "key", "history")
_NAMES = {"duration_s": "--for"}


def check_arguments(parser: ProgramParser, arguments: argparse.Namespace) -> None:
    """End with a message where the arguments cannot be meant together, or the files cannot be read."""
    needs = {"html": "once", "reference": "once", "output": "make_reference"}
    for name, other in needs.items():
        if getattr(arguments, name) is not None and not getattr(arguments, other):
            parser.error(f"--{name} belongs to --{other.replace('_', '-')} FILE")
    files: Sequence[Path] = arguments.once or arguments.make_reference or ()
    if not files:
        return
    if arguments.once and arguments.make_reference:
        parser.error("--once or --make-reference: give one of them")
    if arguments.make_reference and arguments.output is None:
        parser.error("--make-reference needs -o REF, where the reference goes")
    mode = "--once" if arguments.once else "--make-reference"
    for name in _LIVE_ONLY:
        if getattr(arguments, name) is not None:
            option = _NAMES.get(name, f"--{name.replace('_', '-')}")
            parser.error(f"{option} is for streams and {mode} for files: give one of them")
    setattr(arguments, "once" if arguments.once else "make_reference", _recordings(parser, files))
    for path in (arguments.html, arguments.output):
        if path is not None and not path.absolute().parent.is_dir():
            parser.error(f"{path} cannot be written: there is no directory {path.absolute().parent}")
        if path is not None and path.exists() and any(path.samefile(file) for file in _inputs(arguments)):
            parser.error(f"{path} is one of the files that are to be read: write to another one")


def _inputs(arguments: argparse.Namespace) -> Sequence[Path]:
    """The files that exist and must stay as they are."""
    files = (*(arguments.once or arguments.make_reference), arguments.reference, arguments.config)
    return [file for file in files if file is not None and file.exists()]


def _recordings(parser: ProgramParser, paths: Sequence[Path]) -> Sequence[Path]:
    try:
        files = recordings_in(paths)
    except (NoRecordingsError, OSError) as error:
        parser.error(str(error))
    for file in files:
        if not os.access(file, os.R_OK) or not file.is_file():
            parser.error(f"{file} is no file that can be read")
    return files


def check_files(arguments: argparse.Namespace, limits: Limits, configuration: SanityConfiguration) -> int:
    """`--once`; returns the exit code."""
    checks: tuple[Check, ...] = configuration.checks
    try:
        reference = None if arguments.reference is None else Reference.load(arguments.reference)
    except (OSError, ValueError) as error:
        return _failed(arguments.reference, error)
    if reference is not None:
        checks = with_reference(checks, reference)
    page = None
    if arguments.html is not None:
        # Only here: it takes longer to load than most files take to be checked.
        from monitor.sanity.recorded.html_report import HtmlReport

        page = HtmlReport(None if reference is None else ReferenceCounts(reference))
    report = Report(as_json=arguments.json, live=False)
    runs: list[RunQuality] = []

    def on_run(place: Place, quality: RunQuality, seen: CheckInput) -> None:
        runs.append(quality)
        if page is not None:
            page.add_run(place, quality, seen)

    chips = arguments.chips or configuration.file.detector.chips
    recorded = RecordedChecks(limits, chips, checks, configuration.limits, on_run)
    interrupted = False
    try:
        for place, notice in recorded.check(arguments.once):
            report.note(place, notice, time.time_ns())
    except KeyboardInterrupt:
        interrupted = True
    checked = {"files": recorded.files, "runs": recorded.runs, "readouts": recorded.readouts, "hits": recorded.hits}
    if page is not None:
        try:
            arguments.html.write_text(page.page(report.summary(checked, interrupted, runs), time.time_ns()), "utf-8")
        except OSError as error:
            _failed(arguments.html, error)
            interrupted = True
    report.finish(checked, interrupted=interrupted, runs=runs)
    return report.exit_code or int(interrupted)


def make_reference(arguments: argparse.Namespace, limits: Limits) -> int:
    """`--make-reference`; returns the exit code."""
    references: list[Reference] = []

    def on_run(place: Place, quality: RunQuality, seen: CheckInput) -> None:
        references.append(Reference.of(seen.counts, quality.live_s, str(place)))

    for place, notice in RecordedChecks(limits, arguments.chips, on_run=on_run).check(arguments.make_reference):
        if notice.check.name == "unreadable":
            print(f"apx-sanity: {place}: {notice.text}", file=sys.stderr)
            return 1
    try:
        reference = Reference.joined(references)
        if not reference.hits:
            raise ValueError("there are no hits in these files, and so nothing to hold others against")
        reference.save(arguments.output)
    except (OSError, ValueError) as error:
        return _failed(arguments.output, error)
    if arguments.json:
        print(json.dumps({"kind": "reference", "file": str(arguments.output), "hits": reference.hits}))
    else:
        of = f"{counted(reference.hits, 'hit')} of {counted(len(reference.chips), 'chip')}"
        print(f"{arguments.output}: {of} in {reference.live_s:.0f} s, from {reference.source}")
    return 0


def _failed(path: Path, error: Exception) -> int:
    text = f"{path}: {error.strerror}" if isinstance(error, OSError) and error.strerror else str(error)
    print(f"apx-sanity: {text}", file=sys.stderr)
    return 1
