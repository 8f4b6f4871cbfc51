"""Run control: every state, every command, every refusal with its code; commands at the same time; the end."""

import asyncio
import threading
from pathlib import Path
from typing import Any

import pytest

from daqd.boards import open_board
from daqd.config import Config
from daqd.errors import BoardError, BoardLost, DiskError, RunControlError
from daqd.notices import Report
from daqd.run_store import RunStore
from protocol.apx import apx_open
from protocol.ledger import Ledger
from protocol.run_record import RunRecord
from tests.daqd.controlled import Controlled, record_of, run
from tests.daqd.fake_board import FakeBoard
from tests.daqd.slow_disk import SlowDisk
from tests.daqd.waiting import DEADLINE_S


class AwayBoard(FakeBoard):
    """Cannot be opened while `is_away`."""

    is_away = False

    def open(self) -> None:
        super().open()
        if self.is_away:
            raise BoardLost("still out")


def test_from_idle_to_a_run_and_back(store: RunStore) -> None:
    async def use(control: Controlled) -> None:
        assert (await control.obey("status"))["status"]["state"] == "idle"
        assert await control.obey("configure") == {"state": "configured"}
        started = await control.obey("start", comment="Cd-109, 40 mV")
        assert started == {"state": "running", "run": 1, "directory": str(store.run_directory(1))}
        assert (await control.obey("status"))["status"]["run"] == 1
        control.board.give(b"a", b"b")  # type: ignore[attr-defined]
        await control.written(2)
        stopped = await control.obey("stop")
        assert (stopped["state"], stopped["run"]) == ("configured", 1)
        record = RunRecord.model_validate(stopped["record"])
        assert (record.state, record.end_reason, record.counts.readouts) == ("finished", "stopped by command", 2)
        assert record == record_of(store)
        assert await control.obey("reset") == {"state": "idle"}

    controlled = Controlled(store)
    run(controlled, use)
    assert controlled.states == ["idle", "configured", "running", "configured", "idle"]
    assert controlled.board.told == [  # type: ignore[attr-defined]
        *("open", "configure", "start", "stop", "close", "close"),
    ]
    assert controlled.publisher.woken >= 3


def test_start_configures_an_idle_board_and_does_not_again(store: RunStore) -> None:
    async def use(control: Controlled) -> None:
        for number in (1, 2):
            assert (await control.obey("start"))["run"] == number
            await control.obey("stop")
        assert control.board.told.count("configure") == 1  # type: ignore[attr-defined]

    run(Controlled(store), use)


def test_a_run_may_have_its_own_chip_settings(store: RunStore) -> None:
    async def use(control: Controlled) -> None:
        board = control.board
        assert isinstance(board, FakeBoard)
        await control.obey("start")
        usual = board.setup
        await control.obey("stop")
        await control.obey("start", chip={"threshold_mv": 40.0})
        assert board.setup != usual
        await control.obey("stop")
        await control.obey("start")
        assert board.setup == usual
        assert board.told.count("configure") == 3
        code, message = await control.refused("start", chip={"threshold_mv": 1e9})
        assert code == "running"
        await control.obey("stop")
        code, message = await control.refused("start", chip={"threshold_mv": 1e9})
        assert code == "bad_arguments"
        assert "threshold" in message
        code, message = await control.refused("start", chip={"nonsense": 1})
        assert code == "bad_arguments"
        assert control.control.state == "configured"
        assert store.runs() == [1, 2, 3]

    run(Controlled(store), use)


def test_run_number_comment_and_limits(store: RunStore) -> None:
    async def use(control: Controlled) -> None:
        board = control.board
        assert isinstance(board, FakeBoard)
        assert (await control.obey("start", run=7, readouts=2, comment="two"))["run"] == 7
        board.give(b"a", b"b")
        await control.until(lambda: control.control.state == "configured")
        record = record_of(store, 7)
        assert (record.comment, record.end_reason) == ("two", "2 readouts read, as asked")
        assert await control.refused("start", run=7) == (
            "run_number",
            "run 7 was given before; the next free number is 8",
        )
        assert control.control.state == "configured"
        assert (await control.obey("start", duration_s=1e-3))["run"] == 8
        await control.until(lambda: control.control.state == "configured")
        assert record_of(store, 8).end_reason == "0.001 s taken, as asked"
        # A duration that has not passed does not end the next run.
        await control.obey("start", duration_s=1000.0)
        await control.obey("stop")
        assert record_of(store, 9).end_reason == "stopped by command"

    run(Controlled(store), use)


