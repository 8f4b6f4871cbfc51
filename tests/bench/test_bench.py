"""The benchmarks run. What they measure is nobody's business here."""

import json
import subprocess
import sys

from tests.bench.figures import Effort, Figure, as_table
from tests.bench.programs import REPOSITORY

IN_PROCESS = ("decoding", "recordings", "objects", "records", "layer-frames", "displays")


def test_smoke_run_of_what_needs_no_other_process() -> None:
    finished = subprocess.run(
        [sys.executable, "-m", "tests.bench", "--quick", "--json", *IN_PROCESS],
        cwd=REPOSITORY,
        capture_output=True,
        text=True,
        check=False,
    )
    assert finished.returncode == 0, finished.stderr
    printed = json.loads(finished.stdout)
    assert printed["machine"]["cores"] >= 1
    assert len(printed["figures"]) >= 8
    for figure in printed["figures"]:
        assert all(value > 0 for value in figure["values"].values()), figure


def test_unknown_benchmarks_are_misuse() -> None:
    finished = subprocess.run(
        [sys.executable, "-m", "tests.bench", "spoons"], cwd=REPOSITORY, capture_output=True, text=True, check=False
    )
    assert finished.returncode == 2
    assert "no benchmark spoons" in finished.stderr


def test_table_and_median() -> None:
    table = as_table([Figure("decoding", {"Mhits/s": 5.123, "MB/s": 140.2}, "≥ 5 Mhits/s"), Figure("nothing", {})])
    lines = table.splitlines()
    assert lines[2].split("  ") == ["decoding", "≥ 5 Mhits/s", "5.12 Mhits/s, 140 MB/s"]
    calls: list[None] = []
    assert Effort(runs=3).median_s(lambda: calls.append(None)) >= 0
    assert len(calls) == 4
