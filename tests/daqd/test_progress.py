"""What the watchdog looks at: grows as long as a thread goes round, whatever there is to do; stands still where not."""

import asyncio
import threading
import time
from collections.abc import Callable

import pytest

from daqd.acquisition.active_run import ActiveRun, RunHooks, RunRequest
from daqd.acquisition.reader import Reader, Recovery
from daqd.acquisition.readout_queue import ReadoutQueue
from daqd.acquisition.writer import Writer
from daqd.boards.board import RawReadout
from daqd.configuration.config import Config
from daqd.errors import BoardLost
from daqd.runs.run_files import RunFiles
from daqd.runs.run_store import RunStore
from protocol.readout import AstroPix4Readout
from tests.daqd.controlled import Controlled
from tests.daqd.fake_board import FakeBoard
from tests.daqd.slow_disk import SlowDisk
from tests.daqd.waiting import DEADLINE_S, wait_until

pytestmark = pytest.mark.slow

CONFIG = Config.model_validate({"board": {"transport": "emulated"}})
ROUNDS = 2
STILL_S = 0.6
"""Longer than any thread may stand still while it is well."""


def check_grows(number: Callable[[], int]) -> None:
    first = number()
    wait_until("it goes round", lambda: number() >= first + ROUNDS)


def check_stands_still(number: Callable[[], int]) -> None:
    first = number()
    time.sleep(STILL_S)  # the time itself is what is looked at
    assert number() == first


class StuckBoard(FakeBoard):
    """Its reads do not come back until `come_back` is set."""

    def __init__(self) -> None:
        super().__init__()
        self.come_back = threading.Event()

    def read_readout(self, timeout_s: float) -> RawReadout | None:
        self.reading.set()
        assert self.come_back.wait(DEADLINE_S)
        return super().read_readout(timeout_s)


class AwayBoard(FakeBoard):
    """Is lost, and does not come back."""

    def read_readout(self, timeout_s: float) -> RawReadout | None:
        raise BoardLost("cable out")


def reader_of(board: FakeBoard) -> Reader:
    def bring_up() -> None:
        raise BoardLost("still out")

    recovery = Recovery(bring_up, lambda _: None, lambda _: None)
    return Reader(board, ReadoutQueue(1 << 20), lambda _: None, recovery=recovery)


def end(thread: Reader | Writer) -> None:
    assert thread.join(DEADLINE_S)
    assert not thread.is_alive


@pytest.mark.parametrize("board", [FakeBoard(), AwayBoard()], ids=["silent", "away"])
def test_a_reader_without_data_goes_round(board: FakeBoard) -> None:
    reader = reader_of(board)
    assert not reader.is_alive
    reader.start()
    assert reader.is_alive
    check_grows(lambda: reader.progress)
    reader.stop("enough")
    end(reader)


def test_a_reader_goes_round_more_than_once_in_a_long_pause(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("daqd.acquisition.reader._PAUSES_S", (1e6,))
    reader = reader_of(AwayBoard())
    reader.start()
    check_grows(lambda: reader.progress)
    reader.stop("enough")
    end(reader)


def test_a_reader_that_is_stuck_in_the_board_stands_still() -> None:
    board = StuckBoard()
    reader = reader_of(board)
    reader.start()
    assert board.reading.wait(DEADLINE_S)
    check_stands_still(lambda: reader.progress)
    board.come_back.set()
    check_grows(lambda: reader.progress)
    reader.stop("enough")
    end(reader)


@pytest.fixture
def files(store: RunStore) -> RunFiles:
    """Of a run, the first file open."""
    files = RunFiles(store, store.claim(), AstroPix4Readout, {}, max_size_bytes=1 << 40, max_time_s=1e9)
    files.open_next()
    return files


def writer_of(queue: ReadoutQueue, files: RunFiles) -> Writer:
    return Writer(
        queue, files, flush_s=0, fsync_s=1, on_written=lambda: None, on_rotated=lambda _: None, on_end=lambda _: None
    )


def test_a_writer_without_readouts_goes_round(files: RunFiles) -> None:
    queue = ReadoutQueue(1 << 20)
    writer = writer_of(queue, files)
    writer.start()
    check_grows(lambda: writer.progress)
    queue.close()
    end(writer)


def test_a_writer_that_is_stuck_in_the_disk_stands_still(files: RunFiles, monkeypatch: pytest.MonkeyPatch) -> None:
    disk = SlowDisk(monkeypatch)
    queue = ReadoutQueue(1 << 20)
    writer = writer_of(queue, files)
    queue.put(RawReadout(b"a", 0))
    writer.start()
    assert disk.waiting.wait(DEADLINE_S)
    check_stands_still(lambda: writer.progress)
    disk.take()
    queue.close()
    end(writer)


def test_each_piece_that_a_slow_disk_has_taken_is_progress(files: RunFiles, monkeypatch: pytest.MonkeyPatch) -> None:
    """All of a full queue is written at once, which takes minutes on a bad disk."""
    pieces = 3
    disk = SlowDisk(monkeypatch, free_writes=pieces)
    queue = ReadoutQueue(1 << 30)
    for _ in range(100):
        queue.put(RawReadout(bytes(60_000), 0))
    writer = writer_of(queue, files)
    before = writer.progress
    writer.start()
    assert disk.waiting.wait(DEADLINE_S)
    assert writer.progress >= before + pieces
    disk.take()
    queue.close()
    end(writer)
    assert files.readouts == 100


def test_of_a_run_both_threads_are_told_as_long_as_they_live(store: RunStore) -> None:
    ended = threading.Event()
    hooks = RunHooks(on_written=lambda: None, on_end=ended.set)
    run = ActiveRun(CONFIG, FakeBoard(), store, RunRequest(), {}, hooks)
    assert run.progress == {}
    run.begin()
    assert set(run.progress) == {"reader of run 1", "writer of run 1"}
    for name in run.progress:
        check_grows(lambda name=name: run.progress[name])
    run.stop("enough")
    assert run.join(DEADLINE_S)
    assert run.progress == {}


def test_run_control_has_none_without_a_run(store: RunStore) -> None:
    async def use() -> None:
        control = Controlled(store)
        assert control.control.progress == {}
        await control.execute("start")
        assert len(control.control.progress) == 2
        await control.execute("stop")
        assert control.control.progress == {}
        await control.control.close()

    asyncio.run(use())