BAD_ARGUMENTS: list[tuple[str, dict[str, Any]]] = [
    ("start", {"run": 0}),
    ("start", {"run": -1}),
    ("start", {"run": "seven"}),
    ("start", {"run": 1_000_000_000}),
    ("start", {"duration_s": -1}),
    ("start", {"duration_s": float("nan")}),
    ("start", {"duration_s": float("inf")}),
    ("start", {"readouts": -1}),
    ("start", {"readouts": 1.5}),
    ("start", {"comment": "x" * 10_001}),
    ("start", {"comment": 5}),
    ("start", {"chip": 5}),
    ("start", {"color": "red"}),
    *((command, {"run": 1}) for command in ("configure", "stop", "rotate", "status", "reset", "shutdown")),
]


@pytest.mark.parametrize(("command", "args"), BAD_ARGUMENTS)
def test_arguments_that_are_not_taken(store: RunStore, command: str, args: dict[str, Any]) -> None:
    async def use(control: Controlled) -> None:
        code, message = await control.refused(command, **args)
        assert code == "bad_arguments"
        assert message.startswith(f"{command}: {next(iter(args))}")
        assert store.runs() == []
        assert control.states == ["idle"]

    run(Controlled(store), use)


@pytest.mark.parametrize("command", ["", "launch", "Start", "_start", "__init__", "é\n"])
def test_commands_that_are_none(store: RunStore, command: str) -> None:
    async def use(control: Controlled) -> None:
        code, message = await control.refused(command)
        assert code == "unknown_command"
        assert "configure, reset, rotate, shutdown, start, status, stop" in message

    run(Controlled(store), use)


def test_what_is_refused_while_a_run_is_taken(store: RunStore) -> None:
    async def use(control: Controlled) -> None:
        await control.obey("start")
        for command in ("start", "configure", "reset"):
            assert await control.refused(command) == ("running", "run 1 is being taken: stop it first")
        assert control.control.state == "running"
        assert store.runs() == [1]

    run(Controlled(store), use)


def test_stop_and_rotate_without_a_run(store: RunStore) -> None:
    async def use(control: Controlled) -> None:
        assert await control.obey("stop") == {"state": "idle", "run": None}
        assert (await control.refused("rotate"))[0] == "not_running"
        await control.obey("configure")
        assert await control.obey("stop") == {"state": "configured", "run": None}

    run(Controlled(store), use)


def test_rotate(store: RunStore) -> None:
    async def use(control: Controlled) -> None:
        board = control.board
        assert isinstance(board, FakeBoard)
        await control.obey("start")
        board.give(b"a")
        await control.written(1)
        assert await control.obey("rotate") == {"state": "running", "run": 1}
        await control.until(store.file_path(1, 0).exists)
        board.give(b"b")
        await control.written(2)
        stopped = await control.obey("stop")
        assert [file["readouts"] for file in stopped["record"]["files"]] == [1, 1]

    run(Controlled(store), use)


@pytest.mark.parametrize("where", ["open", "configure"])
@pytest.mark.parametrize("command", ["configure", "start"])
def test_a_board_that_cannot_be_configured(store: RunStore, command: str, where: str) -> None:
    async def use(control: Controlled) -> None:
        board = control.board
        assert isinstance(board, FakeBoard)
        board.failing[where] = BoardError("no answer: is it powered?")
        assert await control.refused(command) == ("board", "no answer: is it powered?")
        assert control.control.state == "error"
        assert (await control.obey("status"))["status"]["reason"] == "no answer: is it powered?"
        assert board.told[-1] == "close"
        code, message = await control.refused("start")
        assert code == "error"
        assert "no answer: is it powered?" in message
        assert store.runs() == []
        assert await control.obey("reset") == {"state": "idle"}
        assert (await control.obey("start"))["run"] == 1

    run(Controlled(store), use)


