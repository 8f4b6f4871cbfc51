"""Run control: from state to state, what a run may be asked for, one command at a time."""

import asyncio

import pytest

from daqd.boards import open_board
from daqd.configuration.config import Config
from daqd.errors import RunControlError
from daqd.runs.run_store import RunStore
from protocol.apx import apx_open
from protocol.run_record import RunRecord
from tests.daqd.controlled import Controlled, record_of, run
from tests.daqd.fake_board import FakeBoard
from tests.daqd.slow_disk import SlowDisk


def test_from_idle_to_a_run_and_back(store: RunStore) -> None:
    async def use(control: Controlled) -> None:
        assert (await control.execute("status"))["status"]["state"] == "idle"
        assert await control.execute("configure") == {"state": "configured"}
        started = await control.execute("start", comment="Cd-109, 40 mV")
        assert started == {"state": "running", "run": 1, "directory": str(store.run_directory(1))}
        assert (await control.execute("status"))["status"]["run"] == 1
        control.board.give(b"a", b"b")
        await control.written(2)
        stopped = await control.execute("stop")
        assert (stopped["state"], stopped["run"]) == ("configured", 1)
        record = RunRecord.model_validate(stopped["record"])
        assert (record.state, record.end_reason, record.counts.readouts) == ("finished", "stopped by command", 2)
        assert record == record_of(store)
        assert await control.execute("reset") == {"state": "idle"}

    controlled = Controlled(store)
    run(controlled, use)
    assert controlled.states == ["idle", "configured", "running", "configured", "idle"]
    assert controlled.board.told == [
        *("open", "configure", "start", "stop", "close", "close"),
    ]
    assert controlled.publisher.woken >= 3


def test_start_configures_an_idle_board_and_does_not_again(store: RunStore) -> None:
    async def use(control: Controlled) -> None:
        for number in (1, 2):
            assert (await control.execute("start"))["run"] == number
            await control.execute("stop")
        assert control.board.told.count("configure") == 1

    run(Controlled(store), use)


def test_run_number_comment_and_limits(store: RunStore) -> None:
    async def use(control: Controlled) -> None:
        board = control.board
        assert isinstance(board, FakeBoard)
        assert (await control.execute("start", run=7, readouts=2, comment="two"))["run"] == 7
        board.give(b"a", b"b")
        await control.until(lambda: control.control.state == "configured")
        record = record_of(store, 7)
        assert (record.comment, record.end_reason) == ("two", "2 readouts read, as asked")
        assert await control.refused("start", run=7) == (
            "run_number",
            "run 7 was given before; the next free number is 8",
        )
        assert control.control.state == "configured"
        assert (await control.execute("start", duration_s=1e-3))["run"] == 8
        await control.until(lambda: control.control.state == "configured")
        assert record_of(store, 8).end_reason == "0.001 s taken, as asked"
        # A duration that has not passed does not end the next run.
        await control.execute("start", duration_s=1000.0)
        await control.execute("stop")
        assert record_of(store, 9).end_reason == "stopped by command"

    run(Controlled(store), use)


def test_stop_and_rotate_without_a_run(store: RunStore) -> None:
    async def use(control: Controlled) -> None:
        assert await control.execute("stop") == {"state": "idle", "run": None}
        assert (await control.refused("rotate"))[0] == "not_running"
        await control.execute("configure")
        assert await control.execute("stop") == {"state": "configured", "run": None}

    run(Controlled(store), use)


def test_rotate(store: RunStore) -> None:
    async def use(control: Controlled) -> None:
        board = control.board
        assert isinstance(board, FakeBoard)
        await control.execute("start")
        board.give(b"a")
        await control.written(1)
        assert await control.execute("rotate") == {"state": "running", "run": 1}
        await control.until(store.file_path(1, 0).exists)
        board.give(b"b")
        await control.written(2)
        stopped = await control.execute("stop")
        assert [file["readouts"] for file in stopped["record"]["files"]] == [1, 1]

    run(Controlled(store), use)


def test_status_does_not_wait_for_other_commands(store: RunStore, monkeypatch: pytest.MonkeyPatch) -> None:
    async def use(control: Controlled) -> None:
        disk = SlowDisk(monkeypatch)
        await control.execute("start")
        control.board.give(b"a")
        await control.until(disk.waiting.is_set)
        stop = asyncio.create_task(control.execute("stop"))
        again = asyncio.create_task(control.execute("stop"))
        await asyncio.sleep(0)
        assert (await control.execute("status"))["status"]["run"] == 1
        assert not stop.done()
        disk.take()
        assert (await stop)["run"] == 1
        assert (await again)["run"] is None

    run(Controlled(store), use)


def test_many_commands_at_the_same_time(store: RunStore) -> None:
    """Ten starts, some stops and configures: one start wins each time, nothing is mixed up."""

    async def use(control: Controlled) -> None:
        for round_ in range(1, 6):
            answers = await asyncio.gather(
                *(control.execute("start") for _ in range(10)), control.execute("status"), return_exceptions=True
            )
            runs = [answer["run"] for answer in answers if isinstance(answer, dict) and "run" in answer]
            codes = [answer.code for answer in answers if isinstance(answer, RunControlError)]
            assert runs == [round_]
            assert codes == ["running"] * 9
            stops = await asyncio.gather(*(control.execute("stop") for _ in range(5)), control.execute("configure"))
            assert [stop.get("run") for stop in stops[:5]] == [round_, None, None, None, None]
        assert store.runs() == [1, 2, 3, 4, 5]

    run(Controlled(store), use)


def test_an_emulated_board_under_run_control(store: RunStore) -> None:
    config = Config.model_validate({"board": {"transport": "emulated"}, "emulator": {"rate_hz": "max"}})

    async def use(control: Controlled) -> None:
        for number in (1, 2):
            await control.execute("start")
            await control.written(50)
            stopped = await control.execute("stop")
            counts = stopped["record"]["counts"]
            with apx_open(store.file_path(number, 0)) as file:
                readouts = list(file)
            assert len(readouts) == counts["readouts"] >= 50
            assert sum(len(readout.data()) for readout in readouts) == counts["readout_bytes"]
        status = (await control.execute("status"))["status"]
        assert status["board"]["connected"] is True
        await control.execute("reset")
        assert (await control.execute("status"))["status"]["board"]["connected"] is False

    run(Controlled(store, open_board(config), config), use)
