"""What a stream of hits is of: which chips, with how many pixels, in layers or not. Told by the columns of the hits."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Self

import numpy as np
import numpy.typing as npt

from monitor.continuity import HitArray
from protocol.astropix3_hit import AstroPix3Hit
from protocol.chips.chip_kind import ASTROPIX3, ASTROPIX4
from protocol.hit import AstroPix4Hit
from protocol.layer_scan import MAX_LAYER_ID
from protocol.ledger import CHIP_SLOTS

CHIPS = CHIP_SLOTS
"""As many as the 5 bits of `chip_id` can name."""

_MOST_PIXELS = 64


@dataclass(frozen=True, slots=True)
class HitKind:
    """What the columns of hits say.

    `apart`: hits of rows and of columns, as AstroPix 3 sends them (`is_column`, `location`), and not of pixels (`row`,
    `column`). `layered`: each names its `layer`.
    """

    apart: bool = False
    layered: bool = False

    @classmethod
    def of(cls, hits: HitArray) -> Self:
        """The kind of `hits`."""
        names = hits.dtype.names or ()
        return cls("is_column" in names, "layer" in names)

    @property
    def rows(self) -> int:
        """Rows of a chip."""
        return (ASTROPIX3 if self.apart else ASTROPIX4).rows

    @property
    def columns(self) -> int:
        """Columns of a chip."""
        return (ASTROPIX3 if self.apart else ASTROPIX4).columns

    @property
    def payload(self) -> int:
        """What the first byte of a hit says of its length."""
        return (AstroPix3Hit if self.apart else AstroPix4Hit).PAYLOAD

    @property
    def layers(self) -> int:
        """How many numbers of layers there are; 1 where hits name none."""
        return MAX_LAYER_ID + 1 if self.layered else 1


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
        for name, most in (("chips", CHIPS), ("rows", _MOST_PIXELS), ("columns", _MOST_PIXELS)):
            value = getattr(self, name)
            if value is not None and not 1 <= value <= most:
                raise ValueError(f"{name} is {value}: give 1 to {most}, the numbers that a hit can name")

    def pixels(self, kind: HitKind) -> tuple[int, int]:
        """Rows and columns of a chip whose hits are of `kind`."""
        return self.rows or kind.rows, self.columns or kind.columns

    def outside(self, hits: HitArray) -> npt.NDArray[np.bool_]:
        """For each hit (n,): does it name a layer, chip, row or column that does not exist? Shape (n,), bool."""
        kind = HitKind.of(hits)
        rows, columns = self.pixels(kind)
        outside: npt.NDArray[np.bool_] = hits["chip_id"] >= self.chips
        if kind.apart:
            outside |= hits["location"] >= np.where(hits["is_column"] != 0, columns, rows)
        else:
            outside |= (hits["row"] >= rows) | (hits["column"] >= columns)
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