def test_configure_leaves_an_error_where_the_board_is_there_again(store: RunStore) -> None:
    async def use(control: Controlled) -> None:
        board = control.board
        assert isinstance(board, FakeBoard)
        board.failing["open"] = BoardLost("cable")
        assert (await control.refused("configure"))[0] == "board"
        assert await control.obey("configure") == {"state": "configured"}
        assert await control.obey("configure") == {"state": "configured"}

    run(Controlled(store), use)


def test_a_run_that_fails_is_an_error_until_reset(store: RunStore) -> None:
    async def use(control: Controlled) -> None:
        board = control.board
        assert isinstance(board, FakeBoard)
        board.failing["start"] = BoardError("no answer")
        await control.obey("start")
        await control.until(lambda: control.control.state == "error")
        status = (await control.obey("status"))["status"]
        assert (status["reason"], status["run"]) == ("board: no answer", 1)
        assert record_of(store).state == "failed"
        assert (await control.refused("start"))[0] == "error"
        assert await control.obey("stop") == {"state": "error", "run": None}
        await control.obey("reset")
        assert (await control.obey("start"))["run"] == 2

    run(Controlled(store), use)


def test_a_lost_board_is_told_and_the_gap_recorded(store: RunStore) -> None:
    async def use(control: Controlled) -> None:
        board = control.board
        assert isinstance(board, FakeBoard)
        await control.obey("start")
        board.give(b"a", BoardLost("cable"), b"b")
        await control.written(2)
        await control.until(lambda: control.states[-1] == "running" and record_of(store).gaps)
        stopped = await control.obey("stop")
        assert stopped["record"]["state"] == "finished"
        (gap,) = stopped["record"]["gaps"]
        assert gap["reason"] == "cable"
        assert control.states == ["idle", "configured", "running", "recovering", "running", "configured"]

    run(Controlled(store), use)


def test_a_run_can_be_stopped_while_the_board_is_away(store: RunStore) -> None:
    async def use(control: Controlled) -> None:
        board = control.board
        assert isinstance(board, AwayBoard)
        await control.obey("start")
        board.give(b"a")
        await control.written(1)
        board.is_away = True
        board.give(BoardLost("cable"))
        await control.until(lambda: control.control.state == "recovering")
        assert (await control.refused("start"))[0] == "running"
        stopped = await control.obey("stop")
        assert stopped["record"]["counts"]["readouts"] == 1
        assert stopped["record"]["gaps"][0]["to_ns"] is None

    run(Controlled(store, AwayBoard()), use)


def test_a_disk_that_takes_no_run(store: RunStore, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*_: object) -> None:
        raise DiskError("No space left on device")

    async def use(control: Controlled) -> None:
        with monkeypatch.context() as patch:
            patch.setattr(RunStore, "write_record", fail)
            assert await control.refused("start") == ("disk", "No space left on device")
        assert control.control.state == "error"
        assert "start" not in control.board.told  # type: ignore[attr-defined]
        await control.obey("reset")
        assert (await control.obey("start"))["run"] == 2

    run(Controlled(store), use)


def test_a_record_that_cannot_be_closed(store: RunStore, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*_: object) -> None:
        raise DiskError("cannot write the record of run 1: No space left on device")

    async def use(control: Controlled) -> None:
        await control.obey("start")
        with monkeypatch.context() as patch:
            patch.setattr(RunStore, "write_record", fail)
            stopped = await control.obey("stop")
        assert stopped["state"] == "error"
        assert "cannot write the record of run 1" in control.status.reason
        assert control.status.reason.startswith("run 1: ")

    run(Controlled(store), use)


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


