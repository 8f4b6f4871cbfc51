"""From the configuration to the board it names."""

from pathlib import Path

from daqd.boards.board import Board
from daqd.boards.gecco import GeccoBoard
from daqd.config import Config
from daqd.emulator.byte_source import ByteSource
from daqd.emulator.gecco_model import GeccoModel
from daqd.emulator.recorded_readouts import RecordedReadouts
from daqd.emulator.seeded_hits import SeededHits
from daqd.transports.emulated import EmulatedLink


def open_board(config: Config) -> Board:
    """The board of `config`, ready for its `open()`: nothing is connected yet.

    Raises `ConfigError` where an emulated board cannot play its file.
    """
    model = GeccoModel(_emulated_source(config), config.emulator.fifo_bytes)
    link = EmulatedLink(model, config.emulator.link_latency_ms / 1000)
    return GeccoBoard(link, config.board)


def _emulated_source(config: Config) -> ByteSource:
    settings = config.emulator
    if settings.source == "file":
        return RecordedReadouts([Path(settings.file)], config.board.readout_bytes, settings.speed)
    return SeededHits(settings, config.board.chips)
