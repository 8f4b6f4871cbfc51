"""What a plot is made of: a figure, described once, and named sources of columns that every update fills anew."""

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import lru_cache
from typing import Any, Final, Literal

import numpy as np
import numpy.typing as npt
from bokeh import plotting
from bokeh.core.types import ID
from bokeh.embed import json_item
from bokeh.models import (
    BasicTickFormatter,
    ColorMapper,
    ColumnDataSource,
    DataRange1d,
    HoverTool,
    Image,
    LinearColorMapper,
    LogColorMapper,
    Model,
)
from bokeh.palettes import Cividis256, Viridis256
from bokeh.themes import Theme

from monitor.errors import MisuseError
from monitor.state.detector_state import DetectorState
from monitor.web.view import View, Views

_FONT = "system-ui, sans-serif"
_SIZE = "1em"
"""As large as --bokeh-font-size in page.css: larger on a wall."""


@dataclass(frozen=True, slots=True)
class Colours:
    """`paper`: behind figures; `ink`: text; `grid`: lines; `nothing`: pixels without hits; `line`, `second`: data;
    `mark`: what is selected; `over`: counts beyond the scale of a map.
    """

    paper: str
    ink: str
    grid: str
    nothing: str
    line: str
    second: str
    mark: str
    over: str


# Blue, orange and vermilion of Okabe and Ito, told apart by people who see few colours.
_LIGHT = Colours("#ffffff", "#1c2733", "#dfe4ea", "#e9edf2", "#0072b2", "#e69f00", "#d55e00", "#e3007b")
_DARK = Colours("#161d26", "#d5dce4", "#2b3542", "#242d39", "#56b4e9", "#e69f00", "#ff8c42", "#ff5fb0")


def colours(theme: str) -> Colours:
    """Those of "light" or "dark"."""
    return _DARK if theme == "dark" else _LIGHT


def bokeh_theme(theme: str) -> Theme:
    """The same for Bokeh."""
    chosen = colours(theme)
    label = {"major_label_text_color": chosen.ink, "major_label_text_font": _FONT, "major_label_text_font_size": _SIZE}
    return Theme(
        json={
            "attrs": {
                "Plot": {
                    "background_fill_color": chosen.paper,
                    "border_fill_color": chosen.paper,
                    "outline_line_color": chosen.grid,
                },
                "Grid": {"grid_line_color": chosen.grid},
                "Axis": {
                    **label,
                    "axis_label_text_color": chosen.ink,
                    "axis_label_text_font": _FONT,
                    "axis_label_text_font_size": _SIZE,
                    "axis_label_text_font_style": "normal",
                    "axis_line_color": chosen.grid,
                    "major_tick_line_color": chosen.grid,
                    "minor_tick_line_color": None,
                },
                "BaseColorBar": {**label, "background_fill_color": chosen.paper, "bar_line_color": None},
                "Legend": {
                    "label_text_color": chosen.ink,
                    "label_text_font": _FONT,
                    "label_text_font_size": _SIZE,
                    "background_fill_color": chosen.paper,
                    "background_fill_alpha": 0.7,
                    "border_line_color": None,
                },
            }
        }
    )


Columns = Mapping[str, npt.NDArray[Any] | list[str]]
"""Columns of one source: arrays (n,), texts (n), or n images (n, rows, columns)."""

PALETTES: Final[dict[str, tuple[str, ...]]] = {"viridis": Viridis256, "cividis": Cividis256}
"""Told apart by people who see few colours, and in grey."""


@dataclass(frozen=True, slots=True)
class Style:
    """How a browser wants its figures: `scale` of counts, `unit` of counts, `theme` and `palette`."""

    scale: Literal["linear", "log"] = "linear"
    unit: Literal["counts", "rate"] = "counts"
    theme: Literal["light", "dark"] = "light"
    palette: Literal["viridis", "cividis"] = "viridis"


@dataclass(frozen=True, slots=True)
class Source:
    """Columns that an update brings to a figure; see `PlotContext.source`."""

    name: str
    columns: Callable[[View], Columns]
    of: Literal["window", "span", ""]
    counts: tuple[str, ...]
    selected: bool


