"""Sequences that configure chips and cards of a GECCO board, and inject (docs/chips.md).

Sequences of steps, as in `steps`. Chips and cards hang on ports: registers whose bits are wires. A
byte written to a port is one state of its wires; what looks like repetition is time.
"""

from collections.abc import Iterator, Sequence
from typing import Final

import numpy as np

from protocol.chips.chip_config import ChipConfig
from protocol.chips.chip_setup import ChipSetup, Injection
from protocol.chips.chip_vector import Bits, configuration_bits, tdac_row_bits
from protocol.chips.gecco_cards import USUAL_CARDS, GeccoCards
from protocol.registers.gecco import MAX_LENGTH, ChipPort, Register, SpiConfig, WriteRequest
from protocol.registers.gecco_sequence import Steps, clear_bits, enable_spi, reset_chip, reset_read_fifo

_MODE: Final = 0x14
_PATTERN: Final = (1, 3, 0, 0, 0, 0, 0, 0)
"""Addresses 0 to 7; the last of them are the pulses per set, which are written in the end."""


def generator_settings(injection: Injection) -> Iterator[tuple[int, int, str]]:
    """Address, value (0…255 each) and what it is, in the order in which they are written."""
    for address, value in enumerate(_PATTERN):
        yield address, value, "injection pattern"
    yield 8, injection.period, "injection period"
    yield 9, _MODE, "injection mode"
    for address, value, what in (
        (10, injection.cycle, "cycle"),
        (12, injection.delay, "delay"),
        (14, injection.divider, "clock divider"),
    ):
        yield address, value >> 8, f"injection {what}, high byte"
        yield address + 1, value & 0xFF, f"injection {what}, low byte"
    yield 7, injection.pulses, "injection pulses per set"


CLOCK_REPEAT: Final = 8
"""How often each state of a port is written while bits are clocked in."""

LOAD_REPEAT: Final = 80
"""How often each state is written around the load of the chips' port."""

CARD_CLOCK, CARD_DATA, CARD_LOAD = 1 << 0, 1 << 1, 1 << 2
"""Bits of `Register.CARDS`."""

_CHIP_BIT_BYTES = 5 * CLOCK_REPEAT
_CHIP_LOAD_BYTES = 3 * LOAD_REPEAT
_BITS_IN_A_WRITE = (MAX_LENGTH - _CHIP_LOAD_BYTES) // _CHIP_BIT_BYTES

_CARD_OUTPUT, _CHIP_OUTPUT = 1, 2


def chip_clock_bytes(bits: Bits) -> bytes:
    """States of the chips' port that clock `bits` in, in order; `CLOCK_REPEAT` · 5 bytes a bit."""
    data = bits.astype(np.uint8) * np.uint8(ChipPort.SIN)
    clocks = np.array([0, ChipPort.CK1, 0, ChipPort.CK2, 0], dtype=np.uint8)
    return (data[:, None] | clocks).repeat(CLOCK_REPEAT).tobytes()


def load_bytes(load: ChipPort) -> bytes:
    """States of the chips' port that let the chips take over what was clocked in."""
    return np.array([0, load, 0], dtype=np.uint8).repeat(LOAD_REPEAT).tobytes()


def card_bytes(bits: Bits) -> bytes:
    """States of the cards' port that clock `bits` in, and let the card take them over."""
    data = bits.astype(np.uint8) * np.uint8(CARD_DATA)
    clocks = np.array([0, CARD_CLOCK, 0], dtype=np.uint8)
    end = np.array([CARD_LOAD, 0, *(CARD_CLOCK, 0) * 8, CARD_LOAD, 0], dtype=np.uint8)
    return np.concatenate([(data[:, None] | clocks).ravel(), end]).repeat(CLOCK_REPEAT).tobytes()


def card_bits(cards: GeccoCards, dacs_v: Sequence[float], slot: int) -> Bits:
    """What the card in `slot` wants: its DACs, the last first, 14 bits and two 0 each; then the slot, one of 8 bits."""
    text = "".join(f"{cards.dac_code(voltage_v):014b}00" for voltage_v in reversed(dacs_v))
    text += f"{0x80 >> slot - 1:08b}"
    return np.frombuffer(text.encode(), dtype=np.uint8) - np.uint8(ord("0"))


def shift_into_chips(bits: Bits, load: ChipPort, why: str) -> Steps:
    """Clock `bits` in, in as many writes as it takes, and load with the last one."""
    for start in range(0, len(bits), _BITS_IN_A_WRITE):
        part = bits[start : start + _BITS_IN_A_WRITE]
        end = start + len(part)
        last = end == len(bits)
        data = chip_clock_bytes(part) + (load_bytes(load) if last else b"")
        yield WriteRequest(Register.CHIP, data, f"{why}: bits {start} to {end - 1}{', load' if last else ''}")


