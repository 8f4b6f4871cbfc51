"""Speed and latency, beside the figures of the design: `python -m tests.bench`, or `make bench`."""

import argparse
import json
import os
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

from tests.bench import boards, browsers, decoding, displays, history, layer_frames, system
from tests.bench.figures import Effort, Figure, Machine, as_json, as_table
from tests.bench.programs import REPOSITORY

Benchmark = Callable[[Effort], Iterator[Figure]]


def recordings_folder() -> Path | None:
    """The folder of real recordings, None where it is absent."""
    folder = Path(os.environ.get("ASTROPIX_DATA", REPOSITORY.parent / "shared" / "data")) / "astropix4"
    return folder if folder.is_dir() else None


BENCHMARKS: dict[str, Benchmark] = {
    "decoding": decoding.decoding,
    "small-batches": decoding.small_batches,
    "recordings": lambda effort: decoding.recordings(effort, recordings_folder()),
    "objects": decoding.objects,
    "records": decoding.records,
    "layer-frames": layer_frames.layer_frames,
    "displays": displays.displays,
    "replay": system.replay,
    "daemon": system.daemon,
    "history": history.history,
    "usb": boards.usb,
    "polling": boards.polling,
    "astep-usb": boards.astep_usb,
    "uart": boards.uart,
    "browsers": browsers.browsers,
}


def main() -> int:
    """Run what was asked for."""
    parser = argparse.ArgumentParser(prog="python -m tests.bench", description=__doc__)
    parser.add_argument("benchmark", nargs="*", metavar="BENCHMARK", help=f"{', '.join(BENCHMARKS)} (default: all)")
    parser.add_argument("--runs", type=int, default=5, help="the median of so many counts (default %(default)s)")
    parser.add_argument("--quick", action="store_true", help="small inputs, one run: does it work?")
    parser.add_argument("--json", action="store_true", help="for programs")
    arguments = parser.parse_args()
    unknown = set(arguments.benchmark) - BENCHMARKS.keys()
    if unknown or arguments.runs < 1:
        parser.error(f"no benchmark {', '.join(sorted(unknown))}" if unknown else "--runs must be at least 1")
    effort = Effort(arguments.quick, 1 if arguments.quick else arguments.runs)
    machine = Machine.here()
    figures: list[Figure] = []
    for name in arguments.benchmark or BENCHMARKS:
        print(f"measuring {name} …", file=sys.stderr, flush=True)
        figures += BENCHMARKS[name](effort)
    if arguments.json:
        print(json.dumps(as_json(machine, figures), indent=2))
    else:
        print(f"\n{as_table(figures)}\n\n{machine}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
