"""Graphs of bars in eighth blocks: a spectrum, and a rate against time."""

from datetime import UTC, datetime
from typing import ClassVar

import numpy as np
import numpy.typing as npt
from rich.segment import Segment
from rich.style import Style
from textual.strip import Strip

from monitor.terminal.line_widgets import ComposedLines
from monitor.terminal.numbers import grouped, nice_ceiling, scaled

_EIGHTHS = " ▁▂▃▄▅▆▇█"
_UNKNOWN = "·"
_SHOWN_SHARE = 0.999
_LABEL = Style(dim=True)
_TICK_COLUMNS = 10

Values = npt.NDArray[np.float64]


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


def since_known(values: Values) -> int:
    """Index of the first value that is known; all there are, where none is."""
    known = (~np.isnan(values)).nonzero()[0]
    return int(known[0]) if len(known) else len(values)


def columns_of(values: Values, columns: int) -> Values:
    """Means of the values under each of `columns` columns, those not known left out; nan where none is known."""
    if not len(values):
        return np.full(columns, np.nan)
    if len(values) <= columns:
        return values[np.arange(columns) * len(values) // columns]
    starts = np.arange(columns) * len(values) // columns
    known = ~np.isnan(values)
    sums = np.add.reduceat(np.where(known, values, 0.0), starts)
    numbers = np.add.reduceat(known.astype(np.int64), starts)
    means = np.full(columns, np.nan)
    np.divide(sums, numbers, out=means, where=numbers > 0)
    return means


class BarGraph(ComposedLines):
    """Bars in equal columns, with the largest value and 0 on the left, and an axis below."""

    COMPONENT_CLASSES: ClassVar[set[str]] = {"bar-graph--bar"}

    def __init__(self, *, name: str) -> None:
        super().__init__(name=name)
        self._logarithmic = False

    def _columns(self, largest: float) -> tuple[int, int]:
        """Cells for the labels of values up to `largest`, and those left for bars."""
        margin = max(len(scaled(largest)), 3) + 1
        return margin, max(self.size.width - margin, 1)

    def _drawn(self, values: Values, margin: int, marks: tuple[str, str], axis: str) -> list[Strip]:
        """All lines: a bar for each of `values` (nan: not known), `marks` at the top and at 0, the `axis` below."""
        plain = self.rich_style
        label, bar = plain + _LABEL, plain + Style(color=self.get_component_rich_style("bar-graph--bar").color)
        lines = max(self.size.height - 1, 1)
        tall = heights(np.nan_to_num(values), lines, logarithmic=self._logarithmic)
        unknown = np.isnan(values)
        strips = []
        for line in range(lines):
            fill = np.clip(tall - 8 * (lines - 1 - line), 0, 8)
            rest = _UNKNOWN if line == lines - 1 else " "
            text = "".join(rest if none else _EIGHTHS[each] for each, none in zip(fill, unknown, strict=True))
            mark = marks[1] if line == lines - 1 else marks[0] if line == 0 else ""
            head = f"{mark:>{margin - 1}}┤" if mark else " " * (margin - 1) + "│"
            strips.append(self._fitted([Segment(head, label), Segment(text, bar)], plain))
        strips.append(self._fitted([Segment(axis, label)], plain))
        return strips


class Spectrum(BarGraph):
    """A spectrum in equal bins from 0, in `unit`."""

    def __init__(self, unit: str, *, name: str) -> None:
        super().__init__(name=name)
        self._bin_width = 1.0
        self._unit = unit
        self._counts: npt.NDArray[np.int64] = np.zeros(1, np.int64)

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
        shown = self._counts[: shown_bins(self._counts, self._bin_width)]
        margin, columns = self._columns(float(shown.max(initial=0)))
        values = rebinned(shown, columns)
        top = float(values.max(initial=0))
        marks = (scaled(round(top, 1)), "0") if top else ("", "")
        return self._drawn(values, margin, marks, self._axis(margin, columns, len(shown)))

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


class RateGraph(BarGraph):
    """A rate in equal bins of time, as far back as it is known."""

    def __init__(self, *, name: str) -> None:
        super().__init__(name=name)
        self._times: Values = np.zeros(0)
        self._rates: Values = np.zeros(0)
        self._bin_s = 1

    def show(self, rate: tuple[Values, Values], bin_s: int, title: str, *, logarithmic: bool) -> None:
        """Draw (t_s (n,), per_second (n,)), in bins of `bin_s` seconds of which `t_s` is the middle, from now on."""
        self.border_title = title
        first = since_known(rate[1])
        times, rates = rate[0][first:], rate[1][first:]
        same = (bin_s, logarithmic) == (self._bin_s, self._logarithmic) and np.array_equal(times, self._times)
        if same and np.array_equal(rates, self._rates, equal_nan=True):
            return
        self._times, self._rates, self._bin_s, self._logarithmic = times, rates, bin_s, logarithmic
        known = rates[~np.isnan(rates)]
        self.border_subtitle = f"mean {scaled(float(known.mean()), 'Hz')}" if len(known) else ""
        self.compose_anew()

    def _compose_lines(self) -> list[Strip]:
        margin, columns = self._columns(float(np.nanmax(self._rates)) if len(self._rates) else 0.0)
        values = columns_of(self._rates, columns)
        top = float(np.nanmax(values)) if len(self._rates) else 0.0
        return self._drawn(values, margin, (scaled(top) if top else "", "0"), self._axis(margin, columns))

    def _axis(self, margin: int, columns: int) -> str:
        """From when to when."""
        if not len(self._times):
            return ""
        edges_s = (self._times[0] - self._bin_s / 2, self._times[-1] + self._bin_s / 2)
        begin, end = (f"{datetime.fromtimestamp(at_s, UTC):%H:%M:%S}" for at_s in edges_s)
        return " " * margin + f"{begin}{end + ' UTC':>{max(columns - len(begin), 0)}}"
