"""Rates against time."""

from collections.abc import Callable

from bokeh.models import AdaptiveTicker, DataRange1d, DatetimeTicker, DatetimeTickFormatter, DaysTicker, Model

from monitor.state.time_series import Rate
from monitor.web.plot_context import Columns, PlotContext, floats
from monitor.web.view import View

_MS_PER_S = 1000.0
_S, _MIN, _H = _MS_PER_S, 60 * _MS_PER_S, 3600 * _MS_PER_S

_SHORTEST_MS = 15 * _S
"""A run that has just begun is shown on an axis of this length: its bins are of a second at least."""

_TICKS = 3
"""About so many: on a phone there is room for no more than five times of day beside each other."""


def hit_rate(context: PlotContext) -> Model:
    """Hits per second."""
    return _rate(context, "hit_rate", "hits / s", lambda view: view.state.series.hit_rate(view.span))


def readout_rate(context: PlotContext) -> Model:
    """Readouts per second."""
    return _rate(context, "readout_rate", "readouts / s", lambda view: view.state.series.readout_rate(view.span))


def _rate(context: PlotContext, name: str, label: str, rate: Callable[[View], Rate]) -> Model:
    def columns(view: View) -> Columns:
        t_s, per_second = rate(view)
        return {"t": t_s * _MS_PER_S, "rate": floats(per_second)}

    source = context.source(name, columns, of="span")
    log = context.style.scale == "log"
    plot = context.figure(
        "time (UTC)",
        label,
        hover=[("time", "@t{%F %T}"), (label, "@rate{0,0.[00]}")],
        x_axis_type="datetime",
        y_axis_type="log" if log else "linear",
        x_range=DataRange1d(min_interval=_SHORTEST_MS),
        y_range=DataRange1d() if log else DataRange1d(start=0),
    )
    plot.xaxis.ticker = _ticker()
    plot.xaxis.formatter = _formatter()
    plot.hover.formatters = {"@t": "datetime"}
    plot.hover.mode = "vline"
    plot.line("t", "rate", source=source, color=context.colours.line, line_width=1.5)
    return plot


def _ticker() -> DatetimeTicker:
    """Few ticks, at whole seconds, minutes, hours or days."""
    below_an_hour = AdaptiveTicker(mantissas=[1, 2, 3, 5, 10, 15, 20, 30], base=60, min_interval=_S, max_interval=_H)
    below_a_day = AdaptiveTicker(mantissas=[1, 2, 3, 4, 6, 8, 12], base=24, min_interval=_H, max_interval=12 * _H)
    tickers = [below_an_hour, below_a_day, DaysTicker(days=list(range(1, 32)))]
    return DatetimeTicker(tickers=tickers, desired_num_ticks=_TICKS, num_minor_ticks=0)


def _formatter() -> DatetimeTickFormatter:
    """The time of day, with seconds only where they differ; the day stands below."""
    with_seconds, without = "%H:%M:%S", "%H:%M"
    return DatetimeTickFormatter(
        seconds=with_seconds,
        minsec=with_seconds,
        minutes=without,
        hourmin=without,
        hours=without,
        days="%d %b",
        context="%d %b %Y",
    )
