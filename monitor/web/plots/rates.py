"""Rates against time."""

from collections.abc import Callable

from bokeh.models import DataRange1d, Model

from monitor.state.time_series import Rate
from monitor.web.sheet import Columns, Sheet, floats
from monitor.web.view import View

_MS_PER_S = 1000.0


def hit_rate(sheet: Sheet) -> Model:
    """Hits per second."""
    return _rate(sheet, "hit_rate", "hits / s", lambda view: view.state.series.hit_rate(view.span))


def readout_rate(sheet: Sheet) -> Model:
    """Readouts per second."""
    return _rate(sheet, "readout_rate", "readouts / s", lambda view: view.state.series.readout_rate(view.span))


def _rate(sheet: Sheet, name: str, label: str, rate: Callable[[View], Rate]) -> Model:
    def columns(view: View) -> Columns:
        t_s, per_second = rate(view)
        return {"t": t_s * _MS_PER_S, "rate": floats(per_second)}

    source = sheet.source(name, columns, of="span")
    log = sheet.style.scale == "log"
    plot = sheet.figure(
        "time (UTC)",
        label,
        hover=[("time", "@t{%F %T}"), (label, "@rate{0,0.[00]}")],
        x_axis_type="datetime",
        y_axis_type="log" if log else "linear",
        y_range=DataRange1d() if log else DataRange1d(start=0),
    )
    plot.hover.formatters = {"@t": "datetime"}
    plot.hover.mode = "vline"
    plot.line("t", "rate", source=source, color=sheet.colours.line, line_width=1.5)
    return plot
