"""From the configuration to the board it names."""

from daqd.boards.board import Board
from daqd.boards.gecco import GeccoBoard
from daqd.config import Config
from daqd.errors import ConfigError
from daqd.transports.factory import make_link
from daqd.transports.link import Link


def open_board(config: Config, link: Link | None = None) -> Board:
    """The board of `config`, ready for its `open()`: nothing is connected yet. `link`: another than its own.

    Raises `ConfigError` where an emulated board cannot play its file.
    """
    if config.board.kind == "astep":
        raise ConfigError(["board.kind: astep is not there yet"])
    return GeccoBoard(link or make_link(config), config.board)
