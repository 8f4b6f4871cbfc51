"""The page as a picture, for a logbook or a mail: drawn by Matplotlib, outside of the event loop."""

import asyncio
import io
import math
import time
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.colors import LogNorm
from matplotlib.figure import Figure

from monitor.receiver import Receiver
from monitor.terminal.numbers import grouped, scaled
from monitor.web.plots.hit_maps import tiles_across

_FRESH_S = 1.0
_WIDTH_IN, _HEIGHT_IN, _DPI = 16.0, 9.0, 100


@dataclass(frozen=True, slots=True, eq=False)
class _Content:
    title: str
    names: list[str]
    maps: npt.NDArray[np.int64]
    tot: npt.NDArray[np.int64]
    tot_bin_us: float
    t_s: npt.NDArray[np.float64]
    rate: npt.NDArray[np.float64]


class Snapshot:
    """`png` gives the picture of now, or of at most a second ago: however many ask, one is drawn at a time."""

    def __init__(self, receiver: Receiver, clock: Callable[[], float] = time.monotonic) -> None:
        self._receiver = receiver
        self._clock = clock
        self._drawing = asyncio.Lock()
        self._png = b""
        self._drawn_at = -math.inf

    async def png(self) -> bytes:
        """The picture."""
        async with self._drawing:
            if self._clock() - self._drawn_at > _FRESH_S:
                self._png = await asyncio.to_thread(self._draw)
                self._drawn_at = self._clock()
            return self._png

    def _draw(self) -> bytes:
        return _picture(self._content())

    def _content(self) -> _Content:
        with self._receiver.state() as state:
            summary = state.summary(self._receiver.counters)
            histograms, chips = state.histograms, state.chips()
            slots = [histograms.geometry.slot(place) for place in chips]
            t_s, rate = state.series.hit_rate("10min")
            return _Content(
                title=f"{summary.daq or 'nothing received'} · run {'-' if summary.run is None else summary.run} · "
                f"{summary.state} · {grouped(summary.hits)} hits · "
                f"{scaled(summary.hits_hz, 'Hz')} · missed {grouped(summary.counters['missed_readouts'])} readouts",
                names=[str(place) for place in chips],
                maps=histograms.hit_map[slots].copy(),
                tot=histograms.detector_tot[:-1],
                tot_bin_us=histograms.binning.width_us,
                t_s=t_s,
                rate=rate,
            )


def _picture(content: _Content) -> bytes:
    figure = Figure(figsize=(_WIDTH_IN, _HEIGHT_IN), dpi=_DPI, layout="constrained")
    FigureCanvasAgg(figure)
    # What the daemon is called may have dollars in it, which are no formulas.
    figure.suptitle(content.title, parse_math=False)
    left, right = figure.subfigures(1, 2, squeeze=False, width_ratios=(3, 2))[0]
    across = tiles_across(len(content.names))
    tiles = left.subplots(math.ceil(len(content.names) / across), across, squeeze=False).ravel()
    norm = LogNorm(1, max(int(content.maps.max(initial=0)), 2))
    for axes, name, counts in zip(tiles, content.names, content.maps, strict=False):
        axes.set_facecolor("#e9edf2")
        axes.imshow(np.ma.masked_equal(counts, 0), cmap="viridis", norm=norm, interpolation="nearest")
        axes.set_title(name, fontsize="small")
        axes.tick_params(labelsize="xx-small")
    for axes in tiles[len(content.names) :]:
        axes.set_visible(False)
    spectrum, rates = right.subplots(2, 1)
    _spectrum(spectrum, content)
    minutes = (content.t_s - content.t_s[-1]) / 60 if len(content.t_s) else content.t_s
    rates.plot(minutes, content.rate, color="#0072b2")
    rates.set(xlabel="minutes ago", ylabel="hits / s")
    rates.set_ylim(bottom=0)
    buffer = io.BytesIO()
    figure.savefig(buffer, format="png")
    return buffer.getvalue()


def _spectrum(axes: Axes, content: _Content) -> None:
    filled = np.flatnonzero(content.tot)
    shown = int(filled[-1]) + 2 if len(filled) else 1
    axes.stairs(content.tot[:shown], np.arange(shown + 1) * content.tot_bin_us, fill=True, color="#0072b2")
    axes.set(xlabel="ToT / µs", ylabel="hits")
