"""What a good run looked like: its maps and spectra, kept in a file."""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Literal, Self

import numpy as np
import numpy.typing as npt
from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

from astropix_runtime.storage.durable import replace_text
from monitor.detector import ChipPlace
from monitor.sanity.check import CheckInput, HitCounts
from monitor.sanity.checks.pixels_seen import slots_of
from protocol.text import validation_summary

Counts = npt.NDArray[np.int64]


SPECTRUM_GROUPS = 20
"""As fine as a few hundred hits can tell."""


class _Model(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class ReferenceChip(_Model):
    """One chip: hits per pixel, rows of columns, and ToT spectrum from 0 µs, zeros at its end left out."""

    layer: int | None
    chip: int = Field(ge=0)
    hit_map: list[list[int]]
    tot: list[int]


class Reference(_Model):
    """Maps and spectra of a run, as they stand in the file (docs/sanity.md, "References").

    `apart`: hits of rows and of columns, and not of pixels; `layered`: as in `HitKind`. `source`: what it was made of,
    for people.
    """

    format: Literal["apx-sanity reference"] = "apx-sanity reference"
    version: Literal[1] = 1
    source: str
    apart: bool
    layered: bool
    live_s: float = Field(ge=0)
    hits: int = Field(ge=0)
    tot_bin_us: float = Field(gt=0)
    tot_bins: int = Field(ge=1, le=100_000)
    chips: tuple[ReferenceChip, ...]

    @model_validator(mode="after")
    def _shapes(self) -> Self:
        shapes = {tuple(len(row) for row in chip.hit_map) for chip in self.chips}
        if len(shapes) > 1 or any(len(set(shape)) > 1 for shape in shapes):
            raise ValueError("the maps of the chips differ in rows or columns")
        if any(len(chip.tot) > self.tot_bins for chip in self.chips):
            raise ValueError(f"a spectrum has more than {self.tot_bins} bins")
        if any(number < 0 for chip in self.chips for row in (*chip.hit_map, chip.tot) for number in row):
            raise ValueError("a count is negative")
        return self

    @classmethod
    def of(cls, counts: HitCounts, live_s: float, source: str) -> Self:
        """Of all chips that had hits."""
        slots = counts.chip_hits.nonzero()[0].tolist()
        places = [(counts.place(slot), slot) for slot in slots]
        return cls(
            source=source,
            apart=not counts.kind.names_pixels,
            layered=counts.kind.layered,
            live_s=live_s,
            hits=counts.hits,
            tot_bin_us=counts.binning.width_us,
            tot_bins=counts.tot.shape[1],
            chips=tuple(
                ReferenceChip(
                    layer=place.layer,
                    chip=place.chip,
                    hit_map=counts.hit_map[slot].tolist(),
                    tot=np.trim_zeros(counts.tot[slot], "b").tolist(),
                )
                for place, slot in places
            ),
        )

    @classmethod
    def joined(cls, references: Sequence[Self]) -> Self:
        """Of all together; `ValueError` where they are of different kinds of chips, or there are none."""
        if not references:
            raise ValueError("there is no run in these files")
        first = references[0]
        alike = ("apart", "layered", "tot_bin_us", "tot_bins")
        chips: dict[ChipPlace, ReferenceChip] = {}
        for each in references:
            if any(getattr(each, name) != getattr(first, name) for name in alike):
                raise ValueError("the files are of different kinds of chips or boards: make a reference of each kind")
            for chip in each.chips:
                place = ChipPlace(chip.layer, chip.chip)
                chips[place] = chip if place not in chips else _sum(chips[place], chip)
        return first.model_copy(
            update={
                "source": "; ".join(each.source for each in references),
                "live_s": sum(each.live_s for each in references),
                "hits": sum(each.hits for each in references),
                "chips": tuple(chips.values()),
            }
        )

    def to_json(self) -> str:
        """As it stands in the file."""
        return self.model_dump_json() + "\n"

    def save(self, path: Path) -> None:
        """Write the file; one that is there is replaced as a whole. `OSError` as `open`."""
        replace_text(path, self.to_json())

    @classmethod
    def load(cls, path: Path) -> Self:
        """Read a file. `OSError` as `open`; `ValueError` of one line for what is no reference."""
        try:
            return cls.model_validate_json(path.read_bytes())
        except ValidationError as error:
            raise ValueError(f"{path} is not a reference: {validation_summary(error)}") from None


def _sum(one: ReferenceChip, other: ReferenceChip) -> ReferenceChip:
    tot = np.zeros(max(len(one.tot), len(other.tot)), np.int64)
    for each in (one, other):
        tot[: len(each.tot)] += each.tot
    hit_map = np.array(one.hit_map) + np.array(other.hit_map)
    return one.model_copy(update={"hit_map": hit_map.tolist(), "tot": tot.tolist()})


@dataclass(frozen=True)
class ReferenceCounts:
    """A reference in arrays, chip after chip: `hit_map` (chips, rows, columns), `tot` (chips, bins)."""

    reference: Reference

    @cached_property
    def places(self) -> dict[ChipPlace, int]:
        """Index of each chip."""
        return {ChipPlace(chip.layer, chip.chip): index for index, chip in enumerate(self.reference.chips)}

    @cached_property
    def hit_map(self) -> Counts:
        """Hits per pixel."""
        return np.array([chip.hit_map for chip in self.reference.chips], np.int64)

    @cached_property
    def tot(self) -> Counts:
        """Spectra; the last bin is for what is too long."""
        spectra = np.zeros((len(self.reference.chips), self.reference.tot_bins), np.int64)
        for row, chip in zip(spectra, self.reference.chips, strict=True):
            row[: len(chip.tot)] = chip.tot
        return spectra

    @cached_property
    def groups(self) -> npt.NDArray[np.intp]:
        """Of each bin of each chip's spectrum (chips, bins), the group of it: groups of about as many hits each."""
        below = np.cumsum(self.tot, axis=1) - self.tot
        totals = np.maximum(self.tot.sum(axis=1, keepdims=True), 1)
        groups: npt.NDArray[np.intp] = np.minimum(below * SPECTRUM_GROUPS // totals, SPECTRUM_GROUPS - 1)
        return groups

    def pairs(self, seen: CheckInput) -> list[tuple[str, int, int]]:
        """Name, slot in what was seen, and index here, of the chips that are in both; none of another kind of chip."""
        mine, counts = self.reference, seen.counts
        shape = self.hit_map.shape[1:] if len(mine.chips) else counts.hit_map.shape[1:]
        kind = (not counts.kind.names_pixels, counts.kind.layered)
        alike = (mine.apart, mine.layered) == kind and counts.hit_map.shape[1:] == shape
        if not alike or (counts.binning.width_us, counts.tot.shape[1]) != (mine.tot_bin_us, mine.tot_bins):
            return []
        found = [(counts.place(slot), slot) for slot in slots_of(seen).tolist()]
        return [(str(place), slot, self.places[place]) for place, slot in found if place in self.places]


def merged(spectra: Counts, groups: npt.NDArray[np.intp]) -> Counts:
    """Spectra (chips, bins) in `groups` of bins: (chips, `SPECTRUM_GROUPS`)."""
    chips = np.arange(len(spectra))[:, None] * SPECTRUM_GROUPS
    sums = np.bincount((chips + groups).ravel(), spectra.ravel(), len(spectra) * SPECTRUM_GROUPS)
    return sums.reshape(len(spectra), SPECTRUM_GROUPS).astype(np.int64)
