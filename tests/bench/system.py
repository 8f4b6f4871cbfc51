"""Figures of the whole chain: real processes, real sockets, the emulated board."""

import json
import statistics
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from daqd.boards.gecco import GeccoBoard
from daqd.configuration.config import load_config
from daqd.control import ControlClient
from daqd.emulator.factory import emulated_board
from daqd.transports.emulated import EmulatedLink
from protocol.run_record import RunRecord, run_name
from tests.bench.figures import Effort, Figure
from tests.bench.programs import Program
from tests.bench.streams import dense_block, write_file

RATE_HZ = 1000.0


def replay(effort: Effort) -> Iterator[Figure]:
    """`daqd replay --speed max` of full readouts, one subscriber."""
    count = effort.size(5_000_000, 200_000)
    with TemporaryDirectory(prefix="bench-") as temporary:
        path = write_file(Path(temporary) / "replay.apx", dense_block(count, 4), 4)
        for how, what in (("client", "monitor.client"), ("plain", "plain ZeroMQ")):
            results = [_replay_once(path, how) for _ in range(1 if effort.quick else 3)]
            seconds = statistics.median(result["s"] for result in results)
            yield Figure(
                f"replay flat out → one subscriber ({what})",
                {"Mhits/s": count / seconds / 1e6},
                "≥ 3 Mhits/s",
                "; ".join(sorted({completeness(result, count) for result in results})),
            )


def completeness(result: dict[str, Any], expected: int) -> str:
    """Whether a subscriber got everything."""
    if result["hits"] == expected and not result["missed"]:
        return f"all {expected} hits"
    return f"{result['hits']} of {expected} hits, {result['missed']} messages missed"


def _replay_once(path: Path, how: str) -> dict[str, Any]:
    with Program("daqd.cli", "replay", str(path), "--speed", "max", "--bind", "tcp://127.0.0.1:*") as replaying:
        endpoint = replaying.wait_for(r"replaying .* at (\S+)")[1]
        with Program("tests.bench.subscriber", how, endpoint) as subscriber:
            result: dict[str, Any] = subscriber.result()
            return result


def daemon(effort: Effort) -> Iterator[Figure]:
    """`daqd run` with the emulated board: processor time when idle and when running, latency to a subscriber.

    A real board is no part of the daemon: what the emulated one takes of it is measured apart.
    """
    if not sys.platform.startswith("linux"):
        yield Figure("daemon", {}, note="measured on Linux only")
        return
    window_s = effort.size(20, 3)
    with TemporaryDirectory(prefix="bench-") as temporary:
        config = _configuration(Path(temporary))
        with Program("daqd.cli", "run", "-c", str(config)) as daqd:
            match = daqd.wait_for(r"publishes at (\S+), listens at (\S+)")
            stream, control_endpoint = match[1], match[2]
            with ControlClient(control_endpoint, timeout_s=30.0) as control:
                yield Figure("daemon idle, all processes", _load(daqd, window_s), "≤ 1 %")
                with Program("tests.bench.subscriber", "client", stream) as subscriber:
                    subscriber.wait_for("connected")
                    _await_subscriber(control)
                    control.call("start")
                    load = _load(daqd, window_s)
                    run = control.call("stop")["run"]
                    result = subscriber.result()
                control.call("shutdown")
        emulated = _emulated_board_load(config, window_s / 4)
        load |= {"% without the emulated board": load["% of a core"] - emulated, "% emulated board alone": emulated}
        record = RunRecord.from_json((Path(temporary) / "data" / run_name(run) / f"{run_name(run)}.json").read_text())
    note = completeness(result, (record.ledger or {}).get("hits", 0))
    yield Figure(f"daemon at {RATE_HZ:.0f} hits/s, all processes", load, "≤ 10 %")
    yield Figure(
        f"board → subscriber at {RATE_HZ:.0f} hits/s, p50 / p99 / worst",
        {"ms": result["p50_ms"], "ms (p99)": result["p99_ms"], "ms (worst)": result["worst_ms"]},
        "≤ 10 / ≤ 25 ms",
        note,
    )


def _await_subscriber(control: ControlClient) -> None:
    """Until the publisher has the subscription: a run that began before would not be seen whole."""
    deadline = time.monotonic() + 10.0
    while control.call("status")["status"]["publisher"]["subscribers"] < 1:
        if time.monotonic() > deadline:
            raise RuntimeError("the publisher does not see the subscriber")
        time.sleep(0.1)


def _load(daqd: Program, window_s: float) -> dict[str, float]:
    """Part of a core that the daemon and its children (publisher, server of the past) take, in %."""
    begin, (own_s, child_s) = time.monotonic(), daqd.cpu_s()
    time.sleep(window_s)
    passed_s, (own_later_s, child_later_s) = time.monotonic() - begin, daqd.cpu_s()
    own, child = 100 * (own_later_s - own_s) / passed_s, 100 * (child_later_s - child_s) / passed_s
    return {"% of a core": own + child, "% daqd with its emulated board": own, "% its children": child}


def _emulated_board_load(config: Path, window_s: float) -> float:
    """Part of a core that the emulated board takes while the driver reads it as in a run, in %."""
    settings = load_config(config)
    model = emulated_board(settings)
    exchange, taken_s = model.exchange, 0.0

    def measured(data: bytes) -> bytes:
        nonlocal taken_s
        begin = time.thread_time()
        answer = exchange(data)
        taken_s += time.thread_time() - begin
        return answer

    model.exchange = measured
    board = GeccoBoard(EmulatedLink(model), settings.board)
    board.open()
    board.configure(None)
    board.start()
    taken_s, begin = 0.0, time.monotonic()
    while (passed_s := time.monotonic() - begin) < window_s:
        board.read_readout(0.1)
    board.close()
    return 100 * taken_s / passed_s


def _configuration(directory: Path) -> Path:
    config = directory / "bench.toml"
    config.write_text(
        "\n".join(
            [
                '[daq]\nname = "bench"',
                f"data_dir = {json.dumps(str(directory / 'data'))}",
                f"runtime_dir = {json.dumps(str(directory / 'runtime'))}",
                '[board]\nkind = "gecco"\ntransport = "emulated"',
                f'[emulator]\nsource = "hits"\nrate_hz = {RATE_HZ}',
                '[stream]\nbind = "tcp://127.0.0.1:*"\ncatch_up = "tcp://127.0.0.1:*"',
            ]
        )
    )
    return config
