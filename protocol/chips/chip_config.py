"""The configuration of one chip: its values, its TDACs, and what people want of them: pixels, injection, thresholds.

A `ChipConfig` never changes; what changes something returns another one. `protocol.chips.chip_yaml` reads it from the
collaboration's files, `protocol.chips.chip_vector` makes bits of it.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any, Final, Self

from protocol.chips.chip_type import COMPARATORS, ChipType, ChipValue
from protocol.errors import ProtocolError

SUPPLY_MV: Final = 1800
"""Full scale of the chip's own DACs."""

DAC_BITS: Final = 10
MAX_THRESHOLD_MV: Final = 1500

_INJECT_ROW = 1 << 0
_INJECT_COLUMN = 1 << 36
_ANALOG_OUTPUT = 1 << 37


class ChipConfigError(ProtocolError, ValueError):
    """A chip cannot be configured so. `mistakes` has one line for each mistake, beginning with where it is."""

    def __init__(self, mistakes: Sequence[str]) -> None:
        self.mistakes = tuple(mistakes)
        super().__init__("\n".join(self.mistakes))


def dac_code(voltage_mv: float) -> int:
    """Code of one of the chip's voltage DACs for 0…1800 mV: 10 bits over 1.8 V, rounded down.

    The full scale, which would need an eleventh bit, is the highest code. Raises `ChipConfigError` outside the range.
    """
    if not 0 <= voltage_mv <= SUPPLY_MV:
        raise ChipConfigError([f"{voltage_mv:g} mV is not within 0 to {SUPPLY_MV} mV of the chip's DACs"])
    return min(int(voltage_mv * (1 << DAC_BITS) / SUPPLY_MV), (1 << DAC_BITS) - 1)


def dac_mv(code: int) -> float:
    """Voltage in mV that a code of one of the chip's voltage DACs stands for."""
    return code * SUPPLY_MV / (1 << DAC_BITS)


