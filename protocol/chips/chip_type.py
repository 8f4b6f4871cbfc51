"""Types of chips: one record for each with everything that differs between them, found by number, name or columns.

`register` adds a type. The project registers its own (`protocol.chips.astropix_chips`); other distributions name
theirs as entry points of the group `astropix_daq.chips`, which are only looked at where none of the project's fits.
"""

from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass
from functools import cache, cached_property
from typing import Final

import numpy as np
import numpy.typing as npt

from protocol.entry_points import CHIPS, loaded, refuse
from protocol.hit import AbstractAstroPixHit
from protocol.readout import AbstractAstroPixReadout

MAX_CHIP_NUMBER: Final = 15
"""The id of an A-STEP firmware has room for so many."""

COMPARATORS: Final = 35
"""Comparator bits in the word of a column; those of rows that the chip does not have stay off."""

COLUMN_BITS: Final = COMPARATORS + 3
TDAC_BITS: Final = 5

Signals = Callable[[npt.NDArray[np.int64], npt.NDArray[np.float64], np.random.Generator], Mapping[str, npt.ArrayLike]]
"""Fields of hits from their arrival in ns and time over threshold in µs, both (n,), and a source of random numbers."""


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


@dataclass(frozen=True, eq=False)
class ChipType:
    """A type of chip. `ValueError` where it cannot be one.

    `number`: 1…15, as in `board.chip_version`; `name`: for people. `readout_classes`: by kind of board, one at least;
    their hits have the columns `row` and `column`, or else `is_column`, `location` and `chip_timestamp`.

    `tot_bin_us`, `tot_bins`: bins of the spectrum of a chip's times over threshold, from 0 µs on. A pixel's has
    `pixel_tot_merged` of them in one, and at most `pixel_tot_bins`. `usual_tot_us`: mean and standard deviation of the
    emulated chips; `signals` gives the fields of their hits but for chip, payload and place: None: random bits.

    `spi_divider`: of the GECCO board. `values`: the usual configuration with all pixels off, in the order of the shift
    register: they stand in for what a file does not give. `tdac_rows`: the rows that have TDACs, if any. `card_dacs_v`:
    the eight voltages of a voltage card for the chip.
    """

    number: int
    name: str
    rows: int
    columns: int
    readout_classes: Mapping[str, type[AbstractAstroPixReadout]]
    tot_bin_us: float = 5.0
    tot_bins: int = 1320
    pixel_tot_merged: int = 2
    pixel_tot_bins: int = 128
    usual_tot_us: tuple[float, float] = (235.0, 20.0)
    signals: Signals | None = None
    spi_divider: int = 40
    values: tuple[ChipValue, ...] = ()
    tdac_rows: tuple[ChipValue, ...] = ()
    card_dacs_v: tuple[float, ...] = (0.0,) * 8

    def __post_init__(self) -> None:
        if not 1 <= self.number <= MAX_CHIP_NUMBER:
            raise ValueError(f"{self.name}: {self.number} is not a number of a chip: 1 to {MAX_CHIP_NUMBER}")
        if not self.readout_classes:
            raise ValueError(f"{self.name}: no class of readouts")
        place = {"row", "column"} if self.hits_name_pixels else {"location", "chip_timestamp"}
        for hit_class in self.hit_classes:
            if missing := {"chip_id", "payload", "tot_us", *place} - {*hit_class.ATTRIBUTE_NAMES}:
                raise ValueError(f"{self.name}: {hit_class.__name__} has no column {min(missing)}")

    @cached_property
    def hit_classes(self) -> tuple[type[AbstractAstroPixHit], ...]:
        """The classes of hits of the readouts."""
        return tuple(each.hit_class() for each in self.readout_classes.values())

    @cached_property
    def hits_name_pixels(self) -> bool:
        """Whether a hit names a row and a column; otherwise one of the two, and each particle makes a hit of both."""
        return "is_column" not in self.hit_classes[0].ATTRIBUTE_NAMES

    def hit_class(self, *, layered: bool) -> type[AbstractAstroPixHit]:
        """The class of hits that name their layer, or do not; the other one where there is only that."""
        fitting = (each for each in self.hit_classes if ("layer" in each.ATTRIBUTE_NAMES) == layered)
        return next(fitting, self.hit_classes[0])

    @cached_property
    def groups(self) -> tuple[str, ...]:
        """Groups of values, in order."""
        return tuple(dict.fromkeys(value.group for value in self.values))

    @cached_property
    def bits(self) -> int:
        """Length of the shift register in bits."""
        return sum(value.bits for value in self.values)

    def __str__(self) -> str:
        return self.name


_types: dict[int, ChipType] = {}


def register(chip: ChipType) -> ChipType:
    """Add a type of chip, whose number and name no other has (else `ValueError`); `chip` itself."""
    for known in _types.values():
        if known is not chip and (known.number == chip.number or known.name == chip.name):
            raise ValueError(f"{chip.name} (number {chip.number}) is registered already: {known.name}")
    _types[chip.number] = chip
    return chip


@cache
def _register_others() -> None:
    for name, chip in loaded(CHIPS).items():
        try:
            if not isinstance(chip, ChipType):
                raise TypeError(f"not a ChipType, but {type(chip).__name__}")
            register(chip)
        except (TypeError, ValueError) as error:
            refuse(CHIPS, name, error)


def chip_types(*, others: bool = True) -> list[ChipType]:
    """All types by number; without `others`, those of the project, and others that were needed before."""
    if others:
        _register_others()
    return [_types[number] for number in sorted(_types)]


def chip_type(number_or_name: int | str) -> ChipType:
    """The type of that number or name; `ValueError` where there is none."""
    for others in (False, True):
        for chip in chip_types(others=others):
            if number_or_name in (chip.number, chip.name):
                return chip
    known = ", ".join(f"{chip.number} ({chip.name})" for chip in chip_types())
    raise ValueError(f"unknown chip {number_or_name!r}; known are {known}")


def chip_type_of_columns(names: Collection[str]) -> ChipType:
    """The type whose hits have the columns `names`, or the most of them; one that names places alike for unknown ones.

    AstroPix 4 and 3 are taken for unknown hits of pixels, and of rows and columns.
    """
    given = {*names}
    for others in (False, True):
        fitting = [
            (len(hit_class.ATTRIBUTE_NAMES), chip)
            for chip in chip_types(others=others)
            for hit_class in chip.hit_classes
            if given.issuperset(hit_class.ATTRIBUTE_NAMES)
        ]
        columns, found = max(fitting, key=lambda each: each[0], default=(0, None))
        if found is not None and (others or columns == len(given)):
            return found
    return chip_type(3 if "is_column" in given else 4)
