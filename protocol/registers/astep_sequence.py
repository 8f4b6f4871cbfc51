"""What is said to an A-STEP board, in which order: from power-up to data, and back to a safe board.

Sequences of steps, as in `steps`.
"""

from collections.abc import Generator, Sequence
from typing import Final

from protocol.registers.astep import RegisterRead, RegisterWrite, read_register, write_register
from protocol.registers.astep_registers import (
    LAYER_CTRL,
    LAYER_MOSI,
    LAYER_MOSI_SIZE,
    LAYER_STATUS,
    MAX_LAYERS,
    MOSI_FIFO_BYTES,
    LayerCtrl,
    LayerStatus,
    Register,
)
from protocol.registers.steps import Pause, UnexpectedAnswerError

CHIP_RESET_S: Final = 0.5
FLUSH_BYTES: Final = 128
FLUSH_ROUNDS: Final = 20
MOSI_POLLS: Final = 100
_DISCARD_BYTES = 4096
_DISCARD_ROUNDS = 1000

_SAFE = LayerCtrl.DISABLE_AUTOREAD | LayerCtrl.DISABLE_MISO
_SAFE_FIRST = _SAFE | LayerCtrl.HOLD

Step = RegisterWrite | RegisterRead | Pause
Steps = Generator[Step, bytes, None]
Reading = Generator[Step, bytes, int]


def read_value(register: Register, why: str) -> Reading:
    """The value of a register."""
    answer = yield read_register(register, why)
    return int.from_bytes(answer, "little")


def hold_layers(layers: int, why: str = "on hold, not read") -> Steps:
    """Chips on hold, autoread off, chip select off, MISO off: the safe state."""
    for layer in range(layers):
        yield write_register(LAYER_CTRL[layer], _SAFE if layer else _SAFE_FIRST, f"layer {layer + 1} {why}")


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
    yield write_register(LAYER_CTRL[layer], control, f"layer {layer + 1} selected, for flushing")
    silent = False
    for _ in range(FLUSH_ROUNDS):
        yield from send_to_chips(layer, bytes(FLUSH_BYTES), f"flush layer {layer + 1}")
        status = yield from read_value(LAYER_STATUS[layer], "have the chips anything left to say")
        silent = bool(status & LayerStatus.INTERRUPT_N)
        if silent:
            break
    yield write_register(LAYER_CTRL[layer], _SAFE if layer else _SAFE_FIRST, f"layer {layer + 1} flushed")
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
        yield write_register(LAYER_CTRL[layer], LayerCtrl.CHIP_SELECT, f"layer {layer + 1} sends")


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
