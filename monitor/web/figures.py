"""The figures as a browser gets them: described by Bokeh, once for each style, without data."""

import json
from collections.abc import Sequence
from functools import lru_cache
from typing import Any

from bokeh.core.types import ID
from bokeh.embed import json_item

from monitor.errors import MisuseError
from monitor.web.sheet import Plot, Sheet, Source, Style
from monitor.web.theme import bokeh_theme

_STYLES = 16


class PlotError(MisuseError):
    """A plot that cannot be drawn as it is written."""


class Figures:
    """All plots of a page.

    Raises `PlotError` where one of them cannot be drawn: at the start, not when somebody looks.
    """

    def __init__(self, plots: Sequence[Plot]) -> None:
        self.plots = tuple(plots)
        names = [plot.name for plot in self.plots]
        if twice := next((name for name in names if names.count(name) > 1), ""):
            raise PlotError(f"two plots are called {twice!r}")
        self.as_json = lru_cache(_STYLES)(self._as_json)
        self.sources = self._sheet(Style())[1]

    def _sheet(self, style: Style) -> tuple[list[Any], tuple[Source, ...]]:
        sheet, items = Sheet(style), []
        theme = bokeh_theme(style.theme)
        for plot in self.plots:
            try:
                items.append(json_item(plot.draw(sheet), ID(plot.name), theme))
            except Exception as error:  # whatever a plot of the user's does
                raise PlotError(f"plot {plot.name!r} cannot be drawn: {type(error).__name__}: {error}") from error
        return items, tuple(sheet.sources.values())

    def _as_json(self, style: Style) -> bytes:
        """What BokehJS embeds: a list of items, in the order of the plots."""
        return json.dumps(self._sheet(style)[0], separators=(",", ":")).encode()
