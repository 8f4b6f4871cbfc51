"""The tables of the configuration file, each a model with its limits; `daqd.configuration.config` puts them together.

`config/emulated.toml` has every key with its meaning.
"""

from collections.abc import Callable
from datetime import date
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import (
    AfterValidator,
    BeforeValidator,
    Field,
    ValidationInfo,
    field_validator,
    model_validator,
)
from pydantic_core import PydanticCustomError

from astropix_runtime.configuration import KeysSection, Name, Section
from astropix_runtime.sockets.endpoints import check_endpoint
from protocol.chips.chip_type import ChipType, chip_type, chip_types
from protocol.readout import AbstractAstroPixReadout
from protocol.registers.astep_register_map import REGISTER_MAPS
from protocol.registers.astep_registers import MAX_LAYERS
from protocol.registers.gecco import FLAGS_ANSWER_BYTES, SPI_WORD_BYTES, TRANSMIT_FIFO_BYTES
from protocol.stream_bytes import MAX_CHIPS


def _within(count_of: Callable[[ChipType], int], number: int) -> int:
    """`number` where some type of chip has so many; what `board.chip_version` has is looked at where pixels meet it."""
    for others in (False, True):
        limit = max(map(count_of, chip_types(others=others))) - 1
        if 0 <= number <= limit:
            return number
    raise ValueError(f"{number} is not allowed: it must be 0 to {limit}")


ChipRow = Annotated[int, AfterValidator(lambda row: _within(lambda chip: chip.rows, row))]
ChipColumn = Annotated[int, AfterValidator(lambda column: _within(lambda chip: chip.columns, column))]

CONFIG_FOLDER = "config_folder"
"""Key of the validation context: the folder that relative paths of `emulator.file` and `chip.file` start from."""


def _number_or_max(value: Any) -> Any:
    if value == "max":
        return value
    if isinstance(value, bool) or not isinstance(value, int | float) or not 0 < value < float("inf"):
        raise ValueError('it must be a number above 0, or "max"')
    return float(value)


FilePath = Annotated[Path, Field(strict=False)]
Pace = Annotated[float | Literal["max"], BeforeValidator(_number_or_max)]
Probability = Annotated[float, Field(ge=0, le=1, allow_inf_nan=False)]


class DaqSection(Section):
    """`[daq]`: who this daemon is and where it keeps things.

    `data_dir` is relative to the working directory of the daemon. An empty `runtime_dir` stands for
    `default_runtime_dir()`.
    """

    name: Name = "bench"
    data_dir: FilePath = Path("data")
    runtime_dir: str = ""


_USUAL_ASTEP_READOUT_BYTES = 8192
_USUAL_READOUT_BYTES = 2048
_MAX_USUAL_QUEUE = 15


def _chip_number(value: Any) -> int:
    try:
        if type(value) not in (int, str):
            raise ValueError(f"{value!r} is neither a number nor a name")
        return chip_type(value).number
    except ValueError:
        numbers = [str(chip.number) for chip in chip_types()]
        expected = f"{', '.join(numbers[:-1])} or {numbers[-1]}"
        raise PydanticCustomError("literal_error", "Input should be {expected}", {"expected": expected}) from None


