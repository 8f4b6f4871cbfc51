"""`apx repair`: what the daemon does at its start, by hand; and more, for files that were damaged later."""

import argparse
import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from apx.places import held, places_of, run_directory
from apx.subcommand import add_parser, for_each
from apx.terminal import progress, say
from astropix_runtime.storage.file_repair import FileRepair, plan_file_repair
from astropix_runtime.storage.run_repair import plan_run_repair


def add_to(programs: "argparse._SubParsersAction[argparse.ArgumentParser]") -> None:
    """Register the subcommand."""
    parser = add_parser(
        programs,
        "repair",
        run,
        "make whole recordings of files that were not finished, or are damaged; what is cut out is kept beside them",
        """
        apx repair data --dry-run
        apx repair data/run_000012
        apx repair copied.apx.part
        """,
    )
    parser.add_argument(
        "paths",
        nargs="+",
        type=Path,
        metavar="PATH",
        help="recordings (.apx, .part), directories of runs, data directories; a file of a run stands for the run",
    )
    parser.add_argument("--dry-run", action="store_true", help="say what would be done, and change nothing")
    parser.add_argument("--json", action="store_true", help="one JSON object a line, for each run or file")


def run(arguments: argparse.Namespace) -> int:
    """Repair each path; returns the exit code."""

    def repair(place: Path) -> bool:
        outcome = _repair(place, dry_run=arguments.dry_run)
        if arguments.json:
            print(json.dumps(outcome.to_dict()))
        else:
            say(outcome.line())
        return not outcome.remarks

    def repair_all(path: Path) -> bool:
        places = places_of(path)
        with held(run_directory(places[0])):  # they are all in one data directory
            return for_each(places, repair) == 0

    return for_each(arguments.paths, repair_all)


@dataclass(frozen=True)
class _Outcome:
    """What was done, or would be. `done`: in words, empty for nothing; `remarks`: what could not be repaired."""

    path: Path
    done: str
    files: tuple[FileRepair, ...]
    remarks: tuple[str, ...]
    is_dry: bool

    def line(self) -> str:
        doing = f"would be repaired: {self.done}" if self.is_dry else f"repaired: {self.done}"
        return "; ".join([f"{self.path}: {doing if self.done else 'nothing to do'}", *self.remarks])

    def to_dict(self) -> dict[str, Any]:
        return {
            "path": str(self.path),
            "dry_run": self.is_dry,
            "repaired": self.done,
            "cuts": [cut.model_dump() for file in self.files for cut in file.cuts],
            "remarks": list(self.remarks),
        }


def _repair(place: Path, *, dry_run: bool) -> _Outcome:
    directory = run_directory(place)
    if directory is not None:
        plan = plan_run_repair(directory, thorough=True, watch=progress)
        if plan.needed and not dry_run:
            plan.carry_out()
        return _Outcome(directory, plan.describe() if plan.needed else "", plan.files, plan.remarks, dry_run)
    file = plan_file_repair(place, progress)
    if file.needed and not dry_run:
        file.keep()
        file.finish()
    remarks = (file.obstacle,) if file.obstacle else ()
    return _Outcome(place, file.describe() if file.needed else "", (file,), remarks, dry_run)
