"""From the configuration to the board it names."""

from collections.abc import Callable, Mapping
from typing import Any

from daqd.boards.astep import AstepBoard
from daqd.boards.gecco import GeccoBoard
from daqd.boards.linked_board import LinkedBoard
from daqd.configuration.config import Config
from daqd.errors import ConfigError
from daqd.transports.factory import make_link
from daqd.transports.link import Link
from protocol.entry_points import BOARDS, loaded

_BOARDS: Mapping[str, Callable[[Link, Config], LinkedBoard]] = {
    "gecco": lambda link, config: GeccoBoard(link, config.board),
    "astep": AstepBoard,
}


def open_board(config: Config, link: Link | None = None) -> LinkedBoard:
    """The board of `config`, ready for its `open()`: nothing is connected yet. `link`: another than its own.

    Raises `ConfigError` where settings do not go together, or an emulated board cannot play its file.
    """
    link = link or make_link(config)
    make: Callable[[Link, Config], Any] | None = _BOARDS.get(config.board.kind) or loaded(BOARDS).get(config.board.kind)
    board = make(link, config) if make is not None else None
    if not isinstance(board, LinkedBoard):
        raise ConfigError([f"board.kind: the entry point {config.board.kind} of {BOARDS} makes no board"])
    return board
