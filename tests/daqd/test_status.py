"""What the daemon tells of itself."""

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from daqd.acquisition.active_run import ActiveRun, RunHooks, RunRequest
from daqd.acquisition.disk_watch import DiskWatch
from daqd.children.messages import PublisherState
from daqd.configuration.config import Config
from daqd.daemon_state import Cause, DaemonStateMachine
from daqd.runs.run_store import RunStore
from daqd.status import StatusBoard
from protocol.ledger import Ledger
from protocol.wire.messages import PublisherStat
from tests.daqd.emulated_bench import HandClock
from tests.daqd.fake_board import FakeBoard
from tests.daqd.waiting import DEADLINE_S, wait_until

CONFIG = Config.model_validate({"board": {"transport": "emulated"}})


class Desk:
    """A status board on a hand-moved clock."""

    def __init__(self, data_dir: Path) -> None:
        self.board = FakeBoard()
        self.clock = HandClock()
        self.disk = DiskWatch(data_dir, CONFIG.disk, self.clock)
        self.state = DaemonStateMachine(lambda: None)
        self.status = StatusBoard(self.state, self.board, "emulated", 3, self.disk, "1.2", clock=self.clock)

    def run_began(self, run: ActiveRun) -> None:
        self.state.change(Cause.BOARD_CONFIGURED)
        self.status.run_began(run)
        self.state.change(Cause.RUN_STARTED)


@pytest.fixture
def desk(tmp_path: Path) -> Desk:
    return Desk(tmp_path)


Begin = Callable[..., ActiveRun]


@pytest.fixture
def begin(store: RunStore) -> Iterator[Begin]:
    """Begins runs of a board, which are ended."""
    runs: list[ActiveRun] = []

    def make(board: FakeBoard, **request: Any) -> ActiveRun:
        hooks = RunHooks(on_written=lambda: None, on_end=lambda: None)
        runs.append(ActiveRun(CONFIG, board, store, RunRequest(**request), {}, hooks))
        runs[-1].begin()
        return runs[-1]

    yield make
    for run in runs:
        run.stop("the test is over")
        assert run.join(DEADLINE_S)


def test_before_anything_has_happened(desk: Desk, tmp_path: Path) -> None:
    desk.disk.look()
    stat = desk.status.stat()
    assert (stat.state, stat.reason, stat.run, stat.elapsed_s, stat.file) == ("idle", "", None, 0.0, "")
    assert (stat.chips, stat.version) == (3, "1.2")
    assert stat.disk.path == str(tmp_path)
    assert 0 < stat.disk.free_bytes < stat.disk.total_bytes
    assert (stat.board.kind, stat.board.transport, stat.board.connected) == ("fake", "emulated", False)
    assert stat.board.counters == {"given": 0, "exhausted": 0}
    assert stat.publisher == PublisherStat()
    assert stat.ledger is None


def test_a_run_from_begin_to_end(desk: Desk, begin: Begin, store: RunStore) -> None:
    run = begin(desk.board, comment="x")
    desk.clock.now = run.began_at
    desk.run_began(run)
    desk.board.give(b"abc\xff", b"\xff", b"de")
    wait_until("it is written", lambda: run.counts.readouts == 2)
    desk.clock.sleep(2.0)
    stat = desk.status.stat()
    assert (stat.state, stat.run, stat.elapsed_s) == ("running", 1, pytest.approx(2.0))
    assert stat.file == str(store.part_path(1, 0))
    assert stat.counts == run.counts.model_dump()
    assert stat.counts["board_bytes"] == 7
    assert (stat.rates.readouts_hz, stat.rates.bytes_hz) == (1.0, 3.5)
    assert stat.queue.limit_bytes == run.queue.limit_bytes > 0
    assert stat.queue.high_water_bytes >= 1

    desk.clock.sleep(0.1)  # too short for a rate: the one before stays
    assert desk.status.stat().rates.readouts_hz == 1.0
    desk.clock.sleep(0.9)
    assert desk.status.stat().rates.readouts_hz == 0.0

    run.stop("enough")
    assert run.join(DEADLINE_S)
    run.close_record()
    desk.state.change(Cause.RUN_FINISHED)
    desk.status.run_ended(run)
    desk.clock.sleep(100.0)
    stat = desk.status.stat()
    assert (stat.state, stat.run, stat.file) == ("configured", 1, "")
    assert stat.elapsed_s == pytest.approx(3.0)
    assert stat.counts["readouts"] == 2
    assert stat.rates.readouts_hz == 0.0


def test_what_the_publisher_reports(desk: Desk, begin: Begin) -> None:
    ledger = Ledger(bytes_read=3, idle=3, readouts=1).to_dict()
    publisher = PublisherStat(messages=5, hits=7, subscribers=2, restarts=1, lag_bytes=9)
    state = PublisherState(run=1, ledger=ledger, hits_hz=12.0, stat=publisher)
    desk.status.take_publisher(state)
    stat = desk.status.stat()
    assert stat.publisher == publisher
    assert stat.ledger is None, "of a run that is none of ours"
    assert stat.rates.hits_hz == 0.0

    run = begin(desk.board)
    desk.run_began(run)
    assert desk.status.stat().ledger is None
    assert desk.status.stat().publisher == publisher
    desk.status.take_publisher(state)
    stat = desk.status.stat()
    assert (stat.ledger, stat.rates.hits_hz) == (ledger, 12.0)
    desk.status.take_publisher(state.model_copy(update={"run": None, "ledger": Ledger().to_dict()}))
    assert desk.status.stat().ledger == ledger
