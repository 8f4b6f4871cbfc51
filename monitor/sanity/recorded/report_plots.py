"""The figures of the HTML report: SVG and PNG in text, drawn without a display."""

import base64
import io
import math
from collections.abc import Callable
from typing import Any

import matplotlib as mpl
import numpy as np
from matplotlib.axes import Axes
from matplotlib.colors import LogNorm, Normalize
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from monitor.sanity.check import CheckInput, Counts
from monitor.sanity.checks.pixels_seen import slots_of
from monitor.sanity.checks.reference import ReferenceCounts
from monitor.state.time_series import SPANS, Span

BLUE, ORANGE, GREY = "#0072b2", "#d55e00", "#8a94a3"
"""Of the palette of M. Okabe and K. Ito, which colour-blind people can tell apart."""

_STYLE: Any = {
    "font.size": 9,
    "font.family": "sans-serif",
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.edgecolor": "#8a94a3",
    "axes.labelcolor": "#3b4452",
    "xtick.color": "#3b4452",
    "ytick.color": "#3b4452",
    "axes.grid": True,
    "axes.axisbelow": True,
    "grid.color": "#e4e8ee",
    "date.converter": "concise",
    "svg.hashsalt": "apx-sanity",
}
_MAX_ACROSS = 8
_WIDE = 30.0
"""Between the brightest pixel and the typical one: from here on the colours are logarithmic."""


def _draw(width: float, height: float, draw: Callable[[Figure], None], kind: str = "svg") -> str:
    """An `<img>`, of which nothing is outside of the page."""
    with mpl.rc_context(_STYLE):
        figure = Figure(figsize=(width, height), layout="constrained")
        draw(figure)
        buffer = io.BytesIO()
        if kind == "svg":
            figure.savefig(buffer, format="svg", metadata={"Date": None})
        else:
            figure.savefig(buffer, format="png", dpi=160)
    mime = {"svg": "image/svg+xml", "png": "image/png"}[kind]
    return f"data:{mime};base64,{base64.b64encode(buffer.getvalue()).decode()}"


def hit_maps(seen: CheckInput) -> str:
    """All chips, on one scale of colours."""
    counts, slots = seen.counts, slots_of(seen)
    maps = counts.hit_map[slots]
    across = min(len(slots), _MAX_ACROSS)
    down = math.ceil(len(slots) / across)
    brightest = max(int(maps.max(initial=0)), 1)
    lit = maps[maps > 0]
    typical = float(np.median(lit)) if len(lit) else 1.0
    wide = brightest > _WIDE * typical
    norm: Normalize = LogNorm(int(lit.min()), max(brightest, 2)) if wide else Normalize(0, brightest)
    single = len(slots) == 1
    rows, columns = maps.shape[1:]

    def draw(figure: Figure) -> None:
        panels = figure.subplots(down, across, squeeze=False)
        image = None
        for index, axes in enumerate(panels.ravel()):
            if index >= len(slots):
                axes.axis("off")
                continue
            colours = mpl.colormaps["cividis"].with_extremes(bad="#f1f3f6")
            shown = np.ma.masked_equal(maps[index], 0)
            image = axes.imshow(shown, origin="lower", norm=norm, cmap=colours, interpolation="nearest", aspect="equal")
            name = str(counts.place(int(slots[index])))
            axes.set_title(f"{name} · {int(counts.chip_hits[slots[index]]):,} hits", fontsize=9 if single else 7)
            axes.grid(visible=False)
            axes.tick_params(labelsize=8 if single else 6, length=2)
            if single:
                axes.set_xlabel("column")
                axes.set_ylabel("row")
            else:
                axes.set_xticks([0, columns - 1] if index + across >= len(slots) else [])
                axes.set_yticks([0, rows - 1] if index % across == 0 else [])
        if image is not None:
            scale = "hits (logarithmic)" if wide else "hits"
            figure.colorbar(image, ax=panels, label=f"{scale}; grey: none", shrink=0.9, pad=0.01)

    size = 5.0 if single else (10.0 / across if across > 2 else 4.2)
    return _draw(size * across + 1.2, size * down * rows / columns + 0.6, draw, "png")


