"""Starts and stops of a GECCO board at full rate on a line that loses and doubles bytes (`gecco_soak`: the claims)."""

from pathlib import Path

import pytest

from daqd.boards.gecco import GeccoBoard
from daqd.emulator.stream_device import PtyDevice
from daqd.transports.serial_link import SerialLink
from tests.daqd.gecco_soak import GeccoSoak, LossyGeccoBench
from tests.daqd.lossy_line import OneFault

pytestmark = pytest.mark.slow

TO_BOARD, TO_HOST = 0.004, 0.01
"""Share of the transfers with a byte that goes wrong: two in three runs have one."""


def run_many(runs: int, seed: int, to_board: float = TO_BOARD, to_host: float = TO_HOST) -> None:
    counts = GeccoSoak(LossyGeccoBench(seed), to_board, to_host).run(runs)
    print(counts)
    assert counts["faults_to_board"] + counts["faults_to_host"] > runs // 2
    assert counts["hits_compared"] > counts["hits"] * 0.9


def test_a_hundred_starts_and_stops() -> None:
    run_many(100, 1)


@pytest.mark.soak
@pytest.mark.parametrize("seed", [2, 3, 4])
def test_a_thousand_starts_and_stops(seed: int) -> None:
    run_many(1000, seed)


@pytest.mark.parametrize("is_lost", [True, False])
@pytest.mark.parametrize("step", [11, pytest.param(1, marks=pytest.mark.soak)])
def test_any_one_byte_may_go_wrong_while_reading_and_stopping(step: int, is_lost: bool) -> None:
    bench = LossyGeccoBench(7)
    soak = GeccoSoak(bench, 0, 0, readouts=6)

    def one_run(position: int | None) -> int:
        bench.line.to_board = bench.to_board
        soak.start()
        bench.line.to_board = fault = OneFault(position, is_lost=is_lost)
        soak.read_and_stop(-1 if position is None else position)
        return fault.sent_bytes

    sent = one_run(None)
    for position in range(0, sent, step):
        one_run(position)
    print(sent, soak.counts)
    assert soak.counts["runs_given_up"] < sent // step


@pytest.mark.parametrize("runs", [5, pytest.param(50, marks=pytest.mark.soak)])
def test_a_line_on_which_hardly_anything_works(runs: int) -> None:
    """One transfer in twenty is damaged: most attempts to start fail, and none leaves the board stuck."""
    counts = GeccoSoak(LossyGeccoBench(5), 0.05, 0.05).run(runs)
    print(counts)
    assert counts["starts_failed"] > runs


@pytest.mark.parametrize("runs", [2, pytest.param(100, marks=pytest.mark.soak)])
def test_through_pyserial(runs: int, tmp_path: Path) -> None:
    """The same through the serial library, at the pace of a fast UART."""
    bench = LossyGeccoBench(6, real_time=True)
    device = PtyDevice(bench.line, tmp_path / "port", 12_000_000)
    device.start()
    try:
        link = SerialLink(bench.config.serial.model_copy(update={"url": device.url}), tmp_path)
        bench.board = GeccoBoard(link, bench.config.board)
        counts = GeccoSoak(bench, 0.003, 0.002).run(runs)
        print(counts)
        bench.board.close()
    finally:
        device.close()
