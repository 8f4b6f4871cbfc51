"""`make soak`: the page is left open for as long as a coffee break: one real browser, twenty others, 31 chips."""

import os
import time
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from urllib.parse import urlsplit

import pytest

from tests.bench.programs import Program as Crowd
from tests.system.laboratory import Laboratory, Settings
from tests.system.memory import resident_bytes
from tests.system.page import Page, chromium, needs_chromium, serve
from tests.system.processes import running

SECONDS = float(os.environ.get("SOAK_PAGE_S", "1560"))
BROWSERS = 20
CHIPS, RATE_HZ = 31, 3000.0  # as many chips as a chain has
LOOK_MS = 1000
MB = 1_000_000


@dataclass(frozen=True)
class Look:
    """At `t` seconds: memory of the web process and of the tab in bytes, what scripts hold of it, updates so far."""

    t: float
    web: int
    tab: int
    heap: int
    updates: int
    elements: int


def cpu_s(pid: int) -> float:
    """Processor time that a process has used."""
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def renderer() -> int:
    """The process of the tab: the largest of those that this test has started to draw pages."""
    parents = {process.pid: process for process in running()}

    def is_ours(pid: int) -> bool:
        while pid in parents and pid != os.getpid():
            pid = parents[pid].parent
        return pid == os.getpid()

    found = [each.pid for each in parents.values() if "--type=renderer" in each.command and is_ours(each.pid)]
    return max(found, key=resident_bytes)


def look(page: Page, web: int, tab: int, begin: float) -> Look:
    told = page.ask(
        "({heap: performance.memory.usedJSHeapSize, updates: astropix.stream.updates, "
        "elements: document.getElementsByTagName('*').length})"
    )
    return Look(time.monotonic() - begin, resident_bytes(web), resident_bytes(tab), **told)


def halves(values: Sequence[int]) -> tuple[Sequence[int], Sequence[int]]:
    """After the first tenth: the first half of the time, and the second."""
    return values[len(values) // 10 : len(values) // 2], values[len(values) // 2 :]


@needs_chromium
@pytest.mark.soak
def test_a_page_that_is_left_open(laboratory: Laboratory) -> None:
    settings: Settings = {
        "board": {"chips": CHIPS},
        "emulator": {"rate_hz": RATE_HZ, "hot_pixels": [[2, 5, 7, 40.0]], "fifo_bytes": 1 << 26},
    }
    daemon = laboratory.configure(settings).start()
    program, address = serve(laboratory, "--connect", daemon.endpoint)
    daemon.call("start", comment="left open")
    looks: list[Look] = []
    with (
        chromium("--enable-precise-memory-info") as open_page,
        Crowd("tests.bench.browsers", str(urlsplit(address).port), str(SECONDS), str(BROWSERS), "0") as crowd,
    ):
        crowd.wait_for("all are there")
        page = open_page(1440, 900, "dark").open(address)
        tab, begin, used_s = renderer(), time.monotonic(), cpu_s(program.pid)
        while time.monotonic() - begin < SECONDS:
            page.tab.wait_for_timeout(LOOK_MS)
            looks.append(look(page, program.pid, tab, begin))
        load = (cpu_s(program.pid) - used_s) / (time.monotonic() - begin)
        others = crowd.result()
        assert page.troubles == []
        assert page.text("#state").lower() == "running"

    told = {name: halves([getattr(each, name) for each in looks]) for name in ("web", "tab", "heap", "elements")}
    print(f"\n{looks[-1].t:.0f} s, {CHIPS} chips, {RATE_HZ:.0f} hits/s, {BROWSERS} browsers beside the tab:")
    for name, (first, second) in told.items():
        unit, by = ("", 1) if name == "elements" else (" MB", MB)
        print(
            f"  {name}: first half {min(first) / by:.1f} to {max(first) / by:.1f}{unit}, "
            f"second {min(second) / by:.1f} to {max(second) / by:.1f}{unit}"
        )
    times = looks[:: max(len(looks) // 20, 1)]
    per_s = [(after.updates - before.updates) / (after.t - before.t) for before, after in pairwise(times)]
    print(
        f"  updates/s: of the tab {min(per_s):.1f} to {max(per_s):.1f}, the others {others['least_hz']:.2f} or more, "
        f"{others['bytes_hz'] / 1000:.0f} kB/s each\n  the server: {100 * load:.1f} % of a core; "
        f"the machine: load {os.getloadavg()[2]:.1f} on {os.cpu_count()} cores"
    )

    web, tab_memory, heap, elements = told["web"], told["tab"], told["heap"], told["elements"]
    assert max(web[1]) <= 1.02 * max(web[0]) + 2 * MB, "memory of the server grows"
    # What scripts hold goes up and down with the collector of what they have let go: the least of it is what stays.
    assert min(heap[1]) <= 1.1 * min(heap[0]) + 5 * MB, "what the page holds grows"
    assert max(tab_memory[1]) <= 1.15 * max(tab_memory[0]) + 20 * MB, "the tab grows"
    assert max(elements[1]) <= max(elements[0]) + 50, "the page gets longer and longer"
    assert min(per_s) > 1, "updates have stopped for a while"
    assert others["least_hz"] > 1
    daemon.call("stop")
    assert program.end() == 0
