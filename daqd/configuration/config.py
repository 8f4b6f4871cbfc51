"""The configuration file of the daemon: one TOML file, checked as a whole before anything starts.

`config/emulated.toml` has every key with its meaning. `load_config` reports all mistakes at once, each with its path
in the file, what is wrong and what is allowed.
"""

from pathlib import Path
from typing import Self

from pydantic import ValidationError, ValidationInfo, field_validator, model_validator

from astropix_runtime.configuration import LogSection, Section, describe_mistakes, read_toml
from astropix_runtime.sockets.endpoints import (
    check_control_endpoint,
    check_endpoint,
    check_stream_endpoint,
    default_runtime_dir,
)
from daqd.configuration.chip_settings import ChipSettings
from daqd.configuration.config_sections import (
    CONFIG_FOLDER,
    AcquisitionSection,
    AstepSection,
    BoardSection,
    ControlSection,
    DaqSection,
    DiskSection,
    EmulatorSection,
    FilesSection,
    FtdiSection,
    MisbehaveSection,
    SecuritySection,
    SerialSection,
    StreamSection,
)
from daqd.errors import ConfigError
from protocol.registers.gecco import SPI_READ_FIFO_BYTES

__all__ = [
    "AcquisitionSection",
    "AstepSection",
    "BoardSection",
    "Config",
    "ControlSection",
    "DaqSection",
    "DiskSection",
    "EmulatorSection",
    "FilesSection",
    "FtdiSection",
    "LogSection",
    "MisbehaveSection",
    "SecuritySection",
    "SerialSection",
    "StreamSection",
    "load_config",
]


class Config(Section):
    """The whole file. Every key has a default but `board.transport`."""

    daq: DaqSection = DaqSection()
    board: BoardSection
    ftdi: FtdiSection = FtdiSection()
    serial: SerialSection = SerialSection()
    astep: AstepSection = AstepSection()
    chip: ChipSettings = ChipSettings()
    emulator: EmulatorSection = EmulatorSection()
    files: FilesSection = FilesSection()
    acquisition: AcquisitionSection = AcquisitionSection()
    disk: DiskSection = DiskSection()
    security: SecuritySection = SecuritySection()
    stream: StreamSection = StreamSection()
    control: ControlSection = ControlSection()
    log: LogSection = LogSection()

    @field_validator("serial")
    @classmethod
    def _names_a_port(cls, serial: SerialSection, info: ValidationInfo) -> SerialSection:
        board: BoardSection | None = info.data.get("board")
        if board is not None and board.transport == "serial" and not serial.url:
            raise ValueError('board.transport = "serial" needs url: a device path, or socket://HOST:PORT')
        return serial

    @field_validator("emulator")
    @classmethod
    def _fits_the_board(cls, emulator: EmulatorSection, info: ValidationInfo) -> EmulatorSection:
        board: BoardSection | None = info.data.get("board")
        if board is None:
            return emulator
        if "fifo_bytes" not in emulator.model_fields_set and board.kind == "gecco":
            emulator = emulator.model_copy(update={"fifo_bytes": SPI_READ_FIFO_BYTES})
        elif emulator.fifo_bytes < board.readout_bytes:
            raise ValueError(
                f"fifo_bytes = {emulator.fifo_bytes} holds no readout of board.readout_bytes = {board.readout_bytes}"
            )
        for name, pixels in (("hot_pixels", emulator.hot_pixels), ("dead_pixels", emulator.dead_pixels)):
            for index, pixel in enumerate(pixels):
                layers = board.layers if board.kind == "astep" else 1
                if pixel.layer > layers:
                    raise ValueError(f"{name}[{index}] names layer {pixel.layer}, but the board has {layers}")
                if pixel.chip >= board.chips:
                    raise ValueError(
                        f"{name}[{index}] names chip {pixel.chip}, but board.chips = {board.chips}: "
                        f"chips count from 0 to {board.chips - 1}"
                    )
                kind = board.chip_kind
                if pixel.row >= kind.rows or pixel.column >= kind.columns:
                    raise ValueError(
                        f"{name}[{index}] names row {pixel.row}, column {pixel.column}, but {kind} has rows "
                        f"0 to {kind.rows - 1} and columns 0 to {kind.columns - 1}"
                    )
        return emulator

    @field_validator("stream")
    @classmethod
    def _is_read_by_the_right_ones(cls, stream: StreamSection, info: ValidationInfo) -> StreamSection:
        security: SecuritySection | None = info.data.get("security")
        if security is None:
            return stream
        security.refuse_insecure(stream.insecure)
        for endpoint in filter(None, (stream.bind, stream.catch_up)):
            check_stream_endpoint(endpoint, stream.insecure, keys=security.keys)
        return stream

    @field_validator("control")
    @classmethod
    def _obeys_the_right_ones(cls, control: ControlSection, info: ValidationInfo) -> ControlSection:
        security: SecuritySection | None = info.data.get("security")
        if security is not None and control.endpoint:
            check_control_endpoint(control.endpoint, keys=security.keys)
        return control

    @model_validator(mode="after")
    def _control_can_be_reached(self) -> Self:
        check_endpoint(self.control_endpoint)
        return self

    @property
    def runtime_dir(self) -> Path:
        """Where sockets and locks live; made by the daemon, for its user only."""
        return Path(self.daq.runtime_dir).absolute() if self.daq.runtime_dir else default_runtime_dir()

    @property
    def control_endpoint(self) -> str:
        """Endpoint of the control socket: `control.endpoint`, or `ipc://<runtime_dir>/<daq name>.ipc`."""
        return self.control.endpoint or f"ipc://{self.runtime_dir / self.daq.name}.ipc"


def load_config(path: Path | str) -> Config:
    """Read and check the configuration file at `path`.

    Raises `ConfigError` with every mistake of the file: `mistakes` has one line each, beginning with the path of the
    key. A file that cannot be read, or is not TOML, is one mistake (with its line, for TOML).
    """
    path = Path(path)
    values = read_toml(path, ConfigError)
    try:
        return Config.model_validate(values, context={CONFIG_FOLDER: path.absolute().parent})
    except ValidationError as error:
        raise ConfigError(describe_mistakes(error, Config), str(path)) from error
