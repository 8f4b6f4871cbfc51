"""Reading the configuration of the chips back through their shift registers (docs/formats.md, "Reading back").

Firmwares since 2025-11-20 sample the output of a layer's shift register at each clock and pack the bits into bytes.
With the read-back wire high, a clock makes the chips copy their configuration into the shift register, from where it is
clocked out; the configuration itself stays. Wires and packing follow from the public RTL and driver, but nobody has
tried this program on chips: so a difference is a warning and no error.
"""

from collections.abc import Generator, Sequence
from typing import Final

import numpy as np

from protocol.chips.chip_config import ChipConfig
from protocol.chips.chip_vector import Bits, configuration_bits, read_chain_bits
from protocol.registers.astep import SAFE_LENGTH, RegisterRead, RegisterWrite, write_register
from protocol.registers.astep_registers import READBACK_FIFO_BYTES, ReadbackCtrl, Register, ShiftPort
from protocol.registers.astep_sequence import Step, read_value

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
