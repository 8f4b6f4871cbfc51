"""Run control: the end of runs that take long, and of the daemon."""

import asyncio
import threading
from typing import Any

import pytest

from daqd.run_store import RunStore
from tests.daqd.controlled import Controlled, record_of, run
from tests.daqd.fake_board import FakeBoard
from tests.daqd.slow_disk import SlowDisk
from tests.daqd.waiting import DEADLINE_S


def test_a_stop_that_takes_too_long_goes_on(store: RunStore, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("daqd.run_control._STOP_S", 0.02)

    async def use(control: Controlled) -> None:
        disk = SlowDisk(monkeypatch)
        await control.obey("start")
        control.board.give(b"a")  # type: ignore[attr-defined]
        await control.until(disk.waiting.is_set)
        code, message = await control.refused("stop")
        assert (code, message) == ("timeout", "run 1 is still writing after 0.02 s; status tells how it goes")
        assert (await control.refused("start"))[0] == "running"
        assert (await control.obey("status"))["status"]["state"] == "running"
        disk.take()
        await control.until(lambda: control.control.state == "configured")
        record = record_of(store)
        assert (record.state, record.counts.readouts) == ("finished", 1)

    run(Controlled(store), use)


def test_the_end_of_the_daemon_ends_the_run_and_nothing_begins_any_more(store: RunStore) -> None:
    async def main() -> None:
        control = Controlled(store)
        await control.obey("start")
        control.board.give(b"a")  # type: ignore[attr-defined]
        await control.written(1)
        control.status.enter("stopping")
        await control.control.close()
        record = record_of(store)
        assert (record.state, record.end_reason, record.counts.readouts) == ("finished", "the daemon was ended", 1)
        assert control.board.told[-1] == "close"  # type: ignore[attr-defined]
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
