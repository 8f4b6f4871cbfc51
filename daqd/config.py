"""The configuration file of the daemon: one TOML file, checked as a whole before anything starts.

`config/emulated.toml` has every key with its meaning. `load_config` reports all mistakes at once, each with its path
in the file, what is wrong and what is allowed.
"""

import getpass
import os
import tempfile
import tomllib
from pathlib import Path
from typing import Annotated, Any, Literal, Self

from pydantic import (
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    ValidationError,
    ValidationInfo,
    field_validator,
    model_validator,
)

from daqd.config_mistakes import describe_mistakes
from daqd.endpoints import check_control_endpoint, check_stream_endpoint
from daqd.errors import ConfigError
from protocol.stream_bytes import MAX_CHIPS

MAX_CHIP_ROW = 12
MAX_CHIP_COLUMN = 15
RUNTIME_FOLDER = "astropix-daq"

CONFIG_FOLDER = "config_folder"
"""Key of the validation context: the folder that relative paths of `emulator.file` start from."""


def _number_or_max(value: Any) -> Any:
    if value == "max":
        return value
    if isinstance(value, bool) or not isinstance(value, int | float) or not 0 < value < float("inf"):
        raise ValueError('it must be a number above 0, or "max"')
    return float(value)


FilePath = Annotated[Path, Field(strict=False)]
Pace = Annotated[float | Literal["max"], BeforeValidator(_number_or_max)]
Probability = Annotated[float, Field(ge=0, le=1, allow_inf_nan=False)]


class Section(BaseModel):
    """A table of the file: unknown keys refused, values never converted from another type, frozen."""

    model_config = ConfigDict(extra="forbid", frozen=True, strict=True, validate_default=True)


class DaqSection(Section):
    """`[daq]`: who this daemon is and where it keeps things.

    `data_dir` is relative to the working directory of the daemon. An empty `runtime_dir` stands for
    `default_runtime_dir()`.
    """

    name: str = Field("bench", pattern=r"^[A-Za-z0-9][A-Za-z0-9_.-]{0,63}$")
    data_dir: FilePath = Path("data")
    runtime_dir: str = ""


class BoardSection(Section):
    """`[board]`: which board, how it is reached, how it is read."""

    kind: Literal["gecco"] = "gecco"
    transport: Literal["emulated"]
    chips: int = Field(1, ge=1, le=MAX_CHIPS)
    readout_bytes: int = Field(2048, ge=64, le=0xFFFF)
    spi_divider: int = Field(40, ge=1, le=255)
    poll_interval_ms: float = Field(1.0, ge=0, le=1000)


class _PixelEntry(Section):
    chip: int = Field(ge=0, lt=MAX_CHIPS)
    row: int = Field(ge=0, le=MAX_CHIP_ROW)
    column: int = Field(ge=0, le=MAX_CHIP_COLUMN)

    @model_validator(mode="before")
    @classmethod
    def _from_list(cls, value: Any) -> Any:
        if isinstance(value, dict | cls):
            return value
        names = list(cls.model_fields)
        if not isinstance(value, list) or len(value) != len(names):
            raise ValueError(f"{value!r} should be [{', '.join(names)}]")
        return dict(zip(names, value, strict=True))


class DeadPixel(_PixelEntry):
    """`[chip, row, column]` of a pixel that never fires."""


class HotPixel(_PixelEntry):
    """`[chip, row, column, factor]` of a pixel that fires `factor` times as often as the others."""

    factor: float = Field(gt=0, allow_inf_nan=False)


class MisbehaveSection(Section):
    """`[emulator.misbehave]`: probabilities per hit, each 0…1."""

    cut_hits: Probability = 0.0
    lost_bytes: Probability = 0.0
    garbage: Probability = 0.0
    padding: Probability = 0.0


class EmulatorSection(Section):
    """`[emulator]`: what the emulated board does. `file` is relative to the configuration file."""

    source: Literal["hits", "file"] = "hits"
    seed: int = Field(1, ge=0)
    rate_hz: Pace = 1000.0
    hits_limit: int = Field(0, ge=0)
    tot_mean_us: float = Field(235.0, gt=0, le=6500)
    tot_sigma_us: float = Field(20.0, ge=0, le=6500)
    hot_pixels: Annotated[tuple[HotPixel, ...], Field(strict=False)] = ()
    dead_pixels: Annotated[tuple[DeadPixel, ...], Field(strict=False)] = ()
    misbehave: MisbehaveSection = MisbehaveSection()
    file: str = ""
    speed: Pace = 1.0
    fifo_bytes: int = Field(65536, ge=64, le=1 << 30)
    link_latency_ms: float = Field(0.0, ge=0, le=10_000)

    @field_validator("file")
    @classmethod
    def _file_is_there(cls, file: str, info: ValidationInfo) -> str:
        if info.data.get("source") != "file":
            return file
        if not file:
            raise ValueError('source = "file" needs the path of an .apx file here')
        path = (info.context or {}).get(CONFIG_FOLDER, Path()) / Path(file).expanduser()
        if not path.is_file():
            raise ValueError(f"there is no file {path}")
        return str(path)


