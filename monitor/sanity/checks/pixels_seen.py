"""Which pixels there are to look at: those of the chips that should be there, and that are switched on."""

from typing import Any

import numpy as np
import numpy.typing as npt

from monitor.detector import ChipPlace
from monitor.sanity.check import CheckInput, HitCounts
from monitor.sanity.checks.statistics import Floats
from protocol.run_record import RunRecord

Counts = npt.NDArray[np.int64]
Mask = npt.NDArray[np.bool_]

_MAX_FROM_OFF = 0.1
"""A chip with more of its hits from pixels that are recorded as off was not set as the record says."""

MAX_NAMED = 8
"""Pixels of one chip: where more are at fault, it is the chip's matter."""

FIRST_LAYER = 1
"""Layers are numbered from 1; the list of chips in a configuration goes through all of them."""


def slots_of(seen: CheckInput) -> npt.NDArray[np.intp]:
    """Numbers of the chips there should be, ascending: first index of all counts."""
    geometry = seen.counts.geometry
    return np.array(sorted(geometry.slot(place) for place in seen.chips), np.intp)


def pixels_on(seen: CheckInput, slots: npt.NDArray[np.intp]) -> tuple[Mask, Mask]:
    """(chips, rows, columns): which pixels are on; (chips,): whether that is known, else all of them are taken for on.

    From the chip configuration in the run's record, where it fits the hits. Pixels that are injected count as off:
    what they do is no noise.
    """
    counts = seen.counts
    on = np.ones((len(slots), *counts.hit_map.shape[1:]), np.bool_)
    known = np.zeros(len(slots), np.bool_)
    if seen.record is None:
        return on, known
    for index, slot in enumerate(slots.tolist()):
        mask = _recorded_mask(seen.record, counts.place(slot), on.shape[1:])
        if mask is None:
            continue
        hits = counts.hit_map[slot]
        if mask.any() and hits[~mask].sum() <= _MAX_FROM_OFF * hits.sum():
            on[index], known[index] = mask, True
        _leave_out_injected(seen.record, counts, slot, on[index])
    return on, known


def _chip_number(record: RunRecord, place: ChipPlace) -> int:
    return place.chip if place.layer is None else (place.layer - FIRST_LAYER) * (record.chips or 1) + place.chip


def _recorded_mask(record: RunRecord, place: ChipPlace, shape: tuple[int, ...]) -> Mask | None:
    """What the record says of a chip; None where it says nothing that can be read."""
    try:
        chips: list[Any] = (record.chip_configuration or {})["chips"]
        number = _chip_number(record, place)
        if not 0 <= number < len(chips):
            return None
        columns = chips[number]["config"]["recconfig"]
        words = np.array([int(columns[f"col{column}"][1]) for column in range(shape[1])], np.uint64)
    except (KeyError, IndexError, TypeError, ValueError, OverflowError):
        return None
    # Bit row + 1 of a column's word switches the comparator off (docs/formats.md, "Chip configuration").
    rows = np.arange(1, shape[0] + 1, dtype=np.uint64)
    on: Mask = (words[None, :] >> rows[:, None]) & np.uint64(1) == 0
    return on


def _leave_out_injected(record: RunRecord, counts: HitCounts, slot: int, on: Mask) -> None:
    injection = (record.chip_configuration or {}).get("injection")
    if not isinstance(injection, dict):
        return
    place = counts.place(slot)
    if "layer" in injection:
        here = injection["layer"], injection.get("chip")
        if here != (place.layer or FIRST_LAYER, place.chip):
            return
    elif injection.get("chip") != _chip_number(record, place):
        return  # records without a layer count chips through all layers
    row, column = injection.get("row"), injection.get("column")
    if isinstance(row, int) and isinstance(column, int) and 0 <= row < on.shape[0] and 0 <= column < on.shape[1]:
        on[row, column] = False


def typical_counts(counts: Counts, on: Mask, factor: float) -> Floats:
    """Mean count of the pixels that are on, chip by chip (chips,), and of all as its last value; shape (chips + 1,).

    What is far above `factor` times the mean is left out, again and again until nothing more is. That is a mean, and
    not a median, because a pixel's median is 0 for long at low rates.
    """
    values = counts.reshape(len(counts), -1).astype(np.float64)
    used = on.reshape(len(counts), -1).copy()
    means = np.zeros(len(counts) + 1)
    for _ in range(20):
        number, total = used.sum(axis=1), np.where(used, values, 0.0).sum(axis=1)
        means[:-1] = total / np.maximum(number, 1)
        means[-1] = total.sum() / max(int(number.sum()), 1)
        expected = factor * np.maximum(means[:-1], means[-1])
        kept = used & (values <= (expected + 4 * np.sqrt(expected) + 4)[:, None])
        if (kept == used).all():
            break
        used = kept
    return means
