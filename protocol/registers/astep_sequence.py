"""The order of the requests to an A-STEP board: from power-up to data, and back to a safe board.

Sequences of steps, as in `steps`.
"""

from collections.abc import Generator, Iterable, Mapping
from typing import Final

from protocol.registers.astep import SAFE_LENGTH, RegisterRead, RegisterWrite, byte_of, read_byte, write_register
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
from protocol.stream_bytes import PADDING_BYTE

CHIP_RESET_S: Final = 0.5
FLUSH_BYTES: Final = 128
FLUSH_ROUNDS: Final = 20
MOSI_POLLS: Final = 100
FRAME_POLLS: Final = 100
"""How often layers are asked whether they are still within a frame."""

_DISCARD_BYTES = 4 * SAFE_LENGTH
_DISCARD_ROUNDS = 1000
_MOSI_SIZE_BYTES = 2
_PADDING = bytes((PADDING_BYTE,))

_SAFE = LayerCtrl.DISABLE_AUTOREAD | LayerCtrl.DISABLE_MISO
_SAFE_FIRST = _SAFE | LayerCtrl.HOLD

Step = RegisterWrite | RegisterRead | Pause
Steps = Generator[Step, bytes, None]
Reading = Generator[Step, bytes, int]


class NotWrittenError(UnexpectedAnswerError):
    """A register does not have the value that was written to it."""


def read_value(register: Register, why: str, size: int | None = None) -> Reading:
    """The value of a register, in requests that survive the link; `size`: of its low bytes only.

    The highest byte is read first: what counts down meanwhile is not taken for 0 too early.
    """
    value = 0
    for offset in reversed(range(register.size if size is None else size)):
        value = value << 8 | byte_of((yield read_byte(register, offset, why)))
    return value


def hold_layers(why: str = "on hold, not read") -> Steps:
    """All layers, used or not, on hold, autoread off, chip select off, MISO off: the safe state."""
    for layer in range(MAX_LAYERS):
        yield write_register(LAYER_CTRL[layer], safe_control(layer), f"layer {layer + 1} {why}")


def safe_control(layer: int) -> int:
    """Control of a layer on hold that is not read. Hold is that of layer 0 for all."""
    return int(_SAFE if layer else _SAFE_FIRST)


def hold_chips() -> Steps:
    """Chips on hold; layers that are read go on being read, so that they can finish their frames."""
    for layer in range(MAX_LAYERS):
        control = yield from read_value(LAYER_CTRL[layer], f"control of layer {layer + 1}")
        held = control | LayerCtrl.HOLD if layer == 0 else control
        yield write_register(LAYER_CTRL[layer], held, f"layer {layer + 1} on hold, still read")


def layers_in_frames() -> Generator[Step, bytes, list[int]]:
    """Which layers are within a frame. One that is stopped or reset then stays half decoded."""
    found = []
    for layer in range(MAX_LAYERS):
        status = yield from read_value(LAYER_STATUS[layer], f"is layer {layer + 1} within a frame")
        if status & LayerStatus.FRAME_DECODING:
            found.append(layer)
    return found


def read_on(layers: Iterable[int]) -> Steps:
    """Read `layers`, which were stopped within a frame, on hold: their frames are completed, with idle bytes."""
    for layer in layers:
        control = LayerCtrl.CHIP_SELECT | (0 if layer else LayerCtrl.HOLD)
        yield write_register(LAYER_CTRL[layer], control, f"layer {layer + 1} read, to complete its frame")


def finish_frames() -> Generator[Step, bytes, bool]:
    """Chips on hold, until no layer is within a frame; returns whether that is so. The readout FIFO is emptied.

    A layer also waits within its frame while the FIFO is full.
    """
    yield from hold_chips()
    for poll in range(FRAME_POLLS):
        layers = yield from layers_in_frames()
        if not layers:
            return True
        yield _discard("old data, to make room for a frame")
        if poll == FRAME_POLLS // 2:
            yield from read_on(layers)
    return False


