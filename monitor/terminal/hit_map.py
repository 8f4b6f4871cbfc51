"""The hit map of one chip, drawn in half blocks: each character cell shows two square dots."""

from collections.abc import Sequence
from functools import cache

import numpy as np
import numpy.typing as npt
from rich.color import Color
from rich.segment import Segment
from rich.style import Style
from rich.text import Text
from textual.geometry import Size
from textual.strip import Strip

from monitor.terminal.line_widgets import ComposedLines
from monitor.terminal.numbers import grouped

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
def level_colour(level: int) -> Color:
    """Colour of a level: 0 for nothing, 1…LEVELS from few to many, above for what is beyond the scale."""
    if not 0 < level <= LEVELS:
        return Color.from_rgb(*(_NOTHING if level <= 0 else _BEYOND))
    position = (min(level, LEVELS) - 1) / (LEVELS - 1) * (len(_ANCHORS) - 1)
    red, green, blue = (np.interp(position, range(len(_ANCHORS)), _ANCHORS[:, channel]) for channel in range(3))
    return Color.from_rgb(red, green, blue)


@cache
def half_block_style(upper: int, lower: int) -> Style:
    """Style of a `▀` whose upper half has level `upper`, and its lower half `lower`."""
    return Style(color=level_colour(upper), bgcolor=level_colour(lower))


def colour_levels(counts: npt.NDArray[np.int64], *, logarithmic: bool) -> npt.NDArray[np.intp]:
    """Level of each count (any shape): 0 for none, LEVELS for `top`, LEVELS + 1 for what is above that."""
    largest = scale_top(counts, logarithmic=logarithmic)
    if largest <= 0:
        return np.zeros(counts.shape, np.intp)
    share = np.log1p(counts) / np.log1p(largest) if logarithmic else counts / largest
    scaled: npt.NDArray[np.intp] = np.where(counts > 0, 1 + np.rint(share * (LEVELS - 1)), 0).astype(np.intp)
    return np.where(counts > largest, LEVELS + 1, scaled)


def scale_top(counts: npt.NDArray[np.int64], *, logarithmic: bool) -> int:
    """The count where the scale ends: the largest, but for a few that are so far above all others as to hide them.

    The page does the same (page/colours.js).
    """
    filled = np.sort(counts[counts > 0], axis=None)
    if len(filled) < _FEWEST:
        return int(filled[-1]) if len(filled) else 0
    limit = filled[int(_HIGH_SHARE * (len(filled) - 1))] * (_FAR_LOGARITHMIC if logarithmic else _FAR)
    return int(filled[int(np.searchsorted(filled, limit, side="right")) - 1])


_MARGIN = 3
_LABEL = Style(dim=True)
MAX_SCALE = 8
_BESIDE_TITLE = 4
"""Cells of the inner width that the border keeps for itself."""


class HitMap(ComposedLines):
    """Hits per pixel: rows downwards from 0, columns from 0. As large as whole dots per pixel allow."""

    def __init__(self, rows: int, columns: int, *, name: str) -> None:
        super().__init__(name=name)
        self._rows = rows
        self._columns = columns
        self._counts: npt.NDArray[np.int64] = np.zeros((rows, columns), np.int64)
        self._logarithmic = False
        self.border_title = "hit map"

    def show(self, counts: npt.NDArray[np.int64], titles: Sequence[str], *, logarithmic: bool) -> bool:
        """Draw `counts`, shape (rows, columns), from now on. Says whether that shape is another than before.

        `titles`: the same in ever fewer words; the first that fits is shown.
        """
        reshaped = counts.shape != self._counts.shape
        changed = logarithmic != self._logarithmic or not np.array_equal(counts, self._counts)
        self.border_title = self._fitting(titles)
        self._rows, self._columns = counts.shape
        self._counts, self._logarithmic = counts, logarithmic
        self.border_subtitle = self._fitting(self._legends())
        if changed:
            self.compose_anew()
        return reshaped

    def fitting_width(self, size: Size) -> int:
        """Columns of the map, without its border, at the largest scale that fits into `size`."""
        return _MARGIN + self._columns * self.scale(size)

    def scale(self, size: Size) -> int:
        """Dots per pixel, each a column wide and half a line high, that fit into `size` with a line for the axis."""
        across = (size.width - _MARGIN) // self._columns
        down = 2 * (size.height - 1) // self._rows
        return max(1, min(across, down, MAX_SCALE))

    def _fitting(self, texts: Sequence[str]) -> str:
        """The first that has room in the border, or the last."""
        room = self.size.width - _BESIDE_TITLE
        return next((text for text in texts if Text.from_markup(text).cell_len <= room), texts[-1])

    def _legends(self) -> list[str]:
        """The colours and their counts, in ever fewer words."""
        most, top = int(self._counts.max(initial=0)), scale_top(self._counts, logarithmic=self._logarithmic)
        if not most:
            return ["no hits"]
        steps = (1, LEVELS // 4, LEVELS // 2, 3 * LEVELS // 4, LEVELS)
        log = " log" if self._logarithmic else ""
        legends = []
        for cells, to in (("██", "to "), ("█", "")):
            shades = "".join(_shade(level, cells) for level in steps)
            beyond = f" {_shade(LEVELS + 1, cells)} {to}{grouped(most)}" if most > top else ""
            legends += [f"1 {shades} {grouped(top)}{beyond}{log}", f"1-{grouped(top)}{beyond}{log}"]
        return legends

    def _compose_lines(self) -> list[Strip]:
        scale, plain = self.scale(self.size), self.rich_style
        label = plain + _LABEL
        levels = colour_levels(self._counts, logarithmic=self._logarithmic)
        nothing = plain.bgcolor
        dots = self._rows * scale
        strips = []
        for line in range((dots + 1) // 2):
            upper, lower = 2 * line // scale, (2 * line + 1) // scale
            begun = [row for row in (upper, lower) if row < self._rows and row * scale in (2 * line, 2 * line + 1)]
            segments = [Segment(f"{begun[0]:>{_MARGIN - 1}} " if begun else " " * _MARGIN, label)]
            for column in range(self._columns):
                if lower < self._rows:
                    style = half_block_style(int(levels[upper, column]), int(levels[lower, column]))
                else:
                    style = Style(color=level_colour(int(levels[upper, column])), bgcolor=nothing)
                segments.append(Segment("▀" * scale, style))
            strips.append(self._fitted(segments, plain))
        strips.append(self._fitted([Segment(self._axis(scale), label)], plain))
        return strips

    def _axis(self, scale: int) -> str:
        step = next(step for step in (1, 2, 4, 8) if step * scale > len(str(self._columns - 1)))
        marks = (f"{column:<{step * scale}}" for column in range(0, self._columns, step))
        return " " * _MARGIN + "".join(marks)


def _shade(level: int, cells: str) -> str:
    return f"[{level_colour(level).get_truecolor().hex}]{cells}[/]"
