"""Readouts by the number of their hits."""

import numpy as np
from bokeh.models import Model

from monitor.web.sheet import Columns, Sheet, floats
from monitor.web.view import View


def hits_per_readout(sheet: Sheet) -> Model:
    """How many readouts had no hit, one, two, …"""
    source = sheet.source("hits_per_readout", _columns, counts=("readouts",))
    plot = sheet.counts_figure("hits", hover=[("hits", "@hits"), ("readouts", "@readouts{0,0.[000]}")])
    plot.yaxis.axis_label = "readouts" if sheet.style.unit == "counts" else "readouts / s"
    sheet.histogram(plot, source, "left", "right", "readouts")
    return plot


def _columns(view: View) -> Columns:
    readouts = view.histograms.hits_per_readout
    filled = np.flatnonzero(readouts)
    shown = readouts[: int(filled[-1]) + 2] if len(filled) else readouts[:0]
    hits = np.arange(len(shown))
    return {"readouts": shown, "hits": floats(hits), "left": floats(hits - 0.5), "right": floats(hits + 0.5)}
