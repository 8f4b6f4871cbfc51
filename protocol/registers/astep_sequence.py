"""What is said to an A-STEP board, in which order: from power-up to data, and back to a safe board.

Sequences of steps, as in `steps`.
"""

from collections.abc import Generator, Sequence
from dataclasses import dataclass
from typing import Final

from protocol.errors import AstepError
from protocol.registers.astep import RegisterRead, RegisterWrite, read_register, write_register
from protocol.registers.astep_registers import (
    CORE_CLOCK_HZ,
    LAYER_CTRL,
    LAYER_MOSI,
    LAYER_MOSI_SIZE,
    LAYER_STATUS,
    MAX_LAYERS,
    MOSI_FIFO_BYTES,
    ClockCtrl,
    LayerCtrl,
    LayerStatus,
    ReadoutCtrl,
    Register,
    spi_divider,
    timestamp_ctrl,
)
from protocol.registers.steps import Pause, UnexpectedAnswerError
from protocol.stream_bytes import MAX_CHIPS

CHIP_RESET_S: Final = 0.5
TIMESTAMP_HZ: Final = 1_000_000
FLUSH_BYTES: Final = 128
FLUSH_ROUNDS: Final = 20
MOSI_POLLS: Final = 100
_DISCARD_BYTES = 4096
_DISCARD_ROUNDS = 1000

BOARDS: Final = {0xAB: "GECCO", 0xAC: "CMOD A7"}
"""Upper byte of the firmware id; the lower one is the version of the chips it was first made for."""

_SAFE = LayerCtrl.DISABLE_AUTOREAD | LayerCtrl.DISABLE_MISO
_SAFE_FIRST = _SAFE | LayerCtrl.HOLD

Step = RegisterWrite | RegisterRead | Pause
Steps = Generator[Step, bytes, None]
Reading = Generator[Step, bytes, int]


@dataclass(frozen=True)
class Firmware:
    """Which firmware answers; `version` is the decimal number YYMMDDNN, NN the build of the day."""

    id: int
    version: int

    @property
    def board(self) -> str:
        """The board it runs on, as far as its id tells."""
        return BOARDS.get(self.id >> 8, "unknown board")

    @property
    def has_cards(self) -> bool:
        """Whether voltage and injection cards can be there."""
        return self.id >> 8 == 0xAB

    def __str__(self) -> str:
        return f"firmware 0x{self.id:04X} ({self.board}), version {self.version}"


@dataclass(frozen=True)
class AstepSettings:
    """How the firmware is set up: `layers` with `chips` each (1…3, 1…31), SPI clock, width of the time stamp.

    `chip_version`: version of the chips, which the firmware is told.
    """

    layers: int = 1
    chips: int = 1
    spi_hz: float = 1e6
    timestamp_bits: int = 32
    packet_mode: bool = True
    chip_version: int = 4

    def __post_init__(self) -> None:
        if not 1 <= self.layers <= MAX_LAYERS:
            raise AstepError(f"{self.layers} layers: 1 to {MAX_LAYERS} can be read")
        if not 1 <= self.chips <= MAX_CHIPS:
            raise AstepError(f"{self.chips} chips in a chain: 1 to {MAX_CHIPS} can be told apart")
        spi_divider(self.spi_hz)
        timestamp_ctrl(self.timestamp_bits)


def read_value(register: Register, why: str) -> Reading:
    """The value of a register."""
    answer = yield read_register(register, why)
    return int.from_bytes(answer, "little")


def check_firmware() -> Generator[Step, bytes, Firmware]:
    """Is a board there, and does it run the A-STEP firmware?"""
    number = yield from read_value(Register.FIRMWARE_ID, "firmware id: is the board there")
    if number >> 8 not in BOARDS:
        known = " or ".join(f"0x{upper:02X}nn ({board})" for upper, board in BOARDS.items())
        raise UnexpectedAnswerError(
            Register.FIRMWARE_ID,
            known,
            f"0x{number:08X}",
            "this is no A-STEP firmware that is known here; is board.kind right, and the firmware loaded",
        )
    version = yield from read_value(Register.FIRMWARE_VERSION, "firmware version")
    return Firmware(number, version)


