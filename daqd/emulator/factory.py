"""From the configuration to the emulated board it describes."""

from pathlib import Path

from daqd.config import Config
from daqd.emulator.astep_model import AstepModel
from daqd.emulator.board_model import BoardModel
from daqd.emulator.byte_source import ByteSource
from daqd.emulator.cable import Cable
from daqd.emulator.gecco_model import GeccoModel
from daqd.emulator.recorded_readouts import RecordedReadouts
from daqd.emulator.seeded_frames import SeededFrames
from daqd.emulator.seeded_hits import SeededHits
from daqd.errors import ConfigError


def emulated_board(config: Config) -> BoardModel:
    """The emulated board of `board.kind`, as `[emulator]` says.

    Raises `ConfigError` where it cannot play its file.
    """
    if config.board.kind == "astep":
        return _astep(config)
    return GeccoModel(_source(config), config.emulator.fifo_bytes)


def _astep(config: Config) -> AstepModel:
    settings, board = config.emulator, config.board
    if settings.source == "file":
        raise ConfigError(['emulator.source: the emulated A-STEP board makes its own "hits"; it plays no file'])
    source = SeededFrames(settings, board.chips, board.layers, board.chip_version)
    return AstepModel(source, settings.fifo_bytes, order=config.astep.timestamp_order)


def emulated_cable(config: Config, board: BoardModel) -> Cable:
    """The cable of `board`, pulled out as often as `[emulator]` says."""
    return Cable(board, config.emulator.unplug_every_s, config.emulator.unplug_for_s)


def _source(config: Config) -> ByteSource:
    settings = config.emulator
    if settings.source == "file":
        return RecordedReadouts([Path(settings.file)], config.board.readout_bytes, settings.speed)
    return SeededHits(settings, config.board.chips, config.board.chip_version)
