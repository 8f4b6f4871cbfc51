"""The screen of `apx-monitor watch`."""

import asyncio
from typing import ClassVar

from textual.app import App, ComposeResult
from textual.binding import Binding, BindingType
from textual.containers import Horizontal, Vertical
from textual.geometry import Size
from textual.widgets import Footer

from monitor.alarm_receiver import AlarmReceiver
from monitor.control import AlarmActions
from monitor.detector import ChipPlace, HitKind
from monitor.receiver import Receiver
from monitor.state.time_series import SPANS, Span
from monitor.terminal import status_lines
from monitor.terminal.alarms import AlarmScreen, alarm_lines
from monitor.terminal.graphs import RateGraph, Spectrum
from monitor.terminal.hit_map import HitMap
from monitor.terminal.line_widgets import TextLines
from monitor.terminal.numbers import grouped

_REDRAW_S = 0.3
_MAP_SHARE = 0.6
_LINES_FOR_READOUTS = 36
"""A screen with fewer lines shows the rate of hits alone."""

_ALARM_SHARE = 8
"""Of the screen's lines, at most one in so many for alarms; the list has the worst first."""

_SPAN_NAMES: dict[Span, str] = {"10min": "10 min", "1h": "1 h", "12h": "12 h"}


class WatchApp(App[None]):
    """Draws what `receiver` has, three times a second. Ends with q or Ctrl-C, exit code 0; or by `end`.

    `alarms`: of a sanity checker; `actions`: where they can be acknowledged.
    """

    CSS_PATH = "watch.tcss"
    TITLE = "apx-monitor"
    ENABLE_COMMAND_PALETTE = False
    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("q", "quit", "quit", priority=True),
        Binding("ctrl+c", "quit", "quit", show=False, priority=True),
        Binding("c", "chip(1)", "chip", key_display="c C"),
        Binding("C", "chip(-1)", "previous chip", show=False),
        Binding("l", "toggle_scale", "log/lin"),
        Binding("m", "toggle_recent", "minute/run"),
        Binding("t", "span", "time"),
        Binding("f", "toggle_freeze", "freeze"),
        Binding("r", "reset", "reset"),
        Binding("a", "alarms", "alarms"),
    ]

    def __init__(
        self,
        receiver: Receiver,
        alarms: AlarmReceiver | None = None,
        actions: AlarmActions | None = None,
        page: str = "",
    ) -> None:
        super().__init__()
        self._page = page
        self._receiver = receiver
        self._alarms = alarms
        self._actions = actions
        self._chip: ChipPlace | None = None
        self._logarithmic = False
        self._recent = False
        self._span: Span = "10min"
        self._frozen = False
        self._ending = False
        self._loop_to_wake: asyncio.AbstractEventLoop | None = None
        pixels = HitKind()
        self._map = HitMap(pixels.chip.rows, pixels.chip.columns, name="map")
        self._spectrum = Spectrum("µs", name="spectrum")
        self._plots = Horizontal(id="plots")
        self._fitted_to = Size(0, 0)
        self._hit_rate = RateGraph(name="hit-rate")
        self._readout_rate = RateGraph(name="readout-rate")
        self._headline = TextLines(name="headline")
        self._facts = TextLines(name="facts")
        self._alarm_lines = TextLines(name="alarms")
        self._alarm_lines.display = alarms is not None
        self._log_lines = TextLines(name="log")

    def compose(self) -> ComposeResult:
        """Headline, facts, alarms, plots, log, keys."""
        yield self._headline
        yield self._facts
        yield self._alarm_lines
        with self._plots:
            yield self._map
            with Vertical(id="beside"):
                yield self._spectrum
                yield self._hit_rate
                yield self._readout_rate
        yield self._log_lines
        yield Footer(show_command_palette=False)

    def on_mount(self) -> None:
        """Begin to draw."""
        self._loop_to_wake = asyncio.get_running_loop()
        if self._ending:
            self.exit()
        self.draw()
        self.set_interval(_REDRAW_S, self.draw)

    def end(self) -> None:
        """End, from a signal handler."""
        self._ending = True
        if self._loop_to_wake is not None:
            self._loop_to_wake.call_soon_threadsafe(self.exit)

    def on_resize(self) -> None:
        """Give the map as much of the width as its height can use, and the log as many lines as there is room for."""
        self.call_after_refresh(self._fit)

    def _fit(self) -> None:
        self._fitted_to = self._plots.size
        width, height = self._fitted_to
        border = 2
        room = Size(int(width * _MAP_SHARE) - border, height - border)
        self._readout_rate.display = self.size.height >= _LINES_FOR_READOUTS
        self._map.styles.width = self._map.fitting_width(room) + border
        self.draw()

    def draw(self) -> None:
        """Show the present state; when frozen, only that it is."""
        if self._plots.size != self._fitted_to:
            self._fit()  # a smaller screen was told of before the plots had their new size
            return
        summary = self._receiver.summary()
        receiver = self._receiver
        self._headline.show(
            [
                status_lines.headline(
                    summary,
                    receiver.endpoint,
                    frozen=self._frozen,
                    refusal=receiver.refusal,
                    no_answer=receiver.no_answer,
                    page=self._page,
                )
            ]
        )
        self._draw_alarms()  # who has frozen the screen and forgotten it is called all the same
        if self._frozen:
            return
        self._facts.show(status_lines.facts(summary))
        room = max(self._log_lines.size.height, 1)
        self._log_lines.show([status_lines.log_line(entry) for entry in summary.log[-room:]])
        self._draw_plots()
        self._draw_rates()

    def _draw_alarms(self) -> None:
        if self._alarms is None:
            return
        lines = alarm_lines(self._alarms.alarms, self._alarms.trouble, most=max(self.size.height // _ALARM_SHARE, 1))
        if self._alarm_lines.styles.height is None or self._alarm_lines.styles.height.value != len(lines):
            self._alarm_lines.styles.height = len(lines)
            self.on_resize()
        self._alarm_lines.show(lines)

    def _draw_plots(self) -> None:
        chips = self._receiver.chips()
        chip = self._chip = self._chip if self._chip in chips else chips[0]
        hit_map, tot, tot_bin_us = self._receiver.chip(chip, recent=self._recent)
        of = f" of {len(chips)}" if len(chips) > 1 else ""
        when = " · 1 min" if self._recent else ""
        hits = int(hit_map.sum())
        number, word = grouped(hits), "hit" if hits == 1 else "hits"
        titles = f"{chip}{of} · {number} {word}{when}", f"{chip} · {number} {word}{when}", f"{chip} · {number}{when}"
        if self._map.show(hit_map, titles, logarithmic=self._logarithmic):
            self.on_resize()
        scale = " · log" if self._logarithmic else ""
        self._spectrum.show(tot[:-1], tot_bin_us, f"ToT · {chip}{scale}{when}", logarithmic=self._logarithmic)

    def _draw_rates(self) -> None:
        hit_rate, readout_rate = self._receiver.rates(self._span)
        bin_s, when = SPANS[self._span][1], _SPAN_NAMES[self._span]
        self._hit_rate.show(hit_rate, bin_s, f"hits per second · {when}", logarithmic=self._logarithmic)
        self._readout_rate.show(readout_rate, bin_s, f"readouts per second · {when}", logarithmic=self._logarithmic)

    def action_chip(self, step: int) -> None:
        """Show the next chip, or the one before."""
        chips = self._receiver.chips()
        at = chips.index(self._chip) if self._chip in chips else 0
        self._chip = chips[(at + step) % len(chips)]
        self._draw_plots()

    def action_toggle_scale(self) -> None:
        """Logarithmic or linear."""
        self._logarithmic = not self._logarithmic
        self._draw_plots()
        self._draw_rates()

    def action_toggle_recent(self) -> None:
        """Map and spectrum of the last minute, or of the run."""
        self._recent = not self._recent
        self._draw_plots()

    def action_span(self) -> None:
        """Look further back in time, or again at the last minutes."""
        spans = list(_SPAN_NAMES)
        self._span = spans[(spans.index(self._span) + 1) % len(spans)]
        self._draw_rates()

    def action_toggle_freeze(self) -> None:
        """Stop drawing, or go on; receiving goes on all the time."""
        self._frozen = not self._frozen
        self.draw()

    def action_alarms(self) -> None:
        """Look at all alarms."""
        if self._alarms is not None:
            self.push_screen(AlarmScreen(self._alarms, self._actions))

    def action_reset(self) -> None:
        """Empty the histograms."""
        self._receiver.reset()
        self._draw_plots()