class BoardSection(Section):
    """`[board]`: which board, how it is reached, how it is read. `layers`, `spi_hz`: A-STEP; `spi_divider`: GECCO.

    `spi_divider` None: what is usual for `chip_version`. `readout_bytes` and `queue_ahead` of a GECCO board are limited
    by its transmit FIFO: beyond it, the firmware loses bytes. Of an A-STEP board, `readout_bytes` is 8192 where it is
    not given, and `queue_ahead` is 0.
    """

    kind: Literal["gecco", "astep"] = "gecco"
    transport: Literal["emulated", "ftdi", "serial", "emulated-usb", "emulated-pty"]
    chip_version: Annotated[int, BeforeValidator(_chip_number)] = 4
    chips: int = Field(1, ge=1, le=MAX_CHIPS)
    layers: int = Field(1, ge=1, le=MAX_LAYERS)
    readout_bytes: int = Field(_USUAL_READOUT_BYTES, ge=64, le=0xFFFF)
    spi_divider: int | None = Field(None, ge=1, le=255)
    spi_hz: float = Field(1e6, ge=156_250, le=2e7)
    poll_interval_ms: float = Field(3.0, ge=0, le=1000)
    queue_ahead: int = Field(32, ge=0, le=64)

    @model_validator(mode="before")
    @classmethod
    def _usual_reading(cls, values: Any) -> Any:
        """A GECCO board answers 15 readouts at a time, or as many as it can without losing bytes.

        An A-STEP board takes one request at a time, and is read in larger pieces instead.
        """
        if not isinstance(values, dict):
            return values
        kind = values.get("kind", "gecco")
        if kind == "astep":
            return {"readout_bytes": _USUAL_ASTEP_READOUT_BYTES, "queue_ahead": 0, **values}
        if kind != "gecco" or "queue_ahead" in values:
            return values
        readout_bytes = values.get("readout_bytes", _USUAL_READOUT_BYTES)
        if not isinstance(readout_bytes, int) or readout_bytes < 1:
            return values
        most = TRANSMIT_FIFO_BYTES // (readout_bytes + FLAGS_ANSWER_BYTES)
        return {**values, "queue_ahead": min(_MAX_USUAL_QUEUE, most)}

    @field_validator("layers")
    @classmethod
    def _has_so_many(cls, layers: int, info: ValidationInfo) -> int:
        if info.data.get("kind") == "gecco" and layers > 1:
            raise ValueError(f"{layers} is not allowed: a GECCO board has one chain of chips: leave layers out")
        return layers

    @field_validator("readout_bytes")
    @classmethod
    def _is_read_in_whole_words(cls, readout_bytes: int, info: ValidationInfo) -> int:
        if info.data.get("kind") != "gecco":
            return readout_bytes
        if readout_bytes % SPI_WORD_BYTES:
            raise ValueError(
                f"{readout_bytes} is not a multiple of {SPI_WORD_BYTES}: a GECCO board sends padding in groups of "
                f"{SPI_WORD_BYTES} bytes, which can only be found in readouts of such a length"
            )
        if readout_bytes > TRANSMIT_FIFO_BYTES - FLAGS_ANSWER_BYTES:
            raise ValueError(
                f"{readout_bytes} is more than a GECCO board can answer without losing bytes: "
                f"at most {(TRANSMIT_FIFO_BYTES - FLAGS_ANSWER_BYTES) // SPI_WORD_BYTES * SPI_WORD_BYTES}"
            )
        return readout_bytes

    @field_validator("queue_ahead")
    @classmethod
    def _fits_the_firmware(cls, queue_ahead: int, info: ValidationInfo) -> int:
        kind, readout_bytes = info.data.get("kind"), info.data.get("readout_bytes")
        if kind == "astep" and queue_ahead:
            raise ValueError(
                "the A-STEP firmware takes one request at a time and loses those that come earlier: "
                "leave queue_ahead out, and make board.readout_bytes larger where reading is too slow"
            )
        if kind != "gecco" or readout_bytes is None:
            return queue_ahead
        most = TRANSMIT_FIFO_BYTES // (readout_bytes + FLAGS_ANSWER_BYTES)
        if queue_ahead > most:
            raise ValueError(
                f"{queue_ahead} readouts of board.readout_bytes = {readout_bytes} are more than a GECCO board can "
                f"answer at a time without losing bytes: queue_ahead = {most} at most, or smaller readouts"
            )
        return queue_ahead

    @property
    def chip_kind(self) -> ChipType:
        """The chips of `chip_version`."""
        return chip_type(self.chip_version)

    @property
    def readout_class(self) -> type[AbstractAstroPixReadout]:
        """How the readouts of this board and these chips are written to files and decoded."""
        return self.chip_kind.readout_classes[self.kind]

    @property
    def gecco_spi_divider(self) -> int:
        """`spi_divider`, or what is usual."""
        return self.chip_kind.spi_divider if self.spi_divider is None else self.spi_divider


