"""A rate against time as bars of eighth blocks; what is not known is dotted."""

from datetime import UTC, datetime
from typing import ClassVar

import numpy as np
import numpy.typing as npt
from rich.segment import Segment
from rich.style import Style
from textual.strip import Strip

from monitor.terminal.composed_lines import ComposedLines
from monitor.terminal.figures import scaled
from monitor.terminal.spectrum import EIGHTHS, heights

_LABEL = Style(dim=True)
_UNKNOWN = "·"

Values = npt.NDArray[np.float64]


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


class RateGraph(ComposedLines):
    """A rate in equal bins of time, as far back as it is known."""

    COMPONENT_CLASSES: ClassVar[set[str]] = {"rate-graph--bar"}

    def __init__(self, *, name: str) -> None:
        super().__init__(name=name)
        self._times: Values = np.zeros(0)
        self._rates: Values = np.zeros(0)
        self._bin_s = 1
        self._logarithmic = False

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
        plain = self.rich_style
        label, bar = plain + _LABEL, plain + Style(color=self.get_component_rich_style("rate-graph--bar").color)
        lines = max(self.size.height - 1, 1)
        top = float(np.nanmax(self._rates)) if len(self._rates) else 0.0
        margin = max(len(scaled(top)), 3) + 1
        columns = max(self.size.width - margin, 1)
        values = columns_of(self._rates, columns)
        top = float(np.nanmax(values)) if len(self._rates) else 0.0
        tall = heights(np.nan_to_num(values), lines, logarithmic=self._logarithmic)
        strips = []
        for line in range(lines):
            fill = np.clip(tall - 8 * (lines - 1 - line), 0, 8)
            rest = _UNKNOWN if line == lines - 1 else " "
            text = "".join(rest if np.isnan(value) else EIGHTHS[each] for each, value in zip(fill, values, strict=True))
            mark = "0" if line == lines - 1 else scaled(top) if line == 0 and top else ""
            head = f"{mark:>{margin - 1}}┤" if mark else " " * (margin - 1) + "│"
            strips.append(self._fitted([Segment(head, label), Segment(text, bar)], plain))
        strips.append(self._fitted([Segment(self._axis(margin, columns), label)], plain))
        return strips

    def _axis(self, margin: int, columns: int) -> str:
        """From when to when."""
        if not len(self._times):
            return ""
        edges_s = (self._times[0] - self._bin_s / 2, self._times[-1] + self._bin_s / 2)
        begin, end = (f"{datetime.fromtimestamp(at_s, UTC):%H:%M:%S}" for at_s in edges_s)
        return " " * margin + f"{begin}{end + ' UTC':>{max(columns - len(begin), 0)}}"