def test_status_does_not_wait_for_other_commands(store: RunStore, monkeypatch: pytest.MonkeyPatch) -> None:
    async def use(control: Controlled) -> None:
        disk = SlowDisk(monkeypatch)
        await control.obey("start")
        control.board.give(b"a")  # type: ignore[attr-defined]
        await control.until(disk.waiting.is_set)
        stop = asyncio.create_task(control.obey("stop"))
        again = asyncio.create_task(control.obey("stop"))
        await asyncio.sleep(0)
        assert (await control.obey("status"))["status"]["run"] == 1
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
                *(control.obey("start") for _ in range(10)), control.obey("status"), return_exceptions=True
            )
            runs = [answer["run"] for answer in answers if isinstance(answer, dict) and "run" in answer]
            codes = [answer.code for answer in answers if isinstance(answer, RunControlError)]
            assert runs == [round_]
            assert codes == ["running"] * 9
            stops = await asyncio.gather(*(control.obey("stop") for _ in range(5)), control.obey("configure"))
            assert [stop.get("run") for stop in stops[:5]] == [round_, None, None, None, None]
        assert store.runs() == [1, 2, 3, 4, 5]

    run(Controlled(store), use)


def test_shutdown_refuses_what_begins_something(store: RunStore) -> None:
    async def use(control: Controlled) -> None:
        await control.obey("start")
        assert await control.obey("shutdown") == {"state": "stopping"}
        assert control.control.shutdown_asked.is_set()
        for command in ("start", "configure", "reset", "rotate"):
            assert (await control.refused(command))[0] == "stopping"
        assert await control.obey("shutdown") == {"state": "stopping"}
        assert (await control.obey("stop"))["run"] == 1
        assert (await control.obey("status"))["status"]["state"] == "configured"

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


def test_the_ledger_of_a_run_reaches_its_record_also_late(store: RunStore) -> None:
    """Two quick runs; the publisher is behind, and reports both when the second is over."""

    async def use(control: Controlled) -> None:
        for _ in range(2):
            await control.obey("start")
            await control.obey("stop")
        for number in (1, 2):
            ledger = Ledger(bytes_read=number, idle=number).to_dict()
            control.control.take_report(Report(kind="run_ended", endpoint="x", run=number, ledger=ledger))
            assert record_of(store, number).ledger == ledger
            assert record_of(store, number).state == "finished"
        control.control.take_report(Report(kind="run_ended", endpoint="x", run=77, ledger=Ledger().to_dict()))
        control.control.take_report(Report(kind="state", endpoint="x", run=2, ledger=Ledger().to_dict()))
        assert record_of(store, 2).ledger == Ledger(bytes_read=2, idle=2).to_dict()

    run(Controlled(store), use)


def test_a_ledger_that_cannot_be_written_is_logged(store: RunStore, caplog: pytest.LogCaptureFixture) -> None:
    async def use(control: Controlled) -> None:
        await control.obey("start")
        await control.obey("stop")
        store.record_path(1).write_text("nonsense")
        control.control.take_report(Report(kind="run_ended", endpoint="x", run=1, ledger=Ledger().to_dict()))

    run(Controlled(store), use)
    assert "the ledger of run 1 is not in its record" in caplog.text


def test_an_emulated_board_under_run_control(store: RunStore) -> None:
    config = Config.model_validate({"board": {"transport": "emulated"}, "emulator": {"rate_hz": "max"}})

    async def use(control: Controlled) -> None:
        for number in (1, 2):
            await control.obey("start")
            await control.written(50)
            stopped = await control.obey("stop")
            counts = stopped["record"]["counts"]
            with apx_open(store.file_path(number, 0)) as file:
                readouts = list(file)
            assert len(readouts) == counts["readouts"] >= 50
            assert sum(len(readout.data()) for readout in readouts) == counts["readout_bytes"]
        status = (await control.obey("status"))["status"]
        assert status["board"]["connected"] is True
        await control.obey("reset")
        assert (await control.obey("status"))["status"]["board"]["connected"] is False

    run(Controlled(store, open_board(config), config), use)


def test_a_chip_file_that_is_wrong_is_told(store: RunStore, tmp_path: Path) -> None:
    (tmp_path / "chips.yml").write_text("nonsense")
    config = Config.model_validate(
        {"board": {"transport": "emulated"}, "chip": {"file": str(tmp_path / "chips.yml")}},
        context=None,
    )

    async def use(control: Controlled) -> None:
        code, message = await control.refused("configure")
        assert code == "configuration"
        assert message
        assert control.states == ["idle"]

    run(Controlled(store, config=config), use)