@dataclass
class PlotContext:
    """What a plot is drawn on. Once for each style that a browser asks for; what it shows comes with the updates."""

    style: Style = Style()
    sources: dict[str, Source] = field(default_factory=dict)

    def source(
        self,
        name: str,
        columns: Callable[[View], Columns],
        *,
        of: Literal["window", "span", ""] = "window",
        counts: tuple[str, ...] = (),
        selected: bool = False,
    ) -> ColumnDataSource:
        """A source of columns, whose `name` no other plot uses.

        `columns`: called up to five times a second, whatever it gives is copied. `of`: whether it looks at the window
        or the span of the view. `counts`: columns that the browser divides by the length of the window where it shows
        rates, and subtracts from where somebody has begun anew. `selected`: looks at the selected chip or pixel.
        """
        if name in self.sources:
            raise ValueError(f"two plots have a source {name!r}: give one of them another name")
        self.sources[name] = Source(name, columns, of, counts, selected)
        # Bokeh wants to know the names of the columns; and a mistake shows at the start, not when hits come.
        return ColumnDataSource({column: [] for column in columns(Views(DetectorState()).view())}, name=name)

    @property
    def colours(self) -> Colours:
        """Colours of the theme."""
        return colours(self.style.theme)

    @property
    def counted(self) -> str:
        """What an axis of counts is called: hits, or hits per second."""
        return "hits" if self.style.unit == "counts" else "hits / s"

    def figure(self, x: str, y: str, *, hover: list[tuple[str, str]] | None = None, **options: Any) -> plotting.figure:
        """A figure with axes called `x` and `y`, tools to zoom and reset, and values under the pointer (`hover`)."""
        tools = "pan,wheel_zoom,box_zoom,reset,save"
        options = {"sizing_mode": "stretch_both", "min_width": 160, "min_height": 120, **options}
        plot = plotting.figure(tools=tools, active_drag="box_zoom", active_scroll=None, **options)
        plot.xaxis.axis_label, plot.yaxis.axis_label = x, y
        plot.toolbar.autohide = True
        plot.toolbar.logo = None
        if hover:
            plot.add_tools(HoverTool(tooltips=hover))
        return plot

    def counts_figure(self, x: str, *, hover: list[tuple[str, str]], **options: Any) -> plotting.figure:
        """A figure whose y axis has hits, or hits per second, linear or logarithmic as the browser wants it."""
        log = self.style.scale == "log"
        y_range = DataRange1d(only_visible=True) if log else DataRange1d(start=0)
        axis = "log" if log else "linear"
        plot = self.figure(x, self.counted, hover=hover, y_axis_type=axis, y_range=y_range, **options)
        if not log:
            plot.yaxis.formatter = BasicTickFormatter(power_limit_high=7)  # 150000 is read sooner than 1.500e+5
        return plot

    def histogram(self, plot: plotting.figure, source: ColumnDataSource, left: str, right: str, top: str) -> None:
        """Bars, with a line around that alone says how far the axis goes: a logarithm of nothing has no place."""
        line = plot.step(left, top, source=source, mode="after", color=self.colours.line, line_width=1.5)
        bars = plot.quad(
            left=left,
            right=right,
            top=top,
            bottom=0 if self.style.scale == "linear" else _ALMOST_NOTHING,
            source=source,
            fill_color=self.colours.line,
            fill_alpha=0.35,
            line_color=None,
        )
        plot.y_range.update(renderers=[line])
        plot.hover.renderers = [bars]

    def images(self, plot: plotting.figure, source: ColumnDataSource, counts: str, mapper: ColorMapper) -> None:
        """Images of the column `counts`, from `x`, `y` on as wide and high as `w`, `h` say."""
        glyph = Image(image=counts, x="x", y="y", dw="w", dh="h", color_mapper=mapper)
        plot.hover.renderers = [plot.add_glyph(source, glyph)]

    def mapper(self, source: ColumnDataSource) -> ColorMapper:
        """Colours for the counts of `source`. The browser sets their range, and tells it above the figure."""
        nothing = self.colours.nothing
        of_scale = {"log": LogColorMapper, "linear": LinearColorMapper}[self.style.scale]
        return of_scale(
            name=f"{source.name}:colours",
            palette=PALETTES[self.style.palette],
            low=1,
            high=10,
            low_color=nothing,
            nan_color=nothing,
            high_color=self.colours.over,
        )


_ALMOST_NOTHING = 1e-9

Size = Literal["small", "wide", "large"]


@dataclass(frozen=True, slots=True)
class Plot:
    """A plot of the page: `name` in the page and in addresses, `title` above it, `draw` what it is.

    `size`: how much room it takes. `about`: what the title is followed by, the selected "chip" or "pixel".
    """

    name: str
    title: str
    draw: Callable[[PlotContext], Model]
    size: Size = "small"
    about: Literal["chip", "pixel", ""] = ""


def floats(values: npt.ArrayLike) -> npt.NDArray[np.float32]:
    """Numbers as they are sent: seven digits are enough for a screen."""
    return np.asarray(values, np.float32)


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
        self.sources = self._describe(Style())[1]

    def _describe(self, style: Style) -> tuple[list[Any], tuple[Source, ...]]:
        context, items = PlotContext(style), []
        theme = bokeh_theme(style.theme)
        for plot in self.plots:
            try:
                items.append(json_item(plot.draw(context), ID(plot.name), theme))
            except Exception as error:  # whatever a plot of the user's does
                raise PlotError(f"plot {plot.name!r} cannot be drawn: {type(error).__name__}: {error}") from error
        return items, tuple(context.sources.values())

    def _as_json(self, style: Style) -> bytes:
        """What BokehJS embeds: a list of items, in the order of the plots."""
        return json.dumps(self._describe(style)[0], separators=(",", ":")).encode()