def set_up(settings: AstepSettings) -> Steps:
    """Clocks, time stamp, SPI clock, packet mode: all that is not the chips'. They stay as they are."""
    version = settings.chip_version
    yield write_register(Register.CHIP_VERSION, version, "chip version")
    got = yield from read_value(Register.CHIP_VERSION, "chip version: does the board take what is written")
    if got != version:
        raise UnexpectedAnswerError(
            Register.CHIP_VERSION, str(version), str(got), "the firmware does not know this chip; load a newer one"
        )
    clocks = yield from read_value(Register.CLOCK_CTRL, "clocks")
    wanted = ClockCtrl.SAMPLE_CLOCK | ClockCtrl.TIMESTAMP_CLOCK
    yield write_register(Register.CLOCK_CTRL, clocks | wanted, "sample clock and time-stamp clock on")
    yield write_register(Register.TIMESTAMP_DIVIDER_MATCH, CORE_CLOCK_HZ // TIMESTAMP_HZ, "time stamp ticks at 1 MHz")
    yield write_register(Register.TIMESTAMP_CTRL, timestamp_ctrl(settings.timestamp_bits), "time stamp on")
    yield write_register(Register.SPI_DIVIDER, spi_divider(settings.spi_hz), "SPI clock")
    yield write_register(Register.NODATA_CONTINUE, 5 + settings.chips - 1, "idle bytes before autoread stops")
    packet_mode = ReadoutCtrl.PACKET_MODE if settings.packet_mode else 0
    yield write_register(Register.READOUT_CTRL, packet_mode, "whole frames only" if packet_mode else "bytes at once")


def hold_layers(layers: int, why: str = "on hold, not read") -> Steps:
    """Chips on hold, autoread off, chip select off, MISO off: the safe state."""
    for layer in range(layers):
        yield write_register(LAYER_CTRL[layer], _SAFE if layer else _SAFE_FIRST, f"layer {layer} {why}")


def reset_chips(layers: int) -> Steps:
    """Reset all chips for half a second; they stay on hold."""
    yield write_register(LAYER_CTRL[0], _SAFE_FIRST | LayerCtrl.RESET, "chips into reset")
    yield Pause(CHIP_RESET_S, "chips in reset")
    yield from hold_layers(layers)


def send_to_chips(layer: int, data: bytes, why: str) -> Steps:
    """Bytes over SPI, as many at a time as fit, and wait until they have gone. The chip must be selected."""
    for start in range(0, len(data), MOSI_FIFO_BYTES):
        yield RegisterWrite(LAYER_MOSI[layer], data[start : start + MOSI_FIFO_BYTES], False, why)
        for _ in range(MOSI_POLLS):
            waiting = yield from read_value(LAYER_MOSI_SIZE[layer], "has it been sent to the chips")
            if not waiting:
                break
            yield Pause(0.001, "SPI is sending")
        else:
            raise UnexpectedAnswerError(
                LAYER_MOSI_SIZE[layer],
                "nothing waiting",
                f"{waiting} bytes",
                "SPI does not run; check board.spi_hz and the clock of the board",
            )


def flush_layer(layer: int) -> Generator[Step, bytes, bool]:
    """Clock old data out of the chips; returns whether they have nothing to say any more."""
    control = _SAFE | LayerCtrl.CHIP_SELECT | (0 if layer else LayerCtrl.HOLD)
    yield write_register(LAYER_CTRL[layer], control, f"layer {layer} selected, for flushing")
    silent = False
    for _ in range(FLUSH_ROUNDS):
        yield from send_to_chips(layer, bytes(FLUSH_BYTES), f"flush layer {layer}")
        status = yield from read_value(LAYER_STATUS[layer], "have the chips anything left to say")
        silent = bool(status & LayerStatus.INTERRUPT_N)
        if silent:
            break
    yield write_register(LAYER_CTRL[layer], _SAFE if layer else _SAFE_FIRST, f"layer {layer} flushed")
    return silent


def discard_readout() -> Steps:
    """Drop what the readout FIFO holds."""
    for _ in range(_DISCARD_ROUNDS):
        waiting = yield from read_value(Register.READOUT_SIZE, "what is left in the readout FIFO")
        if not waiting:
            return
        yield RegisterRead(Register.READOUT, min(waiting, _DISCARD_BYTES), False, "old data, thrown away")
    raise UnexpectedAnswerError(Register.READOUT_SIZE, "0", f"{waiting}", "the readout FIFO does not empty")


def start_readout(layers: int) -> Steps:
    """Let the layers send: hold off, autoread on, chip select on, MISO on; layer 0, which holds them all, last."""
    for layer in reversed(range(layers)):
        yield write_register(LAYER_CTRL[layer], LayerCtrl.CHIP_SELECT, f"layer {layer} sends")


COUNTER_KINDS: Final = ("frames", "idle_bytes", "wrong_length")
"""What is counted for each layer, in the order of the registers."""


def read_counters() -> RegisterRead:
    """All counters of all layers in one answer: kind after kind, in each the three layers, 4 bytes each."""
    return RegisterRead(Register.LAYER_0_FRAMES, 4 * MAX_LAYERS * len(COUNTER_KINDS), True, "counters of the layers")


def read_xadc() -> RegisterRead:
    """Temperature and core voltage of the FPGA in one answer, 2 bytes each."""
    return RegisterRead(Register.XADC_TEMPERATURE, 4, True, "temperature and core voltage of the FPGA")


def counters_of(answer: bytes) -> dict[str, Sequence[int]]:
    """Counts of each kind, for the three layers, from the answer to `read_counters`."""
    values = [int.from_bytes(answer[start : start + 4], "little") for start in range(0, len(answer), 4)]
    return {kind: values[MAX_LAYERS * n : MAX_LAYERS * (n + 1)] for n, kind in enumerate(COUNTER_KINDS)}


def xadc_temperature_c(value: int) -> float:
    """°C from `Register.XADC_TEMPERATURE`: 12-bit code · 503.975 / 4096 − 273.15 (Xilinx UG480, temperature sensor)."""
    return (value >> 4) * 503.975 / 4096 - 273.15


def xadc_voltage_v(value: int) -> float:
    """V from `Register.XADC_VCCINT`: 12-bit code · 3 / 4096 (Xilinx UG480, supply sensor)."""
    return (value >> 4) * 3 / 4096
