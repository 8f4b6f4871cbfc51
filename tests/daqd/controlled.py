"""Run control in a test: its board, its commands, the states it went through."""

import asyncio
import shutil
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import pytest

from daqd.acquisition.disk_watch import DiskWatch
from daqd.boards.board import Board
from daqd.configuration.config import Config
from daqd.control_commands import execute
from daqd.daemon_state import DaemonStateMachine
from daqd.errors import RunControlError
from daqd.run_control import RunControl
from daqd.runs.run_store import RunStore
from daqd.status import StatusBoard
from protocol.run_record import RunRecord
from tests.daqd.fake_board import FakeBoard
from tests.daqd.waiting import DEADLINE_S

CONFIG = Config.model_validate({"board": {"transport": "emulated"}})


class DeafPublisher:
    """In the place of the publisher: counts how often it is woken."""

    def __init__(self) -> None:
        self.woken = 0

    def wake(self) -> None:
        self.woken += 1


class Controlled:
    """A run control with its board; the states it went through."""

    def __init__(
        self,
        store: RunStore,
        board: Board | None = None,
        config: Config = CONFIG,
        usage: Callable[[Path], tuple[int, int, int]] = shutil.disk_usage,
    ) -> None:
        self.board = board or FakeBoard()
        self.states = ["idle"]
        self.publisher = DeafPublisher()
        self.disk = DiskWatch(store.data_dir, config.disk, usage=usage)
        self.state = DaemonStateMachine(self._changed)
        self.status = StatusBoard(self.state, self.board, "emulated", 1, self.disk, "1.2")
        self.control = RunControl(
            config,
            self.board,
            store,
            self.publisher,
            self.state,
            self.status,
            {"name": "test"},
        )

    def _changed(self) -> None:
        self.states.append(self.state.state)

    async def execute(self, command: str, **args: Any) -> dict[str, Any]:
        return await asyncio.wait_for(execute(self.control, command, args), DEADLINE_S)

    async def refused(self, command: str, **args: Any) -> tuple[str, str]:
        """Code and message of the refusal."""
        with pytest.raises(RunControlError) as caught:
            await self.execute(command, **args)
        assert "\n" not in str(caught.value)
        return caught.value.code, str(caught.value)

    async def until(self, condition: Callable[[], object]) -> None:
        async def wait() -> None:
            while not condition():  # noqa: ASYNC110 - what is waited for tells nobody
                await asyncio.sleep(0.001)

        await asyncio.wait_for(wait(), DEADLINE_S)

    async def written(self, readouts: int) -> None:
        await self.until(lambda: self.status.stat().counts["readouts"] >= readouts)


def run(controlled: Controlled, use: Callable[[Controlled], Awaitable[None]]) -> None:
    """Use it, and close it as the daemon does."""

    async def main() -> None:
        try:
            await use(controlled)
        finally:
            await asyncio.wait_for(controlled.control.close(), DEADLINE_S)

    asyncio.run(main())


def record_of(store: RunStore, number: int = 1) -> RunRecord:
    record = store.read_record(number)
    assert record is not None
    return record
