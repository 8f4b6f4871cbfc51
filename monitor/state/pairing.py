"""Hits of rows and of columns put together to pixels, as far as they tell (AstroPix 3)."""

import numpy as np
import numpy.typing as npt

from monitor.continuity import HitArray

MOST_TICKS_APART = 1
"""Counts of the chip's time stamp. In recorded data a column's is its row's, or one count less."""

MOST_TOT_APART_US = 0.25
"""Of the time over threshold. In recorded data the row's is 0.06 to 0.15 µs longer."""

WINDOW = 64
"""How many hits of the same chip later a row's column is looked for: the chip sends rows, then columns."""

Indices = npt.NDArray[np.intp]


def pair_rows_with_columns(hits: HitArray, slots: npt.NDArray[np.intp]) -> tuple[Indices, Indices]:
    """Which hits belong together: indices of the rows' hits, and of their columns' (m,) each, no hit twice.

    `slots` (n,): the chip of each hit. Both are of one readout and chip, the row's comes before the column's, their
    time stamps (modulo 256) are at most 1 apart and their times over threshold 0.25 µs; the nearest are taken first.
    """
    order = np.argsort(slots, kind="stable")
    is_column = hits["is_column"][order] != 0
    ticks = hits["chip_timestamp"][order].astype(np.int16)
    tot_us = hits["tot_us"][order]
    group = np.stack([slots[order], hits["readout_id"][order].astype(np.intp)])
    free = np.ones(len(hits), np.bool_)
    rows, columns = [], []
    for lag in range(1, min(WINDOW, len(hits) - 1) + 1):
        fits = free[:-lag] & ~is_column[:-lag] & free[lag:] & is_column[lag:]
        candidates = np.flatnonzero(fits)
        if not len(candidates):
            continue
        later = candidates + lag
        apart = np.abs((ticks[later] - ticks[candidates] + 128) % 256 - 128)
        fits = (apart <= MOST_TICKS_APART) & (np.abs(tot_us[later] - tot_us[candidates]) <= MOST_TOT_APART_US)
        fits &= (group[:, candidates] == group[:, later]).all(axis=0)
        row, column = candidates[fits], later[fits]
        free[row] = free[column] = False
        rows.append(row)
        columns.append(column)
    if not rows:
        return order[:0], order[:0]
    return order[np.concatenate(rows)], order[np.concatenate(columns)]
