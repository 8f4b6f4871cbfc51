"""Sequences that configure chips and cards of an A-STEP board, and inject (docs/formats.md, "A-STEP registers").

Two ways lead to the chips: their shift registers, whose wires hang on a port, and frames over SPI. Vectors are bits in
the order in which they are sent, those of the last chip of a chain first.
"""

from collections.abc import Generator, Sequence
from typing import Final

import numpy as np

from protocol.chips.chip_config import ChipConfig
from protocol.chips.chip_setup import ChipSetup, Injection, Method
from protocol.chips.chip_vector import Bits, configuration_bits, read_chain_bits, tdac_row_bits
from protocol.chips.gecco_cards import GeccoCards
from protocol.registers.astep import SAFE_LENGTH, RegisterRead, RegisterWrite, write_register
from protocol.registers.astep_firmware import Firmware
from protocol.registers.astep_registers import (
    LAYER_CTRL,
    LAYER_LOAD,
    LAYER_TDAC_LOAD,
    READBACK_FIFO_BYTES,
    InjectionCtrl,
    IoCtrl,
    LayerCtrl,
    ReadbackCtrl,
    Register,
    ShiftPort,
)
from protocol.registers.astep_sequence import (
    Step,
    Steps,
    check_controls,
    hold_chips,
    hold_layers,
    read_value,
    reset_chips,
    safe_controls,
    send_to_chips,
)
from protocol.registers.gecco_chip import card_bits, card_bytes, generator_settings

CLOCK_REPEAT: Final = 8
"""How often each state of the port is written."""

ROUTING, CONFIGURATION = 0x40, 0x60
"""Beginnings of frames to the chips, or-ed with the first id of the chain or that of the chip."""

SPI_LOAD, SPI_TDAC_LOAD = 0x03, 0x06
_LOADS = 10


def shift_bytes(bits: Bits, load: ShiftPort) -> bytes:
    """States of the port that clock `bits` in and load them, in order."""
    data = bits.astype(np.uint8) * np.uint8(ShiftPort.SIN)
    clocks = np.array([0, ShiftPort.CK1, 0, ShiftPort.CK2, 0], dtype=np.uint8)
    last = data[-1] if len(data) else np.uint8(0)
    states = np.concatenate([(data[:, None] | clocks).ravel(), np.array([last | load, 0], dtype=np.uint8)])
    return states.repeat(CLOCK_REPEAT).tobytes()


def shift_into_chips(bits: Bits, load: ShiftPort, why: str) -> Steps:
    """Clock `bits` in and load them: one step, which is several writes where they are many."""
    yield RegisterWrite(Register.SHIFT_REGISTER, shift_bytes(bits, load), False, why)


def routing_frame(chips: int, first_id: int = 0) -> bytes:
    """Gives the `chips` of a chain their ids."""
    return bytes((ROUTING | first_id, *bytes(2 * chips)))


def configuration_frame(bits: Bits, beginning: int, load: int, further_chips: int) -> bytes:
    """The bits of one chip, a byte each; `load`: what becomes of them; then two zeros for each further chip.

    The zeros are those of the whole chain for every chip, as in the collaboration's program.
    """
    return bytes((beginning,)) + bits.astype(np.uint8).tobytes() + bytes((load,)) * _LOADS + bytes(2 * further_chips)


def select_chips(layer: int) -> Steps:
    """Chip select on, for bytes to the chips; what comes back is not read."""
    control = LayerCtrl.DISABLE_AUTOREAD | LayerCtrl.DISABLE_MISO | LayerCtrl.CHIP_SELECT
    yield write_register(LAYER_CTRL[layer], control | (0 if layer else LayerCtrl.HOLD), f"layer {layer + 1} selected")


def deselect_chips(layer: int) -> Steps:
    """Chip select off again."""
    control = LayerCtrl.DISABLE_AUTOREAD | LayerCtrl.DISABLE_MISO | (0 if layer else LayerCtrl.HOLD)
    yield write_register(LAYER_CTRL[layer], control, f"layer {layer + 1} not selected any more")


