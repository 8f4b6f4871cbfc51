"""From the configuration to the link that reaches the board."""

from daqd.configuration.config import Config
from daqd.emulator.factory import emulated_board, emulated_cable
from daqd.emulator.ft2232h import EmulatedFt2232h
from daqd.emulator.stream_device import PtyDevice
from daqd.emulator.usb_bus import EmulatedUsbBus
from daqd.transports.emulated import EmulatedDeviceLink, EmulatedLink
from daqd.transports.ftdi import FtdiLink
from daqd.transports.link import Link
from daqd.transports.serial_link import SerialLink


def make_link(config: Config) -> Link:
    """The link of `board.transport`, ready for its `open()`: nothing is connected yet.

    Raises `ConfigError` where an emulated board cannot play its file.
    """
    match config.board.transport:
        case "emulated":
            board = emulated_board(config)
            return EmulatedLink(board, config.emulator.link_latency_ms / 1000, cable=emulated_cable(config, board))
        case "emulated-usb":
            return _emulated_usb(config)
        case "ftdi":
            return FtdiLink(config.ftdi, config.runtime_dir)
        case "serial":
            return SerialLink(config.serial, config.runtime_dir)
        case "emulated-pty":
            return _emulated_pty(config)


def _emulated_usb(config: Config) -> Link:
    """pyftdi, on a bus with one device, whose serial number is this daemon's own: no lock is shared with others."""
    board = emulated_board(config)
    serial = f"{config.ftdi.serial or '210276'}-{config.daq.name}"
    device = EmulatedFt2232h(board, serial, config.ftdi.description, emulated_cable(config, board))
    bus = EmulatedUsbBus()
    bus.plug_in(device)
    return EmulatedDeviceLink("emulated-usb", FtdiLink(config.ftdi, config.runtime_dir, lambda: bus), board)


def _emulated_pty(config: Config) -> Link:
    """pyserial, on a pseudo terminal as fast as the serial port would be."""
    board = emulated_board(config)
    port = config.runtime_dir / f"{config.daq.name}-emulated.pty"
    device = PtyDevice(board, port, config.serial.baud, emulated_cable(config, board))
    settings = config.serial.model_copy(update={"url": device.url})
    return EmulatedDeviceLink("emulated-pty", SerialLink(settings, config.runtime_dir), board, device)
