"""ToT spectra of the detector, a chip or a pixel; readouts by the number of their hits."""

from collections.abc import Callable

import numpy as np
import numpy.typing as npt
from bokeh.models import Model

from monitor.state.sorted_hits import TotBinning
from monitor.web.plot_context import Columns, PlotContext, floats
from monitor.web.view import View

Spectrum = tuple[npt.NDArray[np.integer], TotBinning]
"""Counts, the last one of what is too long for all bins, and the bins."""


def detector_spectrum(context: PlotContext) -> Model:
    """Of all chips together."""
    return _draw(context, "tot", lambda view: (view.histograms.detector_tot, view.histograms.binning), selected=False)


def chip_spectrum(context: PlotContext) -> Model:
    """Of the selected chip."""
    return _draw(
        context, "tot_chip", lambda view: (view.histograms.tot[view.slot], view.histograms.binning), selected=True
    )


def pixel_spectrum(context: PlotContext) -> Model:
    """Of the selected pixel, in coarser bins; empty while none is selected."""
    return _draw(context, "tot_pixel", _of_pixel, selected=True)


def _of_pixel(view: View) -> Spectrum:
    histograms = view.histograms
    if view.pixel is None:
        return np.zeros(1, np.uint32), histograms.pixel_binning
    return histograms.pixel_tot(view.slot, *view.pixel), histograms.pixel_binning


def _draw(context: PlotContext, name: str, spectrum: Callable[[View], Spectrum], *, selected: bool) -> Model:
    def columns(view: View) -> Columns:
        hits, binning = spectrum(view)
        filled = np.flatnonzero(hits[:-1])
        # What lies above the last hit need not be sent, but for a place where the line comes down.
        shown = hits[: min(int(filled[-1]) + 2, binning.bins)] if len(filled) else hits[:0]
        left = np.arange(len(shown)) * binning.width_us
        return {"hits": shown, "left": floats(left), "right": floats(left + binning.width_us)}

    source = context.source(name, columns, counts=("hits",), selected=selected)
    hover = [("ToT", "@left{0.[00]} to @right{0.[00]} µs"), (context.counted, "@hits{0,0.[000]}")]
    plot = context.counts_figure("ToT / µs", hover=hover)
    context.histogram(plot, source, "left", "right", "hits")
    return plot


def hits_per_readout(context: PlotContext) -> Model:
    """How many readouts had no hit, one, two, …"""
    source = context.source("hits_per_readout", _columns, counts=("readouts",))
    plot = context.counts_figure("hits", hover=[("hits", "@hits"), ("readouts", "@readouts{0,0.[000]}")])
    plot.yaxis.axis_label = "readouts" if context.style.unit == "counts" else "readouts / s"
    context.histogram(plot, source, "left", "right", "readouts")
    return plot


def _columns(view: View) -> Columns:
    readouts = view.histograms.hits_per_readout
    filled = np.flatnonzero(readouts)
    shown = readouts[: int(filled[-1]) + 2] if len(filled) else readouts[:0]
    hits = np.arange(len(shown))
    return {"readouts": shown, "hits": floats(hits), "left": floats(hits - 0.5), "right": floats(hits + 0.5)}