class FtdiSection(Section):
    """`[ftdi]`: which FTDI device, and how it is set up. `serial` and `description`: how theirs begin."""

    serial: str = Field("", max_length=64)
    description: str = Field("Digilent USB Device", max_length=128)
    latency_ms: int = Field(2, ge=1, le=255)
    chunk_bytes: int = Field(16384, ge=512, le=16384)
    timeout_ms: int = Field(1000, ge=10, le=60_000)


class SerialSection(Section):
    """`[serial]`: where the serial port is: a device path, `socket://HOST:PORT` or `rfc2217://HOST:PORT`."""

    url: str = Field("", max_length=1024)
    baud: int = Field(921_600, ge=1200, le=12_000_000)


def _day(value: Any) -> Any:
    try:
        return date.fromisoformat(value) if isinstance(value, str) else value
    except ValueError:
        raise ValueError(f"{value!r} is not a date: YYYY-MM-DD") from None


class AstepSection(Section):
    """`[astep]`: how the A-STEP firmware stamps and frames what the layers send.

    `read` None: "fixed" where the firmware gives whole frames only, "size" elsewhere. `timestamp_order` "auto": as the
    firmware's version says. `register_map`: the date of the register map that holds,
    for a firmware whose map is not known; None: as the firmware's version says.
    """

    timestamp_bits: Literal[16, 32, 48, 64] = 32
    timestamp_order: Literal["auto", "little", "big"] = "auto"
    packet_mode: bool = True
    read: Literal["size", "fixed"] | None = None
    register_map: Annotated[date | None, BeforeValidator(_day)] = None
    read_back: bool = True

    @field_validator("read")
    @classmethod
    def _needs_whole_frames(cls, read: str | None, info: ValidationInfo) -> str | None:
        if read == "fixed" and info.data.get("packet_mode") is False:
            raise ValueError('"fixed" needs packet_mode: padding could come within a frame')
        return read

    @field_validator("register_map")
    @classmethod
    def _is_known(cls, register_map: date | None) -> date | None:
        known = [registers.since for registers in REGISTER_MAPS]
        if register_map not in (None, *known):
            raise ValueError(f"there is no register map of {register_map}: {', '.join(map(str, known))}")
        return register_map


class _PixelEntry(Section):
    layer: int = Field(1, ge=1, le=MAX_LAYERS)
    chip: int = Field(ge=0, lt=MAX_CHIPS)
    row: ChipRow
    column: ChipColumn

    @model_validator(mode="before")
    @classmethod
    def _from_list(cls, value: Any) -> Any:
        if isinstance(value, dict | cls):
            return value
        names = list(cls.model_fields)
        if not isinstance(value, list) or len(names) - len(value) not in (0, 1):
            without_layer = ", ".join(names[1:])
            raise ValueError(f"{value!r} should be [{without_layer}], or [layer, chip, …]")
        return dict(zip(names[-len(value) :], value, strict=True))


class DeadPixel(_PixelEntry):
    """`[layer, chip, row, column]` of a pixel that never fires. `layer` counts from 1 and may be left out: layer 1."""


class HotPixel(_PixelEntry):
    """`[layer, chip, row, column, factor]`: a pixel that fires `factor` times as often. `layer`: see `DeadPixel`."""

    factor: float = Field(gt=0, allow_inf_nan=False)


class MisbehaveSection(Section):
    """`[emulator.misbehave]`: probabilities per hit, each 0…1."""

    cut_hits: Probability = 0.0
    lost_bytes: Probability = 0.0
    garbage: Probability = 0.0
    padding: Probability = 0.0
    tot_zero: Probability = 0.0
    wrong_rows: Probability = 0.0