def configure_chips(chips: Sequence[ChipConfig]) -> Steps:
    """Reset the chips of the chain, and shift their configuration in."""
    yield from reset_chip()
    yield from shift_into_chips(configuration_bits(chips), ChipPort.LOAD, "chip configuration")


def write_tdac_row(chips: Sequence[ChipConfig], row: int) -> Steps:
    """Shift the TDACs of one row in."""
    yield from shift_into_chips(tdac_row_bits(chips, row), ChipPort.TDAC_LOAD, f"TDAC row {row}")


def set_voltages(cards: GeccoCards) -> Steps:
    """Set the eight DACs of the voltage card."""
    bits = card_bits(cards, cards.dacs_v, cards.voltage_slot)
    yield WriteRequest(Register.CARDS, card_bytes(bits), f"voltage card in slot {cards.voltage_slot}")


def set_injection_card(cards: GeccoCards, amplitude_mv: float) -> Steps:
    """Set the amplitude of the injection card."""
    bits = card_bits(cards, (amplitude_mv / 1000, 0.0), cards.injection_slot)
    yield WriteRequest(Register.CARDS, card_bytes(bits), f"injection card in slot {cards.injection_slot}")


def set_up_injection(injection: Injection) -> Steps:
    """Tell the pattern generator what to do; it does not start by that."""
    output = _CHIP_OUTPUT if injection.output == "chip" else _CARD_OUTPUT
    yield _write(Register.INJECTION_OUTPUT, output, f"injection through the {injection.output}")
    for address, value, why in generator_settings(injection):
        yield _write(Register.INJECTION_ADDRESS, address, why)
        yield _write(Register.INJECTION_DATA, value, why)
        yield _write(Register.INJECTION_WRITE, 1, why)
        yield _write(Register.INJECTION_WRITE, 0, why)


def start_injection() -> Steps:
    """Start the pattern generator from its beginning."""
    yield _write(Register.INJECTION_SUSPEND, 1, "start injection")
    yield _write(Register.INJECTION_RESET, 1, "start injection")
    yield _write(Register.INJECTION_RESET, 0, "start injection")
    yield _write(Register.INJECTION_SUSPEND, 0, "start injection")


def stop_injection() -> Steps:
    """Stop the pattern generator; it stays in reset."""
    yield _write(Register.INJECTION_SUSPEND, 1, "injection off")
    yield _write(Register.INJECTION_RESET, 1, "injection off")


def configure_board(setup: ChipSetup) -> Steps:
    """Chips and cards from any state: injection off, chips reset and configured, cards and pattern generator set."""
    yield from stop_injection()
    yield from configure_chips(setup.chips)
    cards = setup.cards or USUAL_CARDS
    yield from set_voltages(cards)
    injection = setup.injection
    if injection is None:
        return
    if injection.output == "card":
        yield from set_injection_card(cards, injection.amplitude_mv)
    # Out of reset, as after power-up, where it is known to take its settings; it is still suspended.
    yield _write(Register.INJECTION_RESET, 0, "pattern generator out of reset, still suspended")
    yield from set_up_injection(injection)


def start_board(setup: ChipSetup, spi_divider: int) -> Steps:
    """From configured chips to data: SPI on, chips configured once more, TDACs, read FIFO emptied, injection.

    Only TDAC row 0 is sent: nothing in the TDAC vector says which row it is for, and no other row is known to have been
    sent to a chip. Chips without TDACs (version 3) get none. `spi_divider` 1…255.
    """
    yield from clear_bits(Register.CHIP, ChipPort.RESET, "chip out of reset")
    yield from enable_spi(spi_divider)
    yield from configure_chips(setup.chips)
    if setup.chips[0].kind.tdac_rows:
        yield from write_tdac_row(setup.chips, 0)
    yield from reset_read_fifo()
    if setup.injection is not None:
        yield from start_injection()


def make_safe() -> Steps:
    """Injection off, SPI off, chips held in reset: without a question, for a board that may not answer any more."""
    yield from stop_injection()
    yield _write(Register.SPI_CONFIG, SpiConfig.MODULE_RESET, "SPI off")
    yield _write(Register.CHIP, ChipPort.RESET, "chip into reset")


def _write(register: Register, value: int, why: str) -> WriteRequest:
    return WriteRequest(register, bytes((value,)), why)
