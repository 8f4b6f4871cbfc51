"""Widgets made of lines of characters: texts that change often, and pictures that are composed once and drawn often."""

from abc import abstractmethod

from rich.segment import Segment
from rich.style import Style
from rich.text import Text
from textual.strip import Strip
from textual.widget import Widget


class TextLines(Widget):
    """Shows one `Text` a line, cut where there is no room; only lines that changed are drawn anew."""

    def __init__(self, *, name: str) -> None:
        super().__init__(id=name)
        self._lines: list[Text] = []

    def show(self, lines: list[Text]) -> None:
        """Draw `lines`, from now on."""
        if lines != self._lines:
            self._lines = lines
            self.refresh()

    def render_line(self, y: int) -> Strip:
        """Line `y`."""
        width, plain = self.size.width, self.rich_style
        if y >= len(self._lines):
            return Strip.blank(width, plain)
        line = self._lines[y].copy()
        line.truncate(width, overflow="ellipsis")
        segments = Segment.apply_style(line.render(self.app.console), plain)
        return Strip(segments).adjust_cell_length(width, plain)


class ComposedLines(Widget):
    """Keeps its lines until there is something else to show, or another size or theme to show it in."""

    def __init__(self, *, name: str) -> None:
        super().__init__(id=name)
        self._strips: list[Strip] | None = None

    @abstractmethod
    def _compose_lines(self) -> list[Strip]:
        """All lines, for the present size."""

    def compose_anew(self) -> None:
        """There is something else to show."""
        self._strips = None
        self.refresh()

    def notify_style_update(self) -> None:
        """The theme has changed."""
        self._strips = None
        super().notify_style_update()

    def on_resize(self) -> None:
        """Another size."""
        self.compose_anew()

    def render_line(self, y: int) -> Strip:
        """Line `y`; empty below the last."""
        if self._strips is None:
            self._strips = self._compose_lines()
        if y >= len(self._strips):
            return Strip.blank(self.size.width, self.rich_style)
        return self._strips[y]

    def _fitted(self, segments: list[Segment], style: Style) -> Strip:
        """A line as wide as there is room."""
        return Strip(segments).adjust_cell_length(self.size.width, style)
