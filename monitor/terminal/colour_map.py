"""Colours for counts: dark blue over green to yellow, told apart by people who see few colours, and in grey."""

from functools import cache

import numpy as np
import numpy.typing as npt
from rich.color import Color
from rich.style import Style

LEVELS = 64
"""Colours told apart; 0 is for nothing at all, LEVELS + 1 for what is beyond the scale: they are no part of it."""

_NOTHING = (30, 32, 38)
_BEYOND = (255, 95, 176)

_HIGH_SHARE = 0.98
_FEWEST = 10
_FAR, _FAR_LOGARITHMIC = 3, 100

# Ten points on viridis (matplotlib's default map, public domain), which rises evenly in brightness.
_ANCHORS = np.array(
    [
        (68, 1, 84),
        (72, 40, 120),
        (62, 74, 137),
        (49, 104, 142),
        (38, 130, 142),
        (31, 158, 137),
        (53, 183, 121),
        (109, 205, 89),
        (180, 222, 44),
        (253, 231, 37),
    ],
    np.float64,
)


@cache
def colour(level: int) -> Color:
    """Colour of a level: 0 for nothing, 1…LEVELS from few to many, above for what is beyond the scale."""
    if not 0 < level <= LEVELS:
        return Color.from_rgb(*(_NOTHING if level <= 0 else _BEYOND))
    position = (min(level, LEVELS) - 1) / (LEVELS - 1) * (len(_ANCHORS) - 1)
    red, green, blue = (np.interp(position, range(len(_ANCHORS)), _ANCHORS[:, channel]) for channel in range(3))
    return Color.from_rgb(red, green, blue)


@cache
def style(upper: int, lower: int) -> Style:
    """Style of a `▀` whose upper half has level `upper`, and its lower half `lower`."""
    return Style(color=colour(upper), bgcolor=colour(lower))


def levels(counts: npt.NDArray[np.int64], *, logarithmic: bool) -> npt.NDArray[np.intp]:
    """Level of each count (any shape): 0 for none, LEVELS for `top`, LEVELS + 1 for what is above that."""
    largest = top(counts, logarithmic=logarithmic)
    if largest <= 0:
        return np.zeros(counts.shape, np.intp)
    share = np.log1p(counts) / np.log1p(largest) if logarithmic else counts / largest
    scaled: npt.NDArray[np.intp] = np.where(counts > 0, 1 + np.rint(share * (LEVELS - 1)), 0).astype(np.intp)
    return np.where(counts > largest, LEVELS + 1, scaled)


def top(counts: npt.NDArray[np.int64], *, logarithmic: bool) -> int:
    """The count where the scale ends: the largest, but for a few that are so far above all others as to hide them.

    The page does the same (page/colours.js).
    """
    filled = np.sort(counts[counts > 0], axis=None)
    if len(filled) < _FEWEST:
        return int(filled[-1]) if len(filled) else 0
    limit = filled[int(_HIGH_SHARE * (len(filled) - 1))] * (_FAR_LOGARITHMIC if logarithmic else _FAR)
    return int(filled[int(np.searchsorted(filled, limit, side="right")) - 1])
