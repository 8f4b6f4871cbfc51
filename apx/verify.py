"""`apx verify`: whether recordings and runs are whole, and what their records say."""

import argparse
import json
import sys
from collections.abc import Iterator
from pathlib import Path

from apx.places import may_be_taken, places_of, run_directory
from apx.subcommand import add_parser, for_each
from apx.terminal import progress, styled, wants_colour
from astropix_runtime.storage.verdict import RunJudge, Verdict, judge_file
from protocol.text import printable

_COLOURS = {"ok": "green", "warning": "yellow", "bad": "bold red"}


def add_to(programs: "argparse._SubParsersAction[argparse.ArgumentParser]") -> None:
    """Register the subcommand."""
    parser = add_parser(
        programs,
        "verify",
        run,
        "read recordings and runs from end to end, and say for each whether it is whole, and what to do if not",
        """
        apx verify data
        apx verify data/run_000012
        apx verify --json *.apx | jq -r 'select(.verdict == "bad") | .path'
        """,
    )
    parser.add_argument(
        "paths", nargs="+", type=Path, metavar="PATH", help="recordings, directories of runs, data directories"
    )
    parser.add_argument("--json", action="store_true", help="one JSON object a line: for each file, and for each run")


def run(arguments: argparse.Namespace) -> int:
    """Look at each path; returns the exit code."""
    colour = wants_colour("auto", sys.stdout)

    def look(place: Path) -> bool:
        fine = True
        for verdict in _verdicts(place):
            fine = fine and verdict.word != "bad"
            if arguments.json:
                print(json.dumps(verdict.to_dict()))
            else:
                word = styled(verdict.word, _COLOURS[verdict.word], colour)
                print(f"{printable(str(verdict.path))}: {word}: {printable(verdict.text())}")
        return fine

    return for_each(arguments.paths, lambda path: for_each(places_of(path), look) == 0)


def _verdicts(place: Path) -> Iterator[Verdict]:
    directory = run_directory(place)
    if directory is None:
        yield judge_file(place, watch=progress)[0]
        return
    judge = RunJudge(directory, lambda: may_be_taken(directory), progress)
    yield from judge.verdicts() if place == directory else [judge.verdict_of(place)]
