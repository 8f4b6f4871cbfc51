"""Run control: the board fails, is lost, comes back; its chips."""

from pathlib import Path

import pytest

from daqd.configuration.config import Config
from daqd.errors import BoardError, BoardLost, BoardSettingError
from daqd.runs.run_store import RunStore
from protocol.chips.chip_config import ChipConfigError
from protocol.chips.chip_setup import ChipSetup
from tests.daqd.controlled import Controlled, record_of, run
from tests.daqd.fake_board import FakeBoard


class AwayBoard(FakeBoard):
    """Cannot be opened while `is_away`."""

    is_away = False

    def open(self) -> None:
        super().open()
        if self.is_away:
            raise BoardLost("still out")


@pytest.mark.parametrize("where", ["open", "configure"])
@pytest.mark.parametrize("command", ["configure", "start"])
def test_a_board_that_cannot_be_configured(store: RunStore, command: str, where: str) -> None:
    async def use(control: Controlled) -> None:
        board = control.board
        assert isinstance(board, FakeBoard)
        board.failing[where] = BoardError("no answer: is it powered?")
        assert await control.refused(command) == ("board", "no answer: is it powered?")
        assert control.control.state == "error"
        assert (await control.execute("status"))["status"]["reason"] == "no answer: is it powered?"
        assert board.told[-1] == "close"
        code, message = await control.refused("start")
        assert code == "error"
        assert "no answer: is it powered?" in message
        assert store.runs() == []
        assert await control.execute("reset") == {"state": "idle"}
        assert (await control.execute("start"))["run"] == 1

    run(Controlled(store), use)


def test_configure_leaves_an_error_where_the_board_is_there_again(store: RunStore) -> None:
    async def use(control: Controlled) -> None:
        board = control.board
        assert isinstance(board, FakeBoard)
        board.failing["open"] = BoardLost("cable")
        assert (await control.refused("configure"))[0] == "board"
        assert await control.execute("configure") == {"state": "configured"}
        assert await control.execute("configure") == {"state": "configured"}

    run(Controlled(store), use)


def test_a_run_that_fails_is_an_error_until_reset(store: RunStore) -> None:
    async def use(control: Controlled) -> None:
        board = control.board
        assert isinstance(board, FakeBoard)
        board.failing["start"] = BoardError("no answer")
        await control.execute("start")
        await control.until(lambda: control.control.state == "error")
        status = (await control.execute("status"))["status"]
        assert (status["reason"], status["run"]) == ("board: no answer", 1)
        assert record_of(store).state == "failed"
        assert (await control.refused("start"))[0] == "error"
        assert await control.execute("stop") == {"state": "error", "run": None}
        await control.execute("reset")
        assert (await control.execute("start"))["run"] == 2

    run(Controlled(store), use)


def test_a_lost_board_is_told_and_the_gap_recorded(store: RunStore) -> None:
    async def use(control: Controlled) -> None:
        board = control.board
        assert isinstance(board, FakeBoard)
        await control.execute("start")
        board.give(b"a", BoardLost("cable"), b"b")
        await control.written(2)
        await control.until(lambda: control.states[-1] == "running" and record_of(store).gaps)
        stopped = await control.execute("stop")
        assert stopped["record"]["state"] == "finished"
        (gap,) = stopped["record"]["gaps"]
        assert gap["reason"] == "cable"
        assert control.states == ["idle", "configured", "running", "recovering", "running", "configured"]

    run(Controlled(store), use)


def test_a_run_can_be_stopped_while_the_board_is_away(store: RunStore) -> None:
    async def use(control: Controlled) -> None:
        board = control.board
        assert isinstance(board, AwayBoard)
        await control.execute("start")
        board.give(b"a")
        await control.written(1)
        board.is_away = True
        board.give(BoardLost("cable"))
        await control.until(lambda: control.control.state == "recovering")
        assert (await control.refused("start"))[0] == "running"
        stopped = await control.execute("stop")
        assert stopped["record"]["counts"]["readouts"] == 1
        assert stopped["record"]["gaps"][0]["to_ns"] is None

    run(Controlled(store, AwayBoard()), use)


def test_a_run_may_have_its_own_chip_settings(store: RunStore) -> None:
    async def use(control: Controlled) -> None:
        board = control.board
        assert isinstance(board, FakeBoard)
        await control.execute("start")
        usual = board.setup
        await control.execute("stop")
        await control.execute("start", chip={"threshold_mv": 40.0})
        assert board.setup != usual
        await control.execute("stop")
        await control.execute("start")
        assert board.setup == usual
        assert board.told.count("configure") == 3
        code, message = await control.refused("start", chip={"threshold_mv": 1e9})
        assert code == "running"
        await control.execute("stop")
        code, message = await control.refused("start", chip={"threshold_mv": 1e9})
        assert code == "bad_arguments"
        assert "threshold" in message
        code, message = await control.refused("start", chip={"nonsense": 1})
        assert code == "bad_arguments"
        assert control.control.state == "configured"
        assert store.runs() == [1, 2, 3]

    run(Controlled(store), use)


class CardlessBoard(FakeBoard):
    """A board that finds out in `possible` that it has no cards."""

    def possible(self, setup: ChipSetup) -> ChipSetup:
        try:
            return setup.for_board(has_cards=False)
        except ChipConfigError as error:
            raise BoardSettingError("; ".join(error.mistakes)) from error


def test_what_the_board_cannot_be_set_to_is_refused_and_nothing_changes(store: RunStore) -> None:
    async def use(control: Controlled) -> None:
        board = control.board
        assert isinstance(board, CardlessBoard)
        wrong = {"inject": [1, 9], "vinj_mv": 300.0, "inject_output": "card"}
        code, message = await control.refused("start", chip=wrong)
        assert (code, control.control.state) == ("configuration", "idle")
        assert "chip.inject_output" in message
        assert not board.is_open
        await control.execute("start")
        await control.execute("stop")
        kept = board.setup
        assert (await control.refused("start", chip=wrong))[0] == "configuration"
        assert control.control.state == "configured"
        assert board.is_open
        await control.execute("start")
        assert (board.setup, board.told.count("configure")) == (kept, 1)
        stopped = await control.execute("stop")
        assert stopped["record"]["chip_configuration"]["configcards"] is None

    run(Controlled(store, CardlessBoard()), use)


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
