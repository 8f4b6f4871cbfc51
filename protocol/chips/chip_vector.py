"""Chip configurations as the bits that are shifted into a chain, and back (docs/chips.md, "Bits of a chain").

The bits of a chip are its values in order, each most significant bit first, but for those of `vdacs`, which have their
bits reversed; then all of it reversed, last bit first. What is sent first ends farthest down the chain: the last chip
comes first.
"""

from collections.abc import Sequence
from typing import Final

import numpy as np
import numpy.typing as npt

from protocol.chips.chip_config import ChipConfig, ChipConfigError
from protocol.chips.chip_type import ChipType, ChipValue

Bits = npt.NDArray[np.uint8]
"""Bits, one in each element, in the order in which they are sent."""

LEAST_SIGNIFICANT_FIRST: Final = frozenset({"vdacs"})


def configuration_bits(chips: Sequence[ChipConfig]) -> Bits:
    """The configuration of a chain, `chips` in its order: `kind.bits` bits each (852 for version 4, 1545 for 3)."""
    return _chain_bits([chip.values for chip in chips])


def tdac_row_bits(chips: Sequence[ChipConfig], row: int) -> Bits:
    """The TDACs of one row of every chip of a chain. Raises `ChipConfigError` for an unknown row."""
    return _chain_bits([(chip.tdac_row(row),) for chip in chips])


def read_configuration_bits(bits: Bits, kind: ChipType, chips: int) -> tuple[tuple[ChipValue, ...], ...]:
    """The values of each chip of a chain: inverse of `configuration_bits`.

    The last `chips * kind.bits` bits count: what was sent before them has left the chain at its end. Raises
    `ChipConfigError` for fewer.
    """
    return _read_chain(bits, kind.values, chips)


def read_chain_bits(bits: Bits, chips: Sequence[ChipConfig]) -> tuple[tuple[ChipValue, ...], ...]:
    """The values that `bits` mean in a chain with the layout of `chips`; the last bits count, as above."""
    return _read_chain(bits, chips[0].values, len(chips))


def read_tdac_row_bits(bits: Bits, kind: ChipType, row: int, chips: int) -> tuple[ChipValue, ...]:
    """The TDAC row of each chip of a chain: inverse of `tdac_row_bits`; the last bits count, as above."""
    return tuple(values[0] for values in _read_chain(bits, (kind.tdac_rows[row],), chips))


def _chain_bits(chips: Sequence[Sequence[ChipValue]]) -> Bits:
    text = "".join("".join(_value_bits(value) for value in chip)[::-1] for chip in reversed(chips))
    return np.frombuffer(text.encode(), dtype=np.uint8) - np.uint8(ord("0"))


def _value_bits(value: ChipValue) -> str:
    bits = f"{value.value:0{value.bits}b}"
    return bits[::-1] if value.group in LEAST_SIGNIFICANT_FIRST else bits


def _read_chain(bits: Bits, values: Sequence[ChipValue], chips: int) -> tuple[tuple[ChipValue, ...], ...]:
    length = sum(value.bits for value in values)
    if len(bits) < chips * length:
        raise ChipConfigError([f"{len(bits)} bits are fewer than the {chips * length} of {chips} chips"])
    # Backwards, the first chip comes first, and each in the order of its values.
    text = (bits[::-1] + np.uint8(ord("0"))).tobytes().decode()
    read = []
    for chip in range(chips):
        start, found = chip * length, []
        for value in values:
            field = text[start : start + value.bits]
            start += value.bits
            number = int(field[::-1] if value.group in LEAST_SIGNIFICANT_FIRST else field, 2)
            found.append(ChipValue(value.group, value.name, value.bits, number))
        read.append(tuple(found))
    return tuple(read)
