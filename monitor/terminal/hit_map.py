"""The hit map of one chip, drawn in half blocks: each character cell shows two square dots."""

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt
from rich.segment import Segment
from rich.style import Style
from rich.text import Text
from textual.geometry import Size
from textual.strip import Strip

from monitor.terminal import colour_map
from monitor.terminal.composed_lines import ComposedLines
from monitor.terminal.figures import grouped

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
        most, top = int(self._counts.max(initial=0)), colour_map.top(self._counts, logarithmic=self._logarithmic)
        if not most:
            return ["no hits"]
        steps = (1, colour_map.LEVELS // 4, colour_map.LEVELS // 2, 3 * colour_map.LEVELS // 4, colour_map.LEVELS)
        log = " log" if self._logarithmic else ""
        legends = []
        for cells, to in (("██", "to "), ("█", "")):
            shades = "".join(_shade(level, cells) for level in steps)
            beyond = f" {_shade(colour_map.LEVELS + 1, cells)} {to}{grouped(most)}" if most > top else ""
            legends += [f"1 {shades} {grouped(top)}{beyond}{log}", f"1-{grouped(top)}{beyond}{log}"]
        return legends

    def _compose_lines(self) -> list[Strip]:
        scale, plain = self.scale(self.size), self.rich_style
        label = plain + _LABEL
        levels = colour_map.levels(self._counts, logarithmic=self._logarithmic)
        nothing = plain.bgcolor
        dots = self._rows * scale
        strips = []
        for line in range((dots + 1) // 2):
            upper, lower = 2 * line // scale, (2 * line + 1) // scale
            begun = [row for row in (upper, lower) if row < self._rows and row * scale in (2 * line, 2 * line + 1)]
            segments = [Segment(f"{begun[0]:>{_MARGIN - 1}} " if begun else " " * _MARGIN, label)]
            for column in range(self._columns):
                if lower < self._rows:
                    style = colour_map.style(int(levels[upper, column]), int(levels[lower, column]))
                else:
                    style = Style(color=colour_map.colour(int(levels[upper, column])), bgcolor=nothing)
                segments.append(Segment("▀" * scale, style))
            strips.append(self._fitted(segments, plain))
        strips.append(self._fitted([Segment(self._axis(scale), label)], plain))
        return strips

    def _axis(self, scale: int) -> str:
        step = next(step for step in (1, 2, 4, 8) if step * scale > len(str(self._columns - 1)))
        marks = (f"{column:<{step * scale}}" for column in range(0, self._columns, step))
        return " " * _MARGIN + "".join(marks)


def _shade(level: int, cells: str) -> str:
    return f"[{colour_map.colour(level).get_truecolor().hex}]{cells}[/]"
