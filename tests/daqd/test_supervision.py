"""What the service manager hears of a daemon, with the clock in the hand of the test."""

import asyncio
import logging
from collections.abc import Iterator
from pathlib import Path

import pytest

from daqd.process import supervision
from daqd.process.supervision import Supervision, describe
from daqd.process.systemd import ServiceManager
from protocol.wire.messages import Rates, Stat
from tests.daqd.waiting import DEADLINE_S
from tests.system.service_manager import PlayedManager


class Bench:
    """A daemon with one thread: `progress` is its number, `now` the time."""

    def __init__(self, manager: PlayedManager, watchdog_s: float | None) -> None:
        self.now = 1000.0
        self.progress = {"reader of run 7": 1}
        self._link = ServiceManager(manager.address, watchdog_s)
        self.looks = 0
        self.supervision = Supervision(self._link, self._look, lambda: self.now)

    def _look(self) -> dict[str, int]:
        self.looks += 1
        return self.progress

    async def wait_for_looks(self, number: int) -> None:
        """Until it has been looked so often again whether anything moves."""
        wanted = self.looks + number
        async with asyncio.timeout(DEADLINE_S):
            while self.looks < wanted:  # noqa: ASYNC110 - it is the clock of the test that goes
                await asyncio.sleep(0)

    def close(self) -> None:
        self._link.close()


@pytest.fixture
def manager(tmp_path: Path) -> Iterator[PlayedManager]:
    manager = PlayedManager(tmp_path / "notify")
    yield manager
    manager.close()


@pytest.fixture
def bench(manager: PlayedManager) -> Iterator[Bench]:
    bench = Bench(manager, 60.0)
    yield bench
    bench.close()


def test_food_only_while_all_goes_round(manager: PlayedManager, bench: Bench, caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.WARNING):
        bench.supervision.look()
        for _ in range(2):
            bench.now += 30
            bench.progress["reader of run 7"] += 1
            bench.supervision.look()
        assert manager.listen() == [{"WATCHDOG": "1"}] * 3
        assert not caplog.records
        for _ in range(3):
            bench.now += 30
            bench.supervision.look()
        stuck = [f"STUCK: the reader of run 7 has not moved for {seconds} s; starting" for seconds in (30, 60, 90)]
        assert manager.listen()[3:] == [{"STATUS": text} for text in stuck]
        bench.progress = {}  # the run was given up
        bench.now += 30
        bench.supervision.look()
        assert manager.listen()[6:] == [{"STATUS": "starting"}, {"WATCHDOG": "1"}]
    assert [entry.getMessage() for entry in caplog.records] == [
        "the reader of run 7 has not moved for 30.0 s; the service manager will restart the daemon",
        "the reader of run 7 moves again, or has ended",
    ]


def test_without_a_watchdog_the_log_tells(manager: PlayedManager, caplog: pytest.LogCaptureFixture) -> None:
    bench = Bench(manager, None)
    for _ in range(2):
        bench.supervision.look()
        bench.now += 15
    bench.close()
    assert [entry.getMessage() for entry in caplog.records] == ["the reader of run 7 has not moved for 15.0 s"]
    assert "WATCHDOG" not in {key for message in manager.listen() for key in message}


def test_the_state_is_told_when_it_changes_and_now_and_then(manager: PlayedManager, bench: Bench) -> None:
    stat = Stat(state="running", run=7, counts={"readouts": 1}, elapsed_s=1.0)
    for _ in range(5):  # the rates change all the time
        bench.supervision.report(stat)
        bench.now += 0.5
    assert len(manager.listen()) == 2
    bench.supervision.report(stat.model_copy(update={"state": "recovering", "reason": "board lost"}))
    assert manager.listen()[2]["STATUS"].startswith("recovering: board lost (run 7 for 1 s, 1 readouts, ")


def test_a_reload_means_nothing_before_and_after(manager: PlayedManager, bench: Bench) -> None:
    with bench.supervision.reloading():
        pass
    assert manager.listen() == []
    bench.supervision.ready()
    with bench.supervision.reloading():
        assert "RELOADING" in manager.listen()[1]
    assert manager.listen()[2]["READY"] == "1"
    with bench.supervision.reloading():
        bench.supervision.stopping()  # told to end meanwhile: it must not look ready again
    with bench.supervision.reloading():
        pass
    assert "STOPPING" in manager.listen()[-1]


def test_more_time_is_asked_for_as_long_as_it_goes_on(
    manager: PlayedManager, bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(supervision, "_EXTENSION_STEP_S", 0.001)

    async def end_a_run() -> tuple[int, int]:
        async with bench.supervision.taking_long():
            for _ in range(3):
                bench.now += 100
                bench.progress["reader of run 7"] += 1
                await bench.wait_for_looks(2)
            asked = len(manager.listen())
            bench.now += 100  # and from now on it stands still
            await bench.wait_for_looks(5)
            return asked, len(manager.listen())

    asked, asked_then = asyncio.run(end_a_run())
    assert asked >= 3
    assert asked_then == asked
    assert {tuple(message.items()) for message in manager.messages} == {(("EXTEND_TIMEOUT_USEC", "20000000"),)}


@pytest.mark.parametrize(
    ("stat", "line"),
    [
        (Stat(state="idle"), "idle"),
        (Stat(state="error", reason="no board"), "error: no board"),
        (Stat(state="configured", run=3, counts={"readouts": 9}), "configured (last run 3, 9 readouts)"),
        (
            Stat(
                state="running",
                run=3,
                elapsed_s=61.2,
                counts={"readouts": 9},
                rates=Rates(readouts_hz=10, hits_hz=99.6, bytes_hz=2.5e6),
            ),
            "running (run 3 for 61 s, 9 readouts, 10 readouts/s, 100 hits/s, 2.50 MB/s)",
        ),
    ],
)
def test_in_words(stat: Stat, line: str) -> None:
    assert describe(stat) == line