def spectrum(seen: CheckInput, reference: ReferenceCounts | None = None) -> str:
    """ToT of all chips together, with the reference's, scaled to as many hits."""
    counts, slots = seen.counts, slots_of(seen)
    width_us = counts.binning.width_us
    mine = counts.tot[slots].sum(axis=0)[:-1]
    pairs = [] if reference is None else reference.pairs(seen)
    its = None if reference is None or not pairs else reference.tot[[index for *_, index in pairs]].sum(axis=0)[:-1]
    first, end = _shown(mine, its)
    above = int(mine[end:].sum() + counts.tot[slots, -1].sum())
    edges_us = np.arange(first, end + 1) * width_us

    def draw(figure: Figure) -> None:
        axes: Axes = figure.subplots()
        axes.stairs(mine[first:end], edges_us, fill=True, color=BLUE, alpha=0.25)
        axes.stairs(mine[first:end], edges_us, color=BLUE, linewidth=1.2, label="this run")
        if its is not None and its.sum():
            scaled = its[first:end] * (mine.sum() / its.sum())
            axes.stairs(scaled, edges_us, color=ORANGE, linewidth=1.2, label="reference, scaled to as many hits")
            axes.legend(frameon=False)
        if mine.max(initial=0) > 1000:
            axes.set_yscale("symlog", linthresh=10)
        axes.set_xlabel("time over threshold (µs)" + (f", {above:,} hits above" if above else ""))
        axes.set_ylabel(f"hits per {width_us:g} µs")
        axes.set_xlim(edges_us[0], edges_us[-1])

    return _draw(6.2, 3.2, draw)


def _shown(mine: Counts, its: Counts | None) -> tuple[int, int]:
    """First bin to be drawn, and the one after the last: all but the furthest two in a thousand, and room for them."""
    firsts, ends = [], []
    for each in (mine,) if its is None else (mine, its):
        below = np.cumsum(each)
        if below[-1]:
            low, high = np.searchsorted(below, np.array([0.001, 0.999]) * below[-1]).tolist()
            room = 3 + (high - low) // 4
            firsts.append(max(low - room, 0))
            ends.append(min(high + room, len(each)))
    return (min(firsts), max(ends)) if ends else (0, min(10, len(mine)))


def rates(seen: CheckInput) -> str | None:
    """Hits and readouts per second against time; None where there are no times."""
    span: Span = next((each for each, (bins, bin_s) in SPANS.items() if seen.live_s < bins * bin_s), "12h")
    t_s, hits_hz = seen.series.hit_rate(span)
    _, readouts_hz = seen.series.readout_rate(span)
    known = np.flatnonzero(~np.isnan(hits_hz))
    if not len(known):
        return None
    part = slice(int(known[0]), int(known[-1]) + 1)
    times = (t_s[part] * 1000).astype("datetime64[ms]")

    def draw(figure: Figure) -> None:
        axes: Axes = figure.subplots()
        axes.plot(times, hits_hz[part], color=BLUE, linewidth=1.1, drawstyle="steps-mid", label="hits")
        axes.plot(times, readouts_hz[part], color=GREY, linewidth=1.0, drawstyle="steps-mid", label="readouts")
        axes.set_ylim(bottom=0)
        axes.set_ylabel("per second")
        axes.set_xlabel("time (UTC)")
        axes.legend(frameon=False, ncols=2)

    return _draw(6.2, 3.2, draw)


def hits_per_readout(seen: CheckInput) -> str:
    """How many readouts had so many hits."""
    sizes = seen.counts.hits_per_readout
    filled = sizes.nonzero()[0]
    end = (int(filled[-1]) if len(filled) else 0) + 1

    def draw(figure: Figure) -> None:
        axes: Axes = figure.subplots()
        axes.stairs(sizes[:end], np.arange(end + 1) - 0.5, fill=True, color=BLUE, alpha=0.7)
        if sizes.max(initial=0) > 100:
            axes.set_yscale("symlog", linthresh=1)
        axes.set_xlabel("hits in a readout")
        axes.set_ylabel("readouts")
        axes.xaxis.set_major_locator(MaxNLocator(integer=True))

    return _draw(6.2, 3.2, draw)
