"""Figures of catch-up: how soon a late joiner has all of a run, and what the stream notices of it."""

import json
import statistics
import sys
import time
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from daqd.control import ControlClient
from tests.bench.figures import Effort, Figure
from tests.bench.programs import Program
from tests.bench.system import completeness

RATE_HZ = 1000.0
_PATIENCE_S = 120.0


def history(effort: Effort) -> Iterator[Figure]:
    """`daqd run` with a long run on disk: joining it late, and listening beside somebody who asks for it."""
    if not sys.platform.startswith("linux"):
        yield Figure("late joiner", {}, note="measured on Linux only")
        return
    hits = effort.size(10_000_000, 200_000)
    with TemporaryDirectory(prefix="bench-") as temporary:
        directory = Path(temporary)
        with Daemon(directory, f'rate_hz = "max"\nhits_limit = {hits}') as daemon:
            daemon.control.call("start")
            daemon.wait_until_exhausted()
            results = [_join(daemon.stream, hits) for _ in range(1 if effort.quick else 3)]
            yield Figure(
                f"late joiner to a run of {hits / 1e6:g} million hits that goes on, complete",
                {"s": statistics.median(result["s"] for result in results)},
                "≤ 5 s",
                "; ".join(sorted({completeness(result, hits) for result in results})),
            )
        yield from _beside(directory, effort)


def _join(stream: str, hits: int) -> dict[str, Any]:
    with Program("tests.bench.late", "join", stream, str(hits)) as joiner:
        result: dict[str, Any] = joiner.result()
        return result


def _beside(directory: Path, effort: Effort) -> Iterator[Figure]:
    """Latency of the stream, while nobody or somebody asks for the past without a pause."""
    window_s = effort.size(15, 3)
    for askers in (0, 1):
        with Daemon(directory, f"rate_hz = {RATE_HZ}") as daemon, ExitStack() as asking:
            for _ in range(askers):
                asker = Program("tests.bench.late", "again", daemon.control.call("status")["status"]["catch_up"], "1")
                asking.enter_context(asker)
                asker.wait_for("past")
            with Program("tests.bench.subscriber", "client", daemon.stream) as subscriber:
                subscriber.wait_for("connected")
                daemon.wait_for_subscriber()
                daemon.control.call("start")
                time.sleep(window_s)
                ledger = daemon.control.call("stop")
                result = subscriber.result()
        yield Figure(
            f"board → subscriber at {RATE_HZ:.0f} hits/s, {askers} asking for the past all the time, p50 / p99 / worst",
            {"ms": result["p50_ms"], "ms (p99)": result["p99_ms"], "ms (worst)": result["worst_ms"]},
            "≤ 10 / ≤ 25 ms",
            f"{result['hits']} hits, {result['missed']} messages missed, run {ledger['run']}",
        )


class Daemon:
    """`daqd run` with an emulated board and the data in `directory`; a context manager."""

    def __init__(self, directory: Path, emulator: str) -> None:
        self._config = directory / "bench.toml"
        self._config.write_text(
            "\n".join(
                [
                    '[daq]\nname = "bench"',
                    f"data_dir = {json.dumps(str(directory / 'data'))}",
                    f"runtime_dir = {json.dumps(str(directory / 'runtime'))}",
                    '[board]\nkind = "gecco"\ntransport = "emulated"\nchips = 4',
                    f'[emulator]\nsource = "hits"\n{emulator}',
                    '[stream]\nbind = "tcp://127.0.0.1:*"\ncatch_up = "tcp://127.0.0.1:*"',
                ]
            )
        )

    def __enter__(self) -> "Daemon":
        with ExitStack() as stack:
            program = stack.enter_context(Program("daqd.cli", "run", "-c", str(self._config)))
            match = program.wait_for(r"publishes at (\S+), listens at (\S+)")
            self.stream = match[1]
            self.control = stack.enter_context(ControlClient(match[2], timeout_s=30.0))
            self._open = stack.pop_all()
        return self

    def __exit__(self, *_: object) -> None:
        self._open.close()

    def _wait(self, what: str, done: Any) -> None:
        deadline = time.monotonic() + _PATIENCE_S
        while not done(self.control.call("status")["status"]):
            if time.monotonic() > deadline:
                raise RuntimeError(f"still not: {what}")
            time.sleep(0.1)

    def wait_until_exhausted(self) -> None:
        """Until all that the board has to send is published."""
        self._wait(
            "the board has sent everything",
            lambda status: (
                status["board"]["counters"]["exhausted"]
                and status["ledger"]
                and status["ledger"]["bytes_read"] == status["counts"]["readout_bytes"]
            ),
        )

    def wait_for_subscriber(self) -> None:
        """Until somebody gets hits."""
        self._wait("somebody listens", lambda status: status["publisher"]["subscribers"] > 0)