def send_frame(layer: int, frame: bytes, why: str) -> Steps:
    """One frame to the chips of a layer, which are selected around it."""
    yield from select_chips(layer)
    yield from send_to_chips(layer, frame, why)
    yield from deselect_chips(layer)


def configure_layer(chips: tuple[ChipConfig, ...], layer: int, method: Method, *, tdacs_by_port: bool) -> Steps:
    """Chip ids, configuration and TDAC row 0 (where chips have TDACs) of one layer, by `method`.

    `tdacs_by_port`: whether the port has a TDAC load for this layer; otherwise its TDACs go over SPI.
    """
    number = f"layer {layer + 1}"
    if method == "shift-register":
        yield from shift_into_chips(configuration_bits(chips), LAYER_LOAD[layer], f"{number}: chip configuration")
    yield from send_frame(layer, routing_frame(len(chips)), f"{number}: routing")
    if method == "spi":
        for place, chip in enumerate(chips):
            yield from _configure_by_spi(
                configuration_bits([chip]), place, len(chips), layer, SPI_LOAD, "configuration"
            )
    if not chips[0].kind.tdac_rows:
        return
    if method == "shift-register" and tdacs_by_port:
        yield from shift_into_chips(tdac_row_bits(chips, 0), LAYER_TDAC_LOAD[layer], f"{number}: TDAC row 0")
        return
    for place, chip in enumerate(chips):
        yield from _configure_by_spi(tdac_row_bits([chip], 0), place, len(chips), layer, SPI_TDAC_LOAD, "TDAC row 0")


def _configure_by_spi(bits: Bits, place: int, chips: int, layer: int, load: int, what: str) -> Steps:
    frame = configuration_frame(bits, CONFIGURATION | place, load, chips - 1)
    yield from send_frame(layer, frame, f"layer {layer + 1}: {what} of chip {place}")


def configure_board(setup: ChipSetup, firmware: Firmware) -> Generator[Step, bytes, bool]:
    """Chips and cards from any state: injection off, chips reset and configured, cards and pattern generator set.

    `setup` is one for this board: `ChipSetup.for_board`. Returns what `reset_chips` does.
    """
    yield stop_injection()
    finished = yield from reset_chips()
    for layer in range(setup.layers):
        by_port = firmware.loads_tdacs_by_port(layer)
        yield from configure_layer(setup.layer(layer), layer, setup.method, tdacs_by_port=by_port)
    cards, injection = setup.cards, setup.injection
    if cards is not None:
        yield from _set_card(cards, cards.dacs_v, cards.voltage_slot, "voltage")
    if injection is None:
        return finished
    if injection.output == "card" and cards is not None:
        yield from _set_card(cards, (injection.amplitude_mv / 1000, 0.0), cards.injection_slot, "injection")
    yield from set_up_injection(injection)
    return finished


def _set_card(cards: GeccoCards, dacs_v: tuple[float, ...], slot: int, what: str) -> Steps:
    yield RegisterWrite(
        Register.CARDS, card_bytes(card_bits(cards, dacs_v, slot)), False, f"{what} card in slot {slot}"
    )


_HELD: Final = InjectionCtrl.SUSPEND | InjectionCtrl.RESET


def set_up_injection(injection: Injection) -> Steps:
    """Tell the pattern generator what to do; it stays suspended."""
    routes = yield from read_value(Register.IO_CTRL, "where does the injection go")
    card = int(IoCtrl.INJECTION_CARD)
    routes = routes | card if injection.output == "card" else routes & ~card
    yield write_register(Register.IO_CTRL, routes, f"injection through the {injection.output}")
    for address, value, why in generator_settings(injection):
        yield write_register(Register.INJECTION_ADDRESS, address, why)
        yield write_register(Register.INJECTION_DATA, value, why)
        yield write_register(Register.INJECTION_CTRL, _HELD | InjectionCtrl.WRITE, why)
        yield write_register(Register.INJECTION_CTRL, _HELD, why)