def reset_chips() -> Generator[Step, bytes, bool]:
    """Reset all chips and layers for half a second; they stay on hold. Returns whether no layer was within a frame."""
    finished = yield from finish_frames()
    yield from hold_layers("stopped before the reset")
    for layer in range(MAX_LAYERS):
        yield write_register(LAYER_CTRL[layer], safe_control(layer) | LayerCtrl.RESET, f"layer {layer + 1} into reset")
    yield Pause(CHIP_RESET_S, "chips in reset")
    yield from hold_layers()
    return finished


def check_controls(expected: Mapping[Register, int]) -> Steps:
    """Read registers back; a write has no other answer. `NotWrittenError` where one is not as expected."""
    for register, value in expected.items():
        got = yield from read_value(register, "was it written as it was sent")
        if got != value:
            advice = "bytes to the board get lost or changed; check cable and hub"
            raise NotWrittenError(register, f"0x{value:02X}", f"0x{got:02X}", advice)


def safe_controls() -> dict[Register, int]:
    """The controls of all layers after `hold_layers`."""
    return {register: safe_control(layer) for layer, register in enumerate(LAYER_CTRL)}


def sending_controls(layers: int) -> dict[Register, int]:
    """The controls of all layers after `start_readout`."""
    used = dict.fromkeys(LAYER_CTRL[:layers], int(LayerCtrl.CHIP_SELECT))
    return {**safe_controls(), **used}


def send_to_chips(layer: int, data: bytes, why: str) -> Steps:
    """Bytes over SPI, as many at a time as fit, and wait until they have gone. The chip must be selected."""
    for start in range(0, len(data), MOSI_FIFO_BYTES):
        yield RegisterWrite(LAYER_MOSI[layer], data[start : start + MOSI_FIFO_BYTES], False, why)
        for _ in range(MOSI_POLLS):
            waiting = yield from read_value(LAYER_MOSI_SIZE[layer], "has it been sent to the chips", _MOSI_SIZE_BYTES)
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
    """Clock old data out of the chips; returns whether they have nothing left to send."""
    control = safe_control(layer) | LayerCtrl.CHIP_SELECT
    yield write_register(LAYER_CTRL[layer], control, f"layer {layer + 1} selected, for flushing")
    silent = False
    for _ in range(FLUSH_ROUNDS):
        yield from send_to_chips(layer, bytes(FLUSH_BYTES), f"flush layer {layer + 1}")
        status = yield from read_value(LAYER_STATUS[layer], "have the chips anything left to send")
        silent = bool(status & LayerStatus.INTERRUPT_N)
        if silent:
            break
    yield write_register(LAYER_CTRL[layer], safe_control(layer), f"layer {layer + 1} flushed")
    return silent


def _discard(why: str) -> RegisterRead:
    return RegisterRead(Register.READOUT, _DISCARD_BYTES, False, why, copies=True)


def discard_readout() -> Steps:
    """Drop what the readout FIFO holds, until it gives padding alone.

    Its size register is not asked: it counts frames that were begun and never finished.
    """
    for _ in range(_DISCARD_ROUNDS):
        data = yield _discard("old data, thrown away")
        if not data.strip(_PADDING):
            return
    advice = "a layer that is stopped goes on sending; power the board off and on"
    raise UnexpectedAnswerError(Register.READOUT, "padding", "data without end", advice)


def start_readout(layers: int) -> Steps:
    """Let the layers send: hold off, autoread on, chip select on, MISO on; layer 0, which holds them all, last."""
    for layer in reversed(range(MAX_LAYERS)):
        if layer < layers:
            yield write_register(LAYER_CTRL[layer], LayerCtrl.CHIP_SELECT, f"layer {layer + 1} sends")
        else:
            yield write_register(LAYER_CTRL[layer], safe_control(layer), f"layer {layer + 1} is not used")


COUNTER_KINDS: Final = ("frames", "idle_bytes", "wrong_length")
"""What is counted for each layer."""


def xadc_temperature_c(value: int) -> float:
    """°C from `Register.XADC_TEMPERATURE`: 12-bit code · 503.975 / 4096 − 273.15 (Xilinx UG480, temperature sensor)."""
    return (value >> 4) * 503.975 / 4096 - 273.15


def xadc_voltage_v(value: int) -> float:
    """V from `Register.XADC_VCCINT`: 12-bit code · 3 / 4096 (Xilinx UG480, supply sensor)."""
    return (value >> 4) * 3 / 4096
