"""Starts and stops at full rate on a line that loses and doubles bytes: no stuck board, no lost intact frame."""

from pathlib import Path

import pytest

from daqd.boards.astep import AstepBoard
from daqd.emulator.stream_device import PtyDevice
from daqd.transports.serial_link import SerialLink
from tests.daqd.astep_soak import LossyBench, bring_up, is_safe, one_run, soak
from tests.daqd.lossy_line import OneFault, RandomFaults

pytestmark = pytest.mark.slow

BOARD = {"layers": 3, "chips": 4}
EMULATOR = {"hits_limit": 0, "rate_hz": "max", "fifo_bytes": 8192}
TO_BOARD, TO_HOST = 1e-3, 1e-4
"""Probability that a byte goes wrong: 4 of 1000 requests, every second of the longest answers."""


def bench_of(seed: int) -> LossyBench:
    bench = LossyBench(RandomFaults(0, seed), RandomFaults(0, seed + 1), board=BOARD, emulator=EMULATOR)
    bring_up(bench.board)
    return bench


def run_many(runs: int, seed: int) -> None:
    bench = bench_of(seed)
    bench.line.to_board.rate, bench.line.to_host.rate = TO_BOARD, TO_HOST  # type: ignore[attr-defined]
    counts = soak(bench, runs)
    print(counts)
    assert counts["faults_to_board"] > runs
    assert counts["resyncs"] > runs // 2
    assert counts["failed"] <= runs // 100
    assert counts["intact"] > counts["frames"] * 0.99


def test_a_hundred_starts_and_stops() -> None:
    run_many(100, 1)


@pytest.mark.soak
@pytest.mark.parametrize("seed", [2, 3, 4])
def test_a_thousand_starts_and_stops(seed: int) -> None:
    run_many(1000, seed)


def one_fault(bench: LossyBench, position: int | None, *, is_lost: bool) -> int:
    """A run with one fault on the way to the board; how many bytes the host sent."""
    fault = bench.line.to_board = OneFault(position, is_lost=is_lost)
    returned = one_run(bench, bench.board, 3)
    assert not bench.ledger.missing(returned), position
    assert is_safe(bench.model), position
    bench.line.to_board = OneFault(None, is_lost=True)
    # Nothing that the fault did stays.
    assert not bench.ledger.missing(one_run(bench, bench.board, 2))
    assert is_safe(bench.model), position
    return fault.sent_bytes


@pytest.mark.parametrize("is_lost", [True, False])
@pytest.mark.parametrize("step", [5, pytest.param(1, marks=pytest.mark.soak)])
def test_any_one_byte_of_a_run_may_go_wrong(step: int, is_lost: bool) -> None:
    """Lost or doubled: each byte that the host sends from the start to the end of a run."""
    bench = bench_of(5)
    sent = one_fault(bench, None, is_lost=is_lost)
    assert sent > 200
    for position in range(0, sent, step):
        one_fault(bench, position, is_lost=is_lost)


@pytest.mark.parametrize("runs", [3, pytest.param(100, marks=pytest.mark.soak)])
def test_through_pyserial(runs: int, tmp_path: Path) -> None:
    """The same through the serial library, at the pace of a fast UART."""
    bench = LossyBench(RandomFaults(0, 7), RandomFaults(0, 8), board=BOARD, emulator=EMULATOR, real_time=True)
    device = PtyDevice(bench.line, tmp_path / "port", 12_000_000)
    device.start()
    try:
        link = SerialLink(bench.config.serial.model_copy(update={"url": device.url}), tmp_path)
        bench.board = AstepBoard(link, bench.config)
        bring_up(bench.board)
        bench.line.to_board.rate, bench.line.to_host.rate = 1e-3, 1e-5  # type: ignore[attr-defined]
        counts = soak(bench, runs)
        print(counts)
        bench.board.close()
    finally:
        device.close()
