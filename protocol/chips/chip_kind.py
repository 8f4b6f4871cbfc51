"""What one version of the chip has: pixels, and the values of its configuration in the order of its shift register.

The values are those of the usual configuration with all pixels off; they stand in for what a file does not give.
Another version of the chip is another `ChipKind` in `CHIP_KINDS`.
"""

from dataclasses import dataclass
from functools import cached_property
from typing import Final


@dataclass(frozen=True, slots=True)
class ChipValue:
    """One value of a chip's configuration: `bits` wide, 0 … 2^bits - 1."""

    group: str
    name: str
    bits: int
    value: int

    @property
    def fits(self) -> bool:
        """Whether the value has room in its bits."""
        return 0 <= self.value < 1 << self.bits


@dataclass(frozen=True)
class ChipKind:
    """A version of the chip. `values` in the order of the shift register; `tdac_rows` the rows that have TDACs, if any.

    `card_dacs_v`: the eight voltages of a voltage card for it.
    """

    version: int
    rows: int
    columns: int
    values: tuple[ChipValue, ...]
    tdac_rows: tuple[ChipValue, ...]
    card_dacs_v: tuple[float, ...]

    @cached_property
    def groups(self) -> tuple[str, ...]:
        """Groups of values, in order."""
        return tuple(dict.fromkeys(value.group for value in self.values))

    @cached_property
    def bits(self) -> int:
        """Length of the shift register in bits."""
        return sum(value.bits for value in self.values)

    def __str__(self) -> str:
        return f"AstroPix {self.version}"


def _group(group: str, values: str) -> tuple[ChipValue, ...]:
    """Values written as `name:bits=value`, in order."""
    parsed = []
    for text in values.split():
        name, _, rest = text.partition(":")
        bits, _, value = rest.partition("=")
        parsed.append(ChipValue(group, name, int(bits), int(value)))
    return tuple(parsed)


COMPARATORS: Final = 35
"""Comparator bits in the word of a column; those of rows that the chip does not have stay off."""

COLUMN_BITS: Final = COMPARATORS + 3
TDAC_BITS: Final = 5

_ALL_OFF = ((1 << COMPARATORS) - 1) << 1
_TDAC_USUAL = 1

ASTROPIX4: Final = ChipKind(
    version=4,
    rows=13,
    columns=16,
    values=(
        *_group(
            "digitalconfig",
            "interrupt_pushpull:1=0 clkmux:1=0 timerend:4=0 slowdownldpix:4=0 slowdownldcol:5=0 maxcyc:6=63 "
            "resetckdiv:4=15 nu1:32=0 tdacmux:1=0 Reset:1=0 PCH:1=0 enRamPCH:1=1 nu2:5=0 enLVDSterm:1=1 enPLL:1=1 "
            "enLVDS:1=0 nu3:5=0",
        ),
        *_group("biasconfig", "DisHiDR:1=0 q01:1=0 qon0:1=0 qon1:1=1 qon2:1=0 qon3:1=1"),
        *_group(
            "idacs",
            "blres:6=0 vpdac:6=0 vn1:6=20 vnfb:6=1 vnfoll:6=2 nu5:6=0 vndel:6=30 incp:6=10 ipvco:6=0 vn2:6=0 "
            "vnfoll2:6=1 vnbias:6=10 vpload:6=5 nu13:6=0 vncomp:6=2 vpfoll:6=10 nu16:6=0 vprec:6=10 vnrec:6=10",
        ),
        *_group("vdacs", "blpix:10=568 thpix:10=610 vcasc2:10=625 vtest:10=682 vinj:10=171"),
        *(ChipValue("recconfig", f"col{column}", COLUMN_BITS, _ALL_OFF) for column in range(16)),
    ),
    tdac_rows=tuple(
        ChipValue(
            "tdac_config",
            f"row{row}",
            16 * TDAC_BITS,
            sum(_TDAC_USUAL << TDAC_BITS * column for column in range(16)),
        )
        for row in range(13)
    ),
    card_dacs_v=(0.0, 0.0, 1.1, 1.0, 0.0, 0.0, 0.8, 1.2),
)

ASTROPIX3: Final = ChipKind(
    version=3,
    rows=35,
    columns=35,
    values=(
        *_group("digitalconfig", "interrupt_pushpull:1=1 en_inj:18=0 reset:1=0 extrabits:15=0"),
        *_group("biasconfig", "DisHiDR:1=0 q01:1=0 qon0:1=0 qon1:1=1 qon2:1=0 qon3:1=1"),
        *_group(
            "idacs",
            "blres:6=0 nu1:6=0 vn1:6=20 vnfb:6=3 vnfoll:6=1 nu5:6=0 nu6:6=0 nu7:6=0 nu8:6=0 vn2:6=0 vnfoll2:6=10 "
            "vnbias:6=10 vpload:6=5 nu13:6=60 vncomp:6=2 vpfoll:6=60 nu16:6=0 vprec:6=60 vnrec:6=30",
        ),
        *_group("vdacs", "blpix:10=568 thpix:10=682 vcasc2:10=625 nu1:10=512 thpmos:10=682 vinj:10=171"),
        *(ChipValue("recconfig", f"col{column}", COLUMN_BITS, _ALL_OFF) for column in range(35)),
    ),
    tdac_rows=(),
    card_dacs_v=(1.1, 0.0, 1.1, 1.0, 0.0, 0.0, 1.0, 1.1),
)

CHIP_KINDS: Final = {kind.version: kind for kind in (ASTROPIX3, ASTROPIX4)}
"""The versions of the chip that can be configured."""
