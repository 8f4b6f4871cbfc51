"""From the configuration to the link that reaches the board."""

from daqd.config import Config
from daqd.emulator.factory import emulated_board
from daqd.errors import ConfigError
from daqd.transports.emulated import EmulatedLink
from daqd.transports.link import Link


def make_link(config: Config) -> Link:
    """The link of `board.transport`, ready for its `open()`: nothing is connected yet.

    Raises `ConfigError` where an emulated board cannot play its file.
    """
    match config.board.transport:
        case "emulated":
            return EmulatedLink(emulated_board(config), config.emulator.link_latency_ms / 1000)
        case transport:
            raise ConfigError([f"board.transport: {transport} is not there yet"])