class EmulatorSection(Section):
    """`[emulator]`: what the emulated board does. `file` is relative to the configuration file.

    `tot_mean_us`, `tot_sigma_us` None: what is usual for the version of the chips. `firmware_id`, `firmware_version`
    (A-STEP) None: a CMOD A7 for these chips, with the newest firmware that fits `[astep]`.
    """

    source: Literal["hits", "file"] = "hits"
    seed: int = Field(1, ge=0)
    rate_hz: Pace = 1000.0
    hits_limit: int = Field(0, ge=0)
    tot_mean_us: float | None = Field(None, gt=0, le=6500)
    tot_sigma_us: float | None = Field(None, ge=0, le=6500)
    hot_pixels: Annotated[tuple[HotPixel, ...], Field(strict=False)] = ()
    dead_pixels: Annotated[tuple[DeadPixel, ...], Field(strict=False)] = ()
    misbehave: MisbehaveSection = MisbehaveSection()
    file: str = ""
    speed: Pace = 1.0
    fifo_bytes: int = Field(65536, ge=64, le=1 << 30)
    firmware_damage: bool = False
    firmware_id: int | None = Field(None, ge=0, le=0xFFFF_FFFF)
    firmware_version: int | None = Field(None, ge=0, le=0xFFFF_FFFF)
    link_latency_ms: float = Field(0.0, ge=0, le=10_000)
    unplug_every_s: float = Field(0.0, ge=0, le=86_400)
    unplug_for_s: float = Field(1.0, gt=0, le=3600)

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
    flush_ms: float = Field(20.0, ge=0, le=1000)
    fsync_s: float = Field(1.0, gt=0, le=3600)


class DiskSection(Section):
    """`[disk]`: how much room is wanted where the files go. A limit of 0 is none."""

    warning_mb: float = Field(5000.0, ge=0, le=1 << 40)
    critical_mb: float = Field(500.0, ge=0, le=1 << 40)
    warning_hours: float = Field(12.0, ge=0, le=24 * 366)

    @field_validator("critical_mb")
    @classmethod
    def _warned_before(cls, critical_mb: float, info: ValidationInfo) -> float:
        warning_mb = info.data.get("warning_mb")
        if warning_mb is not None and warning_mb < critical_mb:
            raise ValueError(f"{critical_mb:g} is more than warning_mb = {warning_mb:g}, which would warn too late")
        return critical_mb


class SecuritySection(KeysSection):
    """`[security]`; paths are relative to the configuration file."""

    @field_validator("server_key", "client_keys")
    @classmethod
    def _from_the_folder(cls, path: str, info: ValidationInfo) -> str:
        folder = (info.context or {}).get(CONFIG_FOLDER, Path())
        return str(folder / Path(path).expanduser()) if path else path

    def arguments(self) -> list[str]:
        """The same for a child process that has a socket of its own, as its command line says it."""
        return [f"--server-key={self.server_key}", f"--client-keys={self.client_keys}"] if self.keys else []


class StreamSection(Section):
    """`[stream]`: the ZeroMQ stream of decoded hits. `catch_up`: where the past can be asked for; empty: nowhere."""

    insecure: bool = False
    bind: str = "tcp://127.0.0.1:5556"
    catch_up: str = "tcp://127.0.0.1:5557"
    batch_ms: float = Field(5.0, gt=0, le=20)
    max_hits: int = Field(8192, ge=1, le=1 << 20)
    high_water: int = Field(1000, ge=1, le=1 << 24)
    raw: bool = False

    @field_validator("bind", "catch_up")
    @classmethod
    def _can_be_bound(cls, endpoint: str, info: ValidationInfo) -> str:
        return check_endpoint(endpoint) if endpoint or info.field_name == "bind" else endpoint


class ControlSection(Section):
    """`[control]`: where commands come in; empty stands for a socket in the runtime directory."""

    endpoint: str = ""

    @field_validator("endpoint")
    @classmethod
    def _can_be_bound(cls, endpoint: str) -> str:
        return check_endpoint(endpoint) if endpoint else endpoint