def start_injection() -> Steps:
    """Start the pattern generator from its beginning."""
    yield write_register(Register.INJECTION_CTRL, _HELD, "start injection")
    yield write_register(Register.INJECTION_CTRL, 0, "start injection")


def stop_injection() -> RegisterWrite:
    """Stop the pattern generator; it stays in reset."""
    return write_register(Register.INJECTION_CTRL, _HELD, "injection off")


def make_safe() -> Steps:
    """Injection off, all layers on hold and not read: without a question, for a board that may not answer any more."""
    yield stop_injection()
    yield from hold_layers()


def end_data() -> Steps:
    """Injection off, chips on hold; the layers finish their frames."""
    yield stop_injection()
    yield from hold_chips()


def stop_layers() -> Steps:
    """All layers on hold and not read, and proof of it."""
    yield from hold_layers()
    yield from check_controls(safe_controls())


VERIFIED: Final = "verified"
_REPEAT: Final = 8
"""How often each state of the port is written, as for writing."""

_CLOCK: Final = bytes((ShiftPort.CK1, 0, ShiftPort.CK2, 0))
_PIECE_BYTES: Final = READBACK_FIFO_BYTES // 2


def clock_bytes(clocks: int) -> bytes:
    """States of the port that make so many clocks, with zeros as data."""
    return b"".join(bytes((state,)) * _REPEAT for state in _CLOCK) * clocks


def read_back(layer: int, bits: int) -> Generator[Step, bytes, Bits]:
    """The first `bits` bits that leave the shift register of `layer`, from 0; fewer where the firmware gives fewer."""
    number = f"layer {layer + 1}"
    yield from _drain()
    yield write_register(Register.READBACK_CTRL, ReadbackCtrl.READ_BACK, f"{number}: configuration to be read back")
    yield RegisterWrite(
        Register.SHIFT_REGISTER, clock_bytes(1), False, f"{number}: configuration to the shift register"
    )
    yield write_register(Register.READBACK_CTRL, ReadbackCtrl.CRC | layer << 2, f"{number}: output sampled")
    data = b""
    while 8 * len(data) < bits:
        piece = min(-(-bits // 8) - len(data), _PIECE_BYTES)
        yield RegisterWrite(Register.SHIFT_REGISTER, clock_bytes(8 * piece), False, f"{number}: configuration out")
        found = yield from _drain()
        data += found
        if len(found) < piece:
            break
    yield write_register(Register.READBACK_CTRL, 0, f"{number}: read back")
    return np.unpackbits(np.frombuffer(data, np.uint8))[:bits]


def _drain() -> Generator[Step, bytes, bytes]:
    """What the FIFO of the bits read back holds."""
    size = yield from read_value(Register.READBACK_SIZE, "bytes read back")
    if not size:
        return b""
    # A shorter read could become one that hangs the firmware; the rest of this one is padding.
    data = yield RegisterRead(Register.READBACK, SAFE_LENGTH, False, "configuration read back")
    return data[:size]


def compare(chips: Sequence[ChipConfig], found: Bits) -> str:
    """`VERIFIED` where `found` is the configuration of the chain `chips`; otherwise what is different, in words."""
    wanted = configuration_bits(chips)
    if len(found) < len(wanted):
        return f"{len(found)} of {len(wanted)} bits could be read back"
    different = np.flatnonzero(wanted != found)
    if not len(different):
        return VERIFIED
    if found.min() == found.max():
        return f"all {len(found)} bits read back are {found[0]}: the read-back wires may not be connected"
    read = read_chain_bits(found, chips)
    chip, value, got = next(
        (number, wrote, got)
        for number, (chip, values) in enumerate(zip(chips, read, strict=True))
        for wrote, got in zip(chip.values, values, strict=True)
        if wrote != got
    )
    return (
        f"{len(different)} of {len(wanted)} bits differ, first bit {different[0]}; chip {chip}, "
        f"{value.group}.{value.name}: {value.value} written, {got.value} read back"
    )
