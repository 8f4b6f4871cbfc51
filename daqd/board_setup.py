"""The board, set up for runs: connected, and its chips configured as wanted."""

import asyncio
import logging
from typing import Any

from daqd.boards.board import Board
from daqd.configuration.chip_setup import load_chip_setup
from daqd.configuration.config import Config
from daqd.daemon_state import Cause, DaemonStateMachine
from daqd.errors import BoardError, BoardLost, BoardSettingError, ConfigError, RunControlError
from protocol.chips.chip_setup import ChipSetup

log = logging.getLogger(__name__)


class BoardSetup:
    """Sets up `board`, and changes the state of the daemon accordingly; the board's work is done in threads.

    Raises `RunControlError`, as the commands report it, where that is impossible.
    """

    def __init__(self, config: Config, board: Board, state: DaemonStateMachine) -> None:
        self._config = config
        self._board = board
        self._state = state
        self._setup: ChipSetup | None = None
        self.applied: ChipSetup | None = None
        """What the chips are set to, as the board can do it."""

    async def wanted(self, overrides: dict[str, Any]) -> ChipSetup:
        """What the chips are to be set to: as the configuration says, but for `overrides`."""
        try:
            settings = self._config.chip.overridden(overrides)
            return await asyncio.to_thread(load_chip_setup, settings, self._config.board)
        except ConfigError as error:
            mistakes = "; ".join(error.mistakes)
            if overrides:
                raise RunControlError("bad_arguments", mistakes) from None
            raise RunControlError("configuration", mistakes) from None

    def is_done(self, setup: ChipSetup) -> bool:
        """Whether the chips are set to `setup`, since they were last set up without a failure."""
        return setup == self._setup

    async def do(self, setup: ChipSetup) -> None:
        """Connect and configure; the daemon is in error where that fails.

        What the board that answers cannot be set to is refused, and nothing changes.
        """
        before, was_open = (self._setup, self.applied), self._board.status().connected
        self._setup = self.applied = None
        try:
            applied = await asyncio.to_thread(self._bring_up, setup)
        except BoardSettingError as error:
            self._setup, self.applied = before
            if not was_open:
                await self.disconnect()
            raise RunControlError("configuration", str(error)) from error
        except BoardError as error:
            self._state.change(Cause.BOARD_FAILED, str(error))
            await self.disconnect()
            raise RunControlError("board", str(error)) from error
        self._setup, self.applied = setup, applied
        for line in applied.defaulted:
            log.info("%s", line)
        for line in applied.notes:
            log.warning("%s", line)
        self._state.change(Cause.BOARD_CONFIGURED)

    async def disconnect(self) -> None:
        """Leave the board safe."""
        await asyncio.to_thread(self._board.close)

    def _bring_up(self, setup: ChipSetup) -> ChipSetup:
        """In a thread. A board that went away while nobody asked it anything is looked for once more."""
        was_open = self._board.status().connected
        try:
            return self._open_and_configure(setup)
        except BoardLost:
            if not was_open:
                raise
            self._board.close()
            return self._open_and_configure(setup)

    def _open_and_configure(self, setup: ChipSetup) -> ChipSetup:
        self._board.open()
        setup = self._board.possible(setup)
        self._board.configure(setup)
        return setup
