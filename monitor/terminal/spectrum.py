"""A histogram as bars of eighth blocks, with axes."""

from typing import ClassVar

import numpy as np
import numpy.typing as npt
from rich.segment import Segment
from rich.style import Style
from textual.strip import Strip

from monitor.terminal.composed_lines import ComposedLines
from monitor.terminal.figures import grouped, nice_ceiling, scaled

EIGHTHS = " ▁▂▃▄▅▆▇█"
_SHOWN_SHARE = 0.999
_LABEL = Style(dim=True)
_TICK_COLUMNS = 10


def shown_bins(counts: npt.NDArray[np.int64], width: float) -> int:
    """Number of bins of `width` to show: a round range that holds all but the last 1 in 1000."""
    total = int(counts.sum())
    if not total:
        return len(counts)
    needed = int(np.searchsorted(np.cumsum(counts), total * _SHOWN_SHARE)) + 1
    return min(len(counts), max(round(nice_ceiling(needed * width) / width), 10))


def rebinned(counts: npt.NDArray[np.int64], columns: int) -> npt.NDArray[np.float64]:
    """Mean content of the bins under each of `columns` columns; the shape of the spectrum whatever its width."""
    edges = np.linspace(0, len(counts), columns + 1)
    cumulative = np.concatenate(([0], np.cumsum(counts)))
    means: npt.NDArray[np.float64] = np.diff(np.interp(edges, np.arange(len(counts) + 1), cumulative))
    return means * columns / len(counts)


def heights(values: npt.NDArray[np.float64], lines: int, *, logarithmic: bool) -> npt.NDArray[np.intp]:
    """Height of each value in eighths of a line; what is more than nothing has at least one eighth."""
    top = values.max(initial=0.0)
    if top <= 0:
        return np.zeros(len(values), np.intp)
    share = np.log1p(values) / np.log1p(top) if logarithmic else values / top
    eighths: npt.NDArray[np.intp] = np.rint(share * lines * 8).astype(np.intp)
    return np.where(values > 0, np.maximum(eighths, 1), 0)


class Spectrum(ComposedLines):
    """A spectrum in equal bins from 0, in `unit`."""

    COMPONENT_CLASSES: ClassVar[set[str]] = {"spectrum--bar"}

    def __init__(self, unit: str, *, name: str) -> None:
        super().__init__(name=name)
        self._bin_width = 1.0
        self._unit = unit
        self._counts: npt.NDArray[np.int64] = np.zeros(1, np.int64)
        self._logarithmic = False

    def show(self, counts: npt.NDArray[np.int64], bin_width: float, title: str, *, logarithmic: bool) -> None:
        """Draw `counts` (n,) in bins of `bin_width`, from now on."""
        self.border_title = title
        same = (bin_width, logarithmic) == (self._bin_width, self._logarithmic)
        if same and np.array_equal(counts, self._counts):
            return
        self._counts, self._bin_width, self._logarithmic = counts, bin_width, logarithmic
        self.border_subtitle = self._remark()
        self.compose_anew()

    def _remark(self) -> str:
        """Median, and how many lie beyond what is shown."""
        cumulative = np.cumsum(self._counts)
        total = int(cumulative[-1])
        if not total:
            return ""
        median = (int(np.searchsorted(cumulative, (total + 1) // 2)) + 0.5) * self._bin_width
        beyond = total - int(cumulative[shown_bins(self._counts, self._bin_width) - 1])
        digits = 0 if self._bin_width >= 1 else 2
        return f"median {median:.{digits}f} {self._unit}" + (f" · {grouped(beyond)} beyond" if beyond else "")

    def _compose_lines(self) -> list[Strip]:
        plain = self.rich_style
        label, bar = plain + _LABEL, plain + Style(color=self.get_component_rich_style("spectrum--bar").color)
        shown = self._counts[: shown_bins(self._counts, self._bin_width)]
        lines = max(self.size.height - 1, 1)
        margin = max(len(scaled(float(shown.max(initial=0)))), 3) + 1
        columns = max(self.size.width - margin, 1)
        values = rebinned(shown, columns)
        tall = heights(values, lines, logarithmic=self._logarithmic)
        top = float(values.max(initial=0))
        marks = {0: scaled(round(top, 1)), lines - 1: "0"} if top else {}
        strips = []
        for line in range(lines):
            fill = np.clip(tall - 8 * (lines - 1 - line), 0, 8)
            text = "".join(EIGHTHS[each] for each in fill)
            head = f"{marks.get(line, ''):>{margin - 1}}┤" if line in marks else " " * (margin - 1) + "│"
            strips.append(self._fitted([Segment(head, label), Segment(text, bar)], plain))
        strips.append(self._fitted([Segment(self._axis(margin, columns, len(shown)), label)], plain))
        return strips

    def _axis(self, margin: int, columns: int, bins: int) -> str:
        """Round numbers where they belong, the unit at the end."""
        end = bins * self._bin_width
        step = nice_ceiling(end / max(columns // _TICK_COLUMNS, 1))
        text = list(" " * (margin + columns))
        at = 0.0
        while at < end:
            mark = f"{at:g}"
            place = margin + round(at / end * columns)
            if place + len(mark) + len(self._unit) + 1 < len(text):
                text[place : place + len(mark)] = mark
            at += step
        text[len(text) - len(self._unit) :] = self._unit
        return "".join(text)
