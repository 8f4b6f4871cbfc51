"""Lines of styled text that change often and never change the layout."""

from rich.segment import Segment
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
