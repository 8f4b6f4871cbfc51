"""What a stream of hits is of: which chips, with how many pixels, in layers or not. Told by the columns of the hits."""

from collections.abc import Mapping
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import numpy as np
import numpy.typing as npt

from monitor.continuity import HitArray
from protocol.chips.astropix_chips import ASTROPIX4
from protocol.chips.chip_type import ChipType, chip_type_of_columns
from protocol.hit import AbstractAstroPixHit
from protocol.layer_scan import MAX_LAYER_ID
from protocol.ledger import CHIP_SLOTS

CHIPS = CHIP_SLOTS
"""As many as the 5 bits of `chip_id` can name."""

_MAX_PIXELS = 64


@dataclass(frozen=True, slots=True)
class HitKind:
    """What the columns of hits say: which `chip` sends them, and whether each names its layer (`layered`)."""

    chip: ChipType = ASTROPIX4
    layered: bool = False

    @staticmethod
    def of(hits: HitArray) -> "HitKind":
        """The kind of `hits`."""
        return _kind_of(hits.dtype.names or ())

    @property
    def names_pixels(self) -> bool:
        """Whether a hit names a row and a column (`row`, `column`), or one of the two (`is_column`, `location`)."""
        return self.chip.hits_name_pixels

    @property
    def hit_class(self) -> type[AbstractAstroPixHit]:
        """The class of hits."""
        return self.chip.hit_class(layered=self.layered)

    @property
    def layers(self) -> int:
        """How many numbers of layers there are; 1 where hits name none."""
        return MAX_LAYER_ID + 1 if self.layered else 1


@lru_cache(64)
def _kind_of(names: tuple[str, ...]) -> HitKind:
    return HitKind(chip_type_of_columns(names), "layer" in names)


@dataclass(frozen=True, slots=True, order=True)
class ChipPlace:
    """Where a chip is: in its chain, and in which layer, None where hits name none."""

    layer: int | None
    chip: int

    def __str__(self) -> str:
        return f"chip {self.chip}" if self.layer is None else f"layer {self.layer} chip {self.chip}"


@dataclass(frozen=True, slots=True)
class Geometry:
    """How many chips (in each layer), rows and columns there are; None: those of the chips whose hits come.

    `chip_id` has 5 bits, so 32 chips cover every hit; rows and columns have 5 or 6 bits, and can exceed the pixels that
    exist.
    """

    chips: int = CHIPS
    rows: int | None = None
    columns: int | None = None

    def __post_init__(self) -> None:
        for name, most in (("chips", CHIPS), ("rows", _MAX_PIXELS), ("columns", _MAX_PIXELS)):
            value = getattr(self, name)
            if value is not None and not 1 <= value <= most:
                raise ValueError(f"{name} is {value}: give 1 to {most}, the numbers that a hit can name")

    def pixels(self, kind: HitKind) -> tuple[int, int]:
        """Rows and columns of a chip whose hits are of `kind`."""
        return self.rows or kind.chip.rows, self.columns or kind.chip.columns

    def outside(self, hits: HitArray) -> npt.NDArray[np.bool_]:
        """For each hit (n,): does it name a layer, chip, row or column that does not exist? Shape (n,), bool."""
        kind = HitKind.of(hits)
        rows, columns = self.pixels(kind)
        outside: npt.NDArray[np.bool_] = hits["chip_id"] >= self.chips
        if kind.names_pixels:
            outside |= (hits["row"] >= rows) | (hits["column"] >= columns)
        else:
            outside |= hits["location"] >= np.where(hits["is_column"] != 0, columns, rows)
        if kind.layered:
            outside |= hits["layer"] >= kind.layers
        return outside

    def slots(self, hits: HitArray) -> npt.NDArray[np.intp]:
        """For each hit (n,) that is not outside, the number of its chip: layer after layer, each along its chain."""
        slots: npt.NDArray[np.intp] = hits["chip_id"].astype(np.intp)
        return slots + hits["layer"].astype(np.intp) * self.chips if "layer" in (hits.dtype.names or ()) else slots

    def place(self, kind: HitKind, slot: int) -> ChipPlace:
        """The chip of that number."""
        return ChipPlace(slot // self.chips if kind.layered else None, slot % self.chips)

    def slot(self, place: ChipPlace) -> int:
        """Inverse of `place`."""
        return (place.layer or 0) * self.chips + place.chip


NEEDED = {
    "chip_id": "u",
    "payload": "u",
    "readout_id": "u",
    "timestamp": "u",
    "decoding_order": "u",
    "tot_us": "f",
}
"""Columns that all hits have, with the kind of their numbers (as in NumPy)."""


def missing_column(dtype: np.dtype[Any]) -> str:
    """The first column that hits of `dtype` should have and do not, of the right kind; empty if none."""
    fields: Mapping[str, Any] = dtype.fields or {}
    place = ("is_column", "location") if "is_column" in fields else ("row", "column")
    wanted = {**NEEDED, **dict.fromkeys(place, "u"), **({"layer": "u"} if "layer" in fields else {})}
    for name, kind in wanted.items():
        if name not in fields or fields[name][0].kind != kind:
            return f"{name} of the kind {kind}"
    return ""
