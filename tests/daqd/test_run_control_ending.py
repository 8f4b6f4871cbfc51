"""Run control: the end of runs that take long, and of the daemon."""

import asyncio
import os
import threading
import time
from typing import Any

import pytest

from daqd.acquisition.readout_queue import READOUT_COST_BYTES
from daqd.children.messages import RunDecoded
from daqd.daemon_state import Cause
from daqd.runs.run_store import RunStore
from protocol.ledger import Ledger
from tests.daqd.controlled import Controlled, record_of, run
from tests.daqd.fake_board import FakeBoard
from tests.daqd.slow_disk import SlowDisk, SlowSync
from tests.daqd.waiting import DEADLINE_S

pytestmark = pytest.mark.slow


def test_a_stop_that_takes_too_long_goes_on(store: RunStore, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("daqd.run_control.STOP_S", 0.02)

    async def use(control: Controlled) -> None:
        disk = SlowDisk(monkeypatch)
        await control.execute("start")
        control.board.give(b"a")
        await control.until(disk.waiting.is_set)
        code, message = await control.refused("stop")
        assert (code, message) == ("timeout", "run 1 is still writing after 0.02 s; status tells how it goes")
        assert (await control.refused("start"))[0] == "running"
        assert (await control.execute("status"))["status"]["state"] == "running"
        disk.take()
        await control.until(lambda: control.control.state == "configured")
        record = record_of(store)
        assert (record.state, record.counts.readouts) == ("finished", 1)

    run(Controlled(store), use)


def test_the_end_of_the_daemon_ends_the_run_and_nothing_begins_any_more(store: RunStore) -> None:
    async def main() -> None:
        control = Controlled(store)
        await control.execute("start")
        control.board.give(b"a")
        await control.written(1)
        control.state.change(Cause.DAEMON_ENDS)
        await control.control.close()
        record = record_of(store)
        assert (record.state, record.end_reason, record.counts.readouts) == ("finished", "the daemon was ended", 1)
        assert control.board.told[-1] == "close"
        assert control.control.state == "stopping"
        assert (await control.refused("start"))[0] == "stopping"
        await control.control.close()

    asyncio.run(main())


def test_the_end_of_the_daemon_while_a_start_configures_the_board(store: RunStore) -> None:
    """The board is one thread's at a time, and the run that was about to begin does not."""

    class SlowBoard(FakeBoard):
        def __init__(self) -> None:
            super().__init__()
            self.configuring, self.go_on = threading.Event(), threading.Event()

        def configure(self, setup: Any = None) -> None:
            super().configure(setup)
            self.configuring.set()
            assert self.go_on.wait(DEADLINE_S)
            self.told.append("configured")

    async def main() -> None:
        board = SlowBoard()
        control = Controlled(store, board)
        start = asyncio.create_task(control.refused("start"))
        await control.until(board.configuring.is_set)
        close = asyncio.create_task(control.control.close())
        await asyncio.sleep(0)
        assert "close" not in board.told
        board.go_on.set()
        assert (await start)[0] == "stopping"
        await asyncio.wait_for(close, DEADLINE_S)
        assert board.told == ["open", "configure", "configured", "close"]
        assert store.runs() == []

    asyncio.run(main())


def test_a_disk_that_makes_everybody_wait_holds_up_no_other_client(
    store: RunStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    """While a run's files are made and while its record is closed, status is told and the end can be asked for."""

    async def use(control: Controlled) -> None:
        await control.execute("configure")
        for command in ("start", "stop"):
            with monkeypatch.context() as patch:
                disk = SlowSync(patch)
                waiting = asyncio.create_task(control.execute(command))
                await control.until(disk.waiting.is_set)
                assert (await control.execute("status"))["status"]["state"] in ("configured", "running")
                assert not waiting.done()
                disk.take()
                assert (await waiting)["run"] == 1
        assert record_of(store).state == "finished"

    run(Controlled(store), use)


def test_a_ledger_holds_up_nobody(store: RunStore, monkeypatch: pytest.MonkeyPatch) -> None:
    async def use(control: Controlled) -> None:
        await control.execute("start")
        await control.execute("stop")
        with monkeypatch.context() as patch:
            disk = SlowSync(patch)
            ledger = Ledger(bytes_read=3, idle=3).to_dict()
            control.control.receive(RunDecoded(run=1, ledger=ledger))
            await control.until(disk.waiting.is_set)
            assert record_of(store).ledger is None
            disk.take()
            assert await control.control.settle()
            assert record_of(store).ledger == ledger

    run(Controlled(store), use)


def test_shutdown_does_not_wait_for_a_stop(store: RunStore, monkeypatch: pytest.MonkeyPatch) -> None:
    async def use(control: Controlled) -> None:
        disk = SlowDisk(monkeypatch)
        await control.execute("start")
        control.board.give(b"a")
        await control.until(disk.waiting.is_set)
        stop = asyncio.create_task(control.execute("stop"))
        await asyncio.sleep(0)
        assert await control.execute("shutdown") == {"state": "stopping"}
        assert not stop.done()
        disk.take()
        assert (await stop)["run"] == 1

    run(Controlled(store), use)


def test_the_end_does_not_wait_for_ever_for_a_disk_that_is_stuck(
    store: RunStore, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr("daqd.process.watchdog._STUCK_S", 1.5)

    async def main() -> None:
        control = Controlled(store)
        disk = SlowDisk(monkeypatch)
        await control.execute("start")
        control.board.give(b"a")
        await control.until(disk.waiting.is_set)
        control.board.give(b"b")
        await control.until(lambda: control.status.stat().queue.bytes)
        stop = asyncio.create_task(control.execute("stop"))
        assert await asyncio.wait_for(control.control.close(), DEADLINE_S) is False
        assert "writer of run 1: no answer from the disk or the board for 1.5 s" in caplog.text
        assert f"{READOUT_COST_BYTES + 1} bytes that wait for it are lost" in caplog.text
        assert "reader" not in caplog.text
        assert "the next start repairs what is open" in caplog.text
        disk.take()  # what follows is only so that the test leaves nothing behind
        assert (await stop)["run"] == 1
        assert await control.control.close()

    asyncio.run(main())


def test_nor_for_a_board_that_is_stuck(
    store: RunStore, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr("daqd.process.watchdog._STUCK_S", 0.5)
    go_on = threading.Event()

    class StuckBoard(FakeBoard):
        def close(self) -> None:
            assert go_on.wait(DEADLINE_S)
            super().close()

    async def main() -> None:
        control = Controlled(store, StuckBoard())
        await control.execute("start")
        assert await asyncio.wait_for(control.control.close(), DEADLINE_S) is False
        assert "the board: no answer from the disk or the board for 0.5 s" in caplog.text
        assert record_of(store).state == "finished"
        go_on.set()
        assert await control.control.close()

    asyncio.run(main())


def test_a_disk_that_is_slow_but_goes_on_is_waited_for(store: RunStore, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("daqd.process.watchdog._STUCK_S", 2.0)
    write = os.write

    def write_slowly(descriptor: int, data: bytes) -> int:
        if threading.current_thread().name == "writer":
            time.sleep(0.2)  # what is tested is that this takes its time
        return write(descriptor, data)

    async def main() -> None:
        control = Controlled(store)
        await control.execute("start")
        monkeypatch.setattr("os.write", write_slowly)
        monkeypatch.setattr("os.fsync", lambda _: None)  # which may take long on a disk that really is slow
        pieces = 12
        control.board.give(*[bytes(1 << 20)] * pieces)
        await control.until(lambda: control.status.stat().board.counters["given"] == pieces)
        assert await asyncio.wait_for(control.control.close(), DEADLINE_S) is True
        assert record_of(store).counts.readouts == pieces

    asyncio.run(main())
