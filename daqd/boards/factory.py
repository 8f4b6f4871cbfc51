"""From the configuration to the board it names."""

from daqd.boards.astep import AstepBoard
from daqd.boards.gecco import GeccoBoard
from daqd.boards.linked_board import LinkedBoard
from daqd.configuration.config import Config
from daqd.transports.factory import make_link
from daqd.transports.link import Link


def open_board(config: Config, link: Link | None = None) -> LinkedBoard:
    """The board of `config`, ready for its `open()`: nothing is connected yet. `link`: another than its own.

    Raises `ConfigError` where settings do not go together, or an emulated board cannot play its file.
    """
    link = link or make_link(config)
    return AstepBoard(link, config) if config.board.kind == "astep" else GeccoBoard(link, config.board)
