"""Hits per pixel: all chips at a glance, and one of them large."""

import math

import numpy as np
from bokeh.core.properties import value
from bokeh.models import DataRange1d, Model
from bokeh.models.annotations import ColorBar

from monitor.web.plot_context import Columns, PlotContext, floats
from monitor.web.view import View

_GAP, _GAP_BELOW, _GAP_BELOW_SMALL = 0.1, 0.22, 0.36
"""Room between two chips, in widths of a chip; below each stands which it is."""

_MANY = 12
"""So many chips are small beside their names on a phone."""


def hit_maps(context: PlotContext) -> Model:
    """A small map of each chip. A click selects the chip."""
    chips = context.source("chips", _tiles, counts=("hits",))
    chosen = context.source("chip_mark", _chosen_tile, selected=True, of="")
    plot = context.figure("", "", hover=[("", "@label"), (context.counted, "@hits{0,0.[00]}")], match_aspect=True)
    plot.tags = ["tap:chip"]
    plot.axis.visible = False
    plot.grid.visible = False
    plot.outline_line_color = None
    plot.y_range = DataRange1d(flipped=True, range_padding=0.06)
    mapper = context.mapper(chips)
    context.images(plot, chips, "hits", mapper)
    plot.text(
        "x",
        "text_y",
        text="name",
        source=chips,
        text_color=context.colours.ink,
        text_font_size="0.9em",
        text_font=value("system-ui, sans-serif"),
        text_baseline="top",
    )
    plot.quad(
        left="left",
        right="right",
        top="top",
        bottom="bottom",
        source=chosen,
        fill_color=None,
        line_color=context.colours.mark,
        line_width=2,
    )
    return plot


def _places(view: View) -> tuple[np.ndarray, np.ndarray, float, float]:
    """Where the tiles begin, (n,) each, and how wide and high they are: about as wide together as a screen is."""
    number = len(view.chips)
    index, across = np.arange(number), tiles_across(number)
    width, height = 1.0, view.histograms.rows / view.histograms.columns
    below = _GAP_BELOW if number <= _MANY else _GAP_BELOW_SMALL
    return (index % across) * (width + _GAP), (index // across) * (height + below), width, height


def tiles_across(number: int) -> int:
    """How many tiles go into a row: half as many again as there are rows, and rows that are full if possible."""
    about = round(math.sqrt(1.5 * number))
    return next((across for across in (about, about + 1, about - 1) if across > 0 and number % across == 0), about)


def _tiles(view: View) -> Columns:
    histograms = view.histograms
    x, y, width, height = _places(view)
    slots = [histograms.geometry.slot(place) for place in view.chips]
    return {
        "hits": histograms.hit_map[slots],
        "x": floats(x),
        "y": floats(y),
        "w": floats(np.full(len(x), width)),
        "h": floats(np.full(len(x), height)),
        "text_y": floats(y + height + 0.02),
        "name": [_short(place.layer, place.chip) for place in view.chips],
        "label": [str(place) for place in view.chips],
    }


def _short(layer: int | None, chip: int) -> str:
    return f"{chip}" if layer is None else f"{layer}:{chip}"


def _chosen_tile(view: View) -> Columns:
    x, y, width, height = _places(view)
    at = view.chips.index(view.place)
    return {
        "left": floats(x[at : at + 1]),
        "right": floats(x[at : at + 1] + width),
        "top": floats(y[at : at + 1]),
        "bottom": floats(y[at : at + 1] + height),
    }


def hit_map(context: PlotContext) -> Model:
    """The selected chip, rows downwards. A click selects the pixel."""
    pixels = context.source("map", _pixels, counts=("hits",), selected=True)
    chosen = context.source("pixel_mark", _chosen_pixel, selected=True, of="")
    hover = [("row, column", "$y{0}, $x{0}"), (context.counted, "@hits{0,0.[000]}")]
    plot = context.figure("column", "row", hover=hover, match_aspect=True)
    plot.tags = ["tap:pixel"]
    plot.grid.visible = False
    plot.x_range = DataRange1d(range_padding=0)
    plot.y_range = DataRange1d(range_padding=0, flipped=True)
    mapper = context.mapper(pixels)
    context.images(plot, pixels, "hits", mapper)
    plot.add_layout(ColorBar(color_mapper=mapper, width=12, padding=4, label_standoff=6), "right")
    plot.rect("column", "row", 1, 1, source=chosen, fill_color=None, line_color=context.colours.mark, line_width=3)
    return plot


def _pixels(view: View) -> Columns:
    histograms = view.histograms
    return {
        "hits": histograms.hit_map[view.slot : view.slot + 1],
        "x": floats([-0.5]),
        "y": floats([-0.5]),
        "w": floats([histograms.columns]),
        "h": floats([histograms.rows]),
    }


def _chosen_pixel(view: View) -> Columns:
    rows, columns = ([], []) if view.pixel is None else ([view.pixel[0]], [view.pixel[1]])
    return {"row": floats(rows), "column": floats(columns)}