@dataclass(frozen=True)
class ChipConfig:
    """The configuration of one chip of `kind`: `values` in the order of its shift register, and its TDAC rows.

    Rows and columns count from 0. `values` may have further ones, or others in the place of the kind's: they are sent
    like the others. Raises `ChipConfigError` where `values` or `tdac_rows` are fewer than, or not in the order of,
    those of the kind.
    """

    kind: ChipType
    values: tuple[ChipValue, ...]
    tdac_rows: tuple[ChipValue, ...]

    def __post_init__(self) -> None:
        for mine, usual in ((self.values, self.kind.values), (self.tdac_rows, self.kind.tdac_rows)):
            if not _in_their_order(mine, usual):
                raise ChipConfigError([f"these are not the values of {self.kind} in their order"])
            mistakes = [f"{v.group}.{v.name}: {v.value} does not fit into {v.bits} bits" for v in mine if not v.fits]
            if mistakes:
                raise ChipConfigError(mistakes)

    @classmethod
    def usual(cls, kind: ChipType) -> Self:
        """The usual configuration, all pixels off."""
        return cls(kind, kind.values, kind.tdac_rows)

    @cached_property
    def bits(self) -> int:
        """Length of what is shifted into the chip, in bits."""
        return sum(value.bits for value in self.values)

    @cached_property
    def _places(self) -> dict[tuple[str, str], int]:
        return {(value.group, value.name): place for place, value in enumerate(self.values)}

    def value(self, group: str, name: str) -> int:
        """The value of that name. Raises `ChipConfigError` where there is none."""
        return self.values[self._place(group, name)].value

    def with_value(self, group: str, name: str, value: int) -> Self:
        """Another value. Raises `ChipConfigError` where there is none of that name, or it has no room."""
        place = self._place(group, name)
        values = list(self.values)
        values[place] = replace(values[place], value=value)
        return replace(self, values=tuple(values))

    def _place(self, group: str, name: str) -> int:
        try:
            return self._places[group, name]
        except KeyError:
            raise ChipConfigError([f"{self.kind} has no {group}.{name}"]) from None

    def _column(self, column: int) -> int:
        return self.value("recconfig", f"col{column}")

    def _with_columns(self, columns: Iterable[tuple[int, int, int]]) -> Self:
        """With bits of columns changed: (column, bits to clear, bits to set)."""
        values = list(self.values)
        for column, clear, bits in columns:
            place = self._place("recconfig", f"col{column}")
            values[place] = replace(values[place], value=values[place].value & ~clear | bits)
        return replace(self, values=tuple(values))

    def _check_pixel(self, row: int, column: int) -> None:
        kind = self.kind
        if not (0 <= row < kind.rows and 0 <= column < kind.columns):
            raise ChipConfigError(
                [
                    f"there is no pixel in row {row}, column {column}: "
                    f"{kind} has rows 0 to {kind.rows - 1} and columns 0 to {kind.columns - 1}"
                ]
            )

    def pixels_on(self) -> tuple[tuple[int, int], ...]:
        """(row, column) of all pixels whose comparator is on, row by row."""
        return tuple(
            (row, column)
            for row in range(self.kind.rows)
            for column in range(self.kind.columns)
            if not self._column(column) & _comparator(row)
        )

    def with_pixel(self, row: int, column: int, on: bool) -> Self:
        """With the comparator of one pixel on or off. Raises `ChipConfigError` for an unknown pixel."""
        self._check_pixel(row, column)
        bit = _comparator(row)
        return self._with_columns([(column, bit, 0 if on else bit)])

    def with_all_pixels(self, on: bool) -> Self:
        """With the comparators of all pixels on or off; those of rows that the chip does not have are off."""
        kind = self.kind
        pixels = sum(_comparator(row) for row in range(kind.rows))
        absent = _COMPARATOR_BITS & ~pixels
        bits = absent if on else pixels | absent
        return self._with_columns((column, _COMPARATOR_BITS, bits) for column in range(kind.columns))

    def with_injection(self, row: int, column: int) -> Self:
        """With this pixel, and no other, connected to the injection, and its comparator on.

        Raises `ChipConfigError` for an unknown pixel.
        """
        self._check_pixel(row, column)
        changes = [(row, 0, _INJECT_ROW), (column, _comparator(row), _INJECT_COLUMN)]
        return self.without_injection()._with_columns(changes)

    def without_injection(self) -> Self:
        """With no pixel connected to the injection."""
        return self._with_columns((column, _INJECT_ROW | _INJECT_COLUMN, 0) for column in range(self.kind.columns))

    def injected_pixels(self) -> tuple[tuple[int, int], ...]:
        """(row, column) of all pixels connected to the injection: where a row and a column switch cross."""
        rows = [row for row in range(self.kind.rows) if self._column(row) & _INJECT_ROW]
        columns = [column for column in range(self.kind.columns) if self._column(column) & _INJECT_COLUMN]
        return tuple((row, column) for row in rows for column in columns)

    def with_injection_mv(self, amplitude_mv: float) -> Self:
        """With that amplitude of the chip's own injection, 0…1800 mV. Raises `ChipConfigError` outside of it."""
        return self.with_value("vdacs", "vinj", dac_code(amplitude_mv))

    @property
    def injection_mv(self) -> float:
        """Amplitude of the chip's own injection in mV."""
        return dac_mv(self.value("vdacs", "vinj"))

    def with_threshold_mv(self, threshold_mv: float) -> Self:
        """With the chip's own threshold DAC (`thpix`) that far above its own baseline (`blpix`), rounded down.

        `thpix = blpix + threshold_mv · 1024 / 1800`. Raises `ChipConfigError` outside 0…1500 mV, or where the code is
        above 1023.
        """
        check_threshold(threshold_mv)
        baseline, codes = self.value("vdacs", "blpix"), 1 << DAC_BITS
        code = baseline + int(threshold_mv * codes / SUPPLY_MV)
        if code >= codes:
            raise ChipConfigError(
                [
                    f"a threshold of {threshold_mv:g} mV above blpix = {baseline} makes thpix {code}: "
                    f"0 to {codes - 1}, so at most {int(dac_mv(codes - 1 - baseline))} mV"
                ]
            )
        return self.with_value("vdacs", "thpix", code)

    def with_analog_output(self, column: int | None) -> Self:
        """With the analogue output of one column, or of none (None). Raises `ChipConfigError` for an unknown column."""
        if column is not None:
            self._check_pixel(0, column)
        return self._with_columns(
            (other, _ANALOG_OUTPUT, _ANALOG_OUTPUT if other == column else 0) for other in range(self.kind.columns)
        )

    def analog_columns(self) -> tuple[int, ...]:
        """Columns whose analogue output is on."""
        return tuple(column for column in range(self.kind.columns) if self._column(column) & _ANALOG_OUTPUT)

    def tdac_row(self, row: int) -> ChipValue:
        """The TDACs of one row. Raises `ChipConfigError` for an unknown row."""
        if not self.tdac_rows:
            raise ChipConfigError([f"{self.kind} has no TDACs"])
        if not 0 <= row < len(self.tdac_rows):
            raise ChipConfigError([f"there is no TDAC row {row}: {self.kind} has 0 to {len(self.tdac_rows) - 1}"])
        return self.tdac_rows[row]

    def describe(self) -> dict[str, Any]:
        """All of it, as the collaboration's files have it, ready for JSON; TDACs as binary numbers in text.

        (80 bits are more than many readers of JSON and msgpack can take as a number.)
        """
        config: dict[str, dict[str, list[int]]] = {group: {} for group in self.kind.groups}
        for value in self.values:
            config[value.group][value.name] = [value.bits, value.value]
        rows = {row.name: [row.bits, f"0b{row.value:0{row.bits}b}"] for row in self.tdac_rows}
        return {"config": config, "tdac_config": rows} if rows else {"config": config}


def _in_their_order(mine: Sequence[ChipValue], usual: Sequence[ChipValue]) -> bool:
    """Whether the usual values among `mine` have their widths and order, and none is missing without another for it."""
    groups = list(dict.fromkeys(value.group for value in usual))
    known = {(value.group, value.name): (place, value.bits) for place, value in enumerate(usual)}
    found = [(known[value.group, value.name], value.bits) for value in mine if (value.group, value.name) in known]
    places = [place for (place, _), _ in found]
    if any(value.group not in groups for value in mine) or any(bits != wanted for (_, wanted), bits in found):
        return False
    in_groups = [groups.index(value.group) for value in mine]
    return len(mine) >= len(usual) and places == sorted(set(places)) and in_groups == sorted(in_groups)


def check_threshold(threshold_mv: float) -> None:
    """Raises `ChipConfigError` for a threshold outside 0…1500 mV."""
    if not 0 <= threshold_mv <= MAX_THRESHOLD_MV:
        raise ChipConfigError([f"a threshold of {threshold_mv:g} mV is not within 0 to {MAX_THRESHOLD_MV} mV"])


def _comparator(row: int) -> int:
    return 1 << row + 1


_COMPARATOR_BITS = sum(_comparator(row) for row in range(COMPARATORS))
