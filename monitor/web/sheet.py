"""What a plot is made of: a figure, described once, and named sources of columns that every update fills anew."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, Final, Literal

import numpy as np
import numpy.typing as npt
from bokeh import plotting
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

from monitor.state.detector_state import DetectorState
from monitor.web.theme import Colours, colours
from monitor.web.view import View, Views

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
    """Columns that an update brings to a figure; see `Sheet.source`."""

    name: str
    columns: Callable[[View], Columns]
    of: Literal["window", "span", ""]
    counts: tuple[str, ...]
    selected: bool


@dataclass
class Sheet:
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
    draw: Callable[[Sheet], Model]
    size: Size = "small"
    about: Literal["chip", "pixel", ""] = ""


def floats(values: npt.ArrayLike) -> npt.NDArray[np.float32]:
    """Numbers as they are sent: seven digits are enough for a screen."""
    return np.asarray(values, np.float32)