class FilesSection(Section):
    """`[files]`: when a run's file is full and the next one begins."""

    max_size_mb: float = Field(512.0, gt=0, le=1 << 20)
    max_time_s: float = Field(3600.0, gt=0, le=31 * 86400)


class AcquisitionSection(Section):
    """`[acquisition]`: between the reader and the disk."""

    queue_mb: float = Field(64.0, gt=0, le=65536)
    flush_ms: float = Field(5.0, ge=0, le=1000)
    fsync_s: float = Field(1.0, gt=0, le=3600)


class StreamSection(Section):
    """`[stream]`: the ZeroMQ stream of decoded hits."""

    insecure: bool = False
    bind: str = "tcp://127.0.0.1:5556"
    batch_ms: float = Field(5.0, gt=0, le=20)
    max_hits: int = Field(8192, ge=1, le=1 << 20)
    high_water: int = Field(1000, ge=1, le=1 << 24)
    raw: bool = False

    @field_validator("bind")
    @classmethod
    def _safe(cls, bind: str, info: ValidationInfo) -> str:
        check_stream_endpoint(bind, insecure=info.data.get("insecure", False))
        return bind


class ControlSection(Section):
    """`[control]`: where commands come in; empty stands for a socket in the runtime directory."""

    endpoint: str = ""

    @field_validator("endpoint")
    @classmethod
    def _local(cls, endpoint: str) -> str:
        if endpoint:
            check_control_endpoint(endpoint)
        return endpoint


class LogSection(Section):
    """`[log]`: how much the daemon says."""

    level: Literal["debug", "info", "warning", "error"] = "info"


class Config(Section):
    """The whole file. Every key has a default but `board.transport`."""

    daq: DaqSection = DaqSection()
    board: BoardSection
    emulator: EmulatorSection = EmulatorSection()
    files: FilesSection = FilesSection()
    acquisition: AcquisitionSection = AcquisitionSection()
    stream: StreamSection = StreamSection()
    control: ControlSection = ControlSection()
    log: LogSection = LogSection()

    @field_validator("emulator")
    @classmethod
    def _fits_the_board(cls, emulator: EmulatorSection, info: ValidationInfo) -> EmulatorSection:
        board: BoardSection | None = info.data.get("board")
        if board is None:
            return emulator
        if emulator.fifo_bytes < board.readout_bytes:
            raise ValueError(
                f"fifo_bytes = {emulator.fifo_bytes} holds no readout of board.readout_bytes = {board.readout_bytes}"
            )
        for name, pixels in (("hot_pixels", emulator.hot_pixels), ("dead_pixels", emulator.dead_pixels)):
            for index, pixel in enumerate(pixels):
                if pixel.chip >= board.chips:
                    raise ValueError(
                        f"{name}[{index}] names chip {pixel.chip}, but board.chips = {board.chips}: "
                        f"chips count from 0 to {board.chips - 1}"
                    )
        return emulator

    @model_validator(mode="after")
    def _control_can_be_reached(self) -> Self:
        check_control_endpoint(self.control_endpoint)
        return self

    @property
    def runtime_dir(self) -> Path:
        """Where sockets and locks live; made by the daemon, for its user only."""
        return Path(self.daq.runtime_dir).absolute() if self.daq.runtime_dir else default_runtime_dir()

    @property
    def control_endpoint(self) -> str:
        """Endpoint of the control socket: `control.endpoint`, or `ipc://<runtime_dir>/<daq name>.ipc`."""
        return self.control.endpoint or f"ipc://{self.runtime_dir / self.daq.name}.ipc"


def default_runtime_dir() -> Path:
    """The runtime directory of this user, which need not exist yet.

    `$RUNTIME_DIRECTORY` (set by the service manager), else `astropix-daq` in `$XDG_RUNTIME_DIR`, else
    `astropix-daq-<user>` in the directory for temporary files.
    """
    if given := os.environ.get("RUNTIME_DIRECTORY", "").split(":")[0]:
        return Path(given)
    if user_runtime := os.environ.get("XDG_RUNTIME_DIR"):
        return Path(user_runtime) / RUNTIME_FOLDER
    user = str(os.getuid()) if hasattr(os, "getuid") else getpass.getuser()
    return Path(tempfile.gettempdir()) / f"{RUNTIME_FOLDER}-{user}"


def load_config(path: Path | str) -> Config:
    """Read and check the configuration file at `path`.

    Raises `ConfigError` with every mistake of the file: `mistakes` has one line each, beginning with the path of the
    key. A file that cannot be read, or is not TOML, is one mistake (with its line, for TOML).
    """
    path = Path(path)
    try:
        values = tomllib.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise ConfigError([f"cannot be read: {error.strerror or error}"], str(path)) from error
    except UnicodeDecodeError as error:
        raise ConfigError([f"is not UTF-8 text: byte {error.start} is wrong"], str(path)) from error
    except tomllib.TOMLDecodeError as error:
        raise ConfigError([f"is not valid TOML: {error}"], str(path)) from error
    try:
        return Config.model_validate(values, context={CONFIG_FOLDER: path.absolute().parent})
    except ValidationError as error:
        raise ConfigError(describe_mistakes(error, Config), str(path)) from error
