"""Colours of the page's figures, light and dark; the page itself has the same in page.css."""

from dataclasses import dataclass

from bokeh.themes import Theme

_FONT = "system-ui, sans-serif"
_SIZE = "1em"
"""As large as --bokeh-font-size in page.css: larger on a wall."""


@dataclass(frozen=True, slots=True)
class Colours:
    """`paper`: behind figures; `ink`: text; `grid`: lines; `nothing`: pixels without hits; `line`, `second`: data;
    `mark`: what is selected; `over`: counts beyond the scale of a map.
    """

    paper: str
    ink: str
    grid: str
    nothing: str
    line: str
    second: str
    mark: str
    over: str


# Blue, orange and vermilion of Okabe and Ito, told apart by people who see few colours.
_LIGHT = Colours("#ffffff", "#1c2733", "#dfe4ea", "#e9edf2", "#0072b2", "#e69f00", "#d55e00", "#e3007b")
_DARK = Colours("#161d26", "#d5dce4", "#2b3542", "#242d39", "#56b4e9", "#e69f00", "#ff8c42", "#ff5fb0")


def colours(theme: str) -> Colours:
    """Those of "light" or "dark"."""
    return _DARK if theme == "dark" else _LIGHT


def bokeh_theme(theme: str) -> Theme:
    """The same for Bokeh."""
    chosen = colours(theme)
    label = {"major_label_text_color": chosen.ink, "major_label_text_font": _FONT, "major_label_text_font_size": _SIZE}
    return Theme(
        json={
            "attrs": {
                "Plot": {
                    "background_fill_color": chosen.paper,
                    "border_fill_color": chosen.paper,
                    "outline_line_color": chosen.grid,
                },
                "Grid": {"grid_line_color": chosen.grid},
                "Axis": {
                    **label,
                    "axis_label_text_color": chosen.ink,
                    "axis_label_text_font": _FONT,
                    "axis_label_text_font_size": _SIZE,
                    "axis_label_text_font_style": "normal",
                    "axis_line_color": chosen.grid,
                    "major_tick_line_color": chosen.grid,
                    "minor_tick_line_color": None,
                },
                "BaseColorBar": {**label, "background_fill_color": chosen.paper, "bar_line_color": None},
                "Legend": {
                    "label_text_color": chosen.ink,
                    "label_text_font": _FONT,
                    "label_text_font_size": _SIZE,
                    "background_fill_color": chosen.paper,
                    "background_fill_alpha": 0.7,
                    "border_line_color": None,
                },
            }
        }
    )
