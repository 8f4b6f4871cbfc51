"""From the configuration to the link that reaches the board."""

import os

from daqd.config import Config
from daqd.emulator.board_model import BoardModel
from daqd.emulator.cable import Cable
from daqd.emulator.factory import emulated_board
from daqd.emulator.ft2232h import EmulatedFt2232h
from daqd.emulator.usb_bus import EmulatedUsbBus
from daqd.errors import ConfigError
from daqd.transports.emulated import EmulatedLink
from daqd.transports.emulated_device import EmulatedDeviceLink
from daqd.transports.ftdi import FtdiLink
from daqd.transports.link import Link


def make_link(config: Config) -> Link:
    """The link of `board.transport`, ready for its `open()`: nothing is connected yet.

    Raises `ConfigError` where an emulated board cannot play its file.
    """
    match config.board.transport:
        case "emulated":
            board = emulated_board(config)
            return EmulatedLink(board, config.emulator.link_latency_ms / 1000, cable=_cable(config, board))
        case "emulated-usb":
            return _emulated_usb(config)
        case "ftdi":
            return FtdiLink(config.ftdi, config.runtime_dir)
        case transport:
            raise ConfigError([f"board.transport: {transport} is not there yet"])


def _cable(config: Config, board: BoardModel) -> Cable:
    return Cable(board, config.emulator.unplug_every_s, config.emulator.unplug_for_s)


def _emulated_usb(config: Config) -> Link:
    """pyftdi, on a bus with one device; its serial number is that of no other process, so that no lock is shared."""
    board = emulated_board(config)
    serial = f"{config.ftdi.serial or '210276'}-{os.getpid()}"
    device = EmulatedFt2232h(board, serial, config.ftdi.description, _cable(config, board))
    bus = EmulatedUsbBus()
    bus.plug_in(device)
    return EmulatedDeviceLink("emulated-usb", FtdiLink(config.ftdi, config.runtime_dir, lambda: bus), board)
