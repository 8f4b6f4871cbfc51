"""From the configuration to the emulated board it describes."""

from pathlib import Path

from daqd.configuration.config import Config
from daqd.emulator.astep_model import AstepModel
from daqd.emulator.board_model import BoardModel
from daqd.emulator.byte_source import ByteSource
from daqd.emulator.cable import Cable
from daqd.emulator.frame_source import FrameSource
from daqd.emulator.gecco_model import GeccoModel
from daqd.emulator.recorded_frames import RecordedFrames
from daqd.emulator.recorded_readouts import RecordedReadouts
from daqd.emulator.seeded_frames import SeededFrames
from daqd.emulator.seeded_hits import SeededHits
from protocol.readout_description import ReadoutDescription


def emulated_board(config: Config) -> BoardModel:
    """The emulated board of `board.kind`, as `[emulator]` says.

    Raises `ConfigError` where it cannot play its file.
    """
    if config.board.kind == "astep":
        return _astep(config)
    return GeccoModel(_source(config), config.emulator.fifo_bytes)


def _astep(config: Config) -> AstepModel:
    return AstepModel(_frame_source(config), config.emulator.fifo_bytes, order=config.astep.timestamp_order)


def _frame_source(config: Config) -> FrameSource:
    settings, board, astep = config.emulator, config.board, config.astep
    if settings.source == "file":
        described = ReadoutDescription(
            chips=board.chips,
            layers=board.layers,
            timestamp_bits=astep.timestamp_bits,
            timestamp_order=astep.timestamp_order,
        )
        readouts = _recorded(config, described)
        return RecordedFrames(readouts, board.chip_version, board.readout_class.make_decoder(described))
    return SeededFrames(settings, board.chips, board.layers, board.chip_version)


def _recorded(config: Config, described: ReadoutDescription | None = None) -> RecordedReadouts:
    settings, board = config.emulator, config.board
    return RecordedReadouts([Path(settings.file)], board.readout_bytes, settings.speed, board.readout_class, described)


def emulated_cable(config: Config, board: BoardModel) -> Cable:
    """The cable of `board`, pulled out as often as `[emulator]` says."""
    return Cable(board, config.emulator.unplug_every_s, config.emulator.unplug_for_s)


def _source(config: Config) -> ByteSource:
    settings = config.emulator
    if settings.source == "file":
        return _recorded(config)
    return SeededHits(settings, config.board.chips, config.board.chip_version)
