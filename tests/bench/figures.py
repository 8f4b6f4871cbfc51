"""What a benchmark gives: a named figure with the value that was wanted, and where it was measured."""

import os
import platform
import statistics
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import numpy as np


@dataclass(frozen=True)
class Figure:
    """`values`: by unit; `wanted`: as in the design, empty where it names none; `note`: what else should be known."""

    what: str
    values: dict[str, float]
    wanted: str = ""
    note: str = ""

    @property
    def measured(self) -> str:
        """The values as text."""
        return ", ".join(
            f"{value:.3g} {unit}" if value < 100 else f"{value:.0f} {unit}" for unit, value in self.values.items()
        )


@dataclass(frozen=True)
class Effort:
    """How much to measure: `runs` of each kind, of which the median counts; `quick` is a smoke test."""

    quick: bool = False
    runs: int = 5

    def size(self, full: int, quick: int) -> int:
        """How large the input is to be."""
        return quick if self.quick else full

    def median_s(self, action: Callable[[], object]) -> float:
        """Time that `action` takes: the median of `runs`, after one that warms up."""
        action()
        times = []
        for _ in range(self.runs):
            begin = time.perf_counter()
            action()
            times.append(time.perf_counter() - begin)
        return statistics.median(times)


@dataclass(frozen=True)
class Machine:
    """Where it was measured."""

    cpu: str
    cores: int
    load: float
    system: str
    python: str = field(default_factory=platform.python_version)
    numpy: str = np.__version__

    @classmethod
    def here(cls) -> "Machine":
        """This machine, now."""
        load = os.getloadavg()[0] if hasattr(os, "getloadavg") else 0.0
        return cls(_cpu_model(), os.cpu_count() or 1, round(load, 2), f"{platform.system()} {platform.machine()}")

    def __str__(self) -> str:
        return (
            f"{self.cpu}, {self.cores} cores, load {self.load} at the start; {self.system}, "
            f"Python {self.python}, NumPy {self.numpy}"
        )


def _cpu_model() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
    except OSError:
        lines = []
    names = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    return names[0] if names else platform.processor() or "unknown processor"


def as_table(figures: list[Figure]) -> str:
    """Figures one below the other."""
    rows = [
        ("what", "figure", "measured", ""),
        *((each.what, each.wanted, each.measured, each.note) for each in figures),
    ]
    widths = [max(len(row[column]) for row in rows) for column in range(4)]
    lines = ["  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip() for row in rows]
    return "\n".join([lines[0], "-" * max(map(len, lines)), *lines[1:]])


def as_json(machine: Machine, figures: list[Figure]) -> dict[str, Any]:
    """The same for programs."""
    return {"machine": asdict(machine), "figures": [asdict(each) for each in figures]}
