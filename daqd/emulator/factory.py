"""From the configuration to the emulated board it describes."""

import time
from collections.abc import Callable
from pathlib import Path

from daqd.configuration.config import Config
from daqd.emulator.astep_model import NEWEST_FIRMWARE, AstepModel
from daqd.emulator.astep_register_file import map_in_firmware
from daqd.emulator.board_model import BoardModel, Cable
from daqd.emulator.gecco_model import GeccoModel
from daqd.emulator.hit_sources import ByteSource, FrameSource
from daqd.emulator.recorded_readouts import RecordedFrames, RecordedReadouts, recorded_order
from daqd.emulator.seeded_frames import SeededFrames
from daqd.emulator.seeded_hits import SeededHits
from protocol.readout_description import ReadoutDescription
from protocol.registers.astep_firmware import Firmware

_CMOD_A7 = 0xAC00
_NEWEST_LITTLE = 25112001
"""The newest firmware that sends the time stamp least significant byte first."""


def emulated_board(config: Config, clock: Callable[[], float] = time.monotonic) -> BoardModel:
    """The emulated board of `board.kind`, as `[emulator]` says. `clock`: seconds, monotonic.

    Raises `ConfigError` where it cannot play its file.
    """
    if config.board.kind == "astep":
        return _astep(config, clock)
    return GeccoModel(_source(config), config.emulator.fifo_bytes, clock)


def emulated_firmware(config: Config) -> Firmware:
    """What the emulated A-STEP board says it is.

    Where `[emulator]` does not say: a CMOD A7 for the chips, with the newest firmware that has the register map, or
    else the byte order of the time stamp, of `[astep]`, or of the file to be played.
    """
    settings, astep = config.emulator, config.astep
    number, version = settings.firmware_id, settings.firmware_version
    if version is None and astep.register_map is not None:
        version = int(f"{astep.register_map:%y%m%d}01")
    if version is None:
        order: str = astep.timestamp_order
        if order == "auto" and settings.source == "file":
            order = recorded_order(Path(settings.file))
        version = _NEWEST_LITTLE if order == "little" else NEWEST_FIRMWARE.version
    return Firmware(_CMOD_A7 | config.board.chip_version if number is None else number, version)


def _astep(config: Config, clock: Callable[[], float]) -> AstepModel:
    firmware = emulated_firmware(config)
    return AstepModel(
        _frame_source(config, firmware),
        config.emulator.fifo_bytes,
        clock,
        firmware=firmware,
        damage=config.emulator.firmware_damage,
        chips=config.board.chips,
    )


def _frame_source(config: Config, firmware: Firmware) -> FrameSource:
    settings, board, astep = config.emulator, config.board, config.astep
    if settings.source == "file":
        described = ReadoutDescription(
            chips=board.chips,
            layers=board.layers,
            timestamp_bits=astep.timestamp_bits,
            timestamp_order=firmware.timestamp_order(map_in_firmware(firmware)),
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
