"""Colours for counts: dark blue over green to yellow, told apart by people who see few colours, and in grey."""

from functools import cache

import numpy as np
import numpy.typing as npt
from rich.color import Color
from rich.style import Style

LEVELS = 64
"""Colours told apart; 0 is for nothing at all, and is no part of the scale."""

_NOTHING = (30, 32, 38)

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
    """Colour of a level: 0 for nothing, 1…LEVELS from few to many."""
    if level <= 0:
        return Color.from_rgb(*_NOTHING)
    position = (min(level, LEVELS) - 1) / (LEVELS - 1) * (len(_ANCHORS) - 1)
    red, green, blue = (np.interp(position, range(len(_ANCHORS)), _ANCHORS[:, channel]) for channel in range(3))
    return Color.from_rgb(red, green, blue)


@cache
def style(upper: int, lower: int) -> Style:
    """Style of a `▀` whose upper half has level `upper`, and its lower half `lower`."""
    return Style(color=colour(upper), bgcolor=colour(lower))


def levels(counts: npt.NDArray[np.int64], *, logarithmic: bool) -> npt.NDArray[np.intp]:
    """Level of each count (any shape): 0 for none, LEVELS for the largest."""
    largest = int(counts.max(initial=0))
    if largest <= 0:
        return np.zeros(counts.shape, np.intp)
    share = np.log1p(counts) / np.log1p(largest) if logarithmic else counts / largest
    scaled: npt.NDArray[np.intp] = np.where(counts > 0, 1 + np.rint(share * (LEVELS - 1)), 0).astype(np.intp)
    return scaled
