"""What a plot is shown of the detector: the state, and what of it a browser has chosen to look at."""

from dataclasses import dataclass
from typing import Final, Literal

from pydantic import BaseModel, ConfigDict, Field

from monitor.detector import ChipPlace
from monitor.state.detector_state import DetectorState
from monitor.state.histograms import HitHistograms
from monitor.state.time_series import SPANS, Span
from protocol.units import NS_PER_S

Window = Literal["run", "minute"]
WINDOWS: Final[tuple[Window, ...]] = ("run", "minute")
"""Since the begin of the run; the last minute."""

_MINUTE_S = 60.0
_MAX_ID = 255


class Selection(BaseModel):
    """What one browser has clicked: a chip, and perhaps a pixel of it. Hashable."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    layer: int | None = Field(default=None, ge=0, le=_MAX_ID)
    chip: int = Field(default=0, ge=0, le=_MAX_ID)
    row: int | None = Field(default=None, ge=0, le=_MAX_ID)
    column: int | None = Field(default=None, ge=0, le=_MAX_ID)


@dataclass(frozen=True, slots=True)
class View:
    """The detector, looked at in one way. Valid while the state stands still: copy what is to be kept.

    `histograms`: of the window (`HitHistograms`), which is `seconds` long. `chips`: those to show, in order. `place`:
    the selected chip, with number `slot` in the histograms; `pixel`: the selected (row, column) of it, None: none.
    `span`: how far back rates against time go.
    """

    state: DetectorState
    histograms: HitHistograms
    seconds: float
    chips: list[ChipPlace]
    place: ChipPlace
    pixel: tuple[int, int] | None
    span: Span

    @property
    def slot(self) -> int:
        """Number of the selected chip."""
        return self.histograms.geometry.slot(self.place)


class Views:
    """The views of a state that stands still."""

    def __init__(self, state: DetectorState) -> None:
        self._state = state
        self._chips = state.chips()
        self._seconds = max(state.series.last_ns - (state.series.first_ns or state.series.last_ns), 0) / NS_PER_S
        self._of_window = {"run": state.histograms, "minute": state.recent}

    def view(self, window: Window = "run", span: Span = "10min", selection: Selection | None = None) -> View:
        """The view of a window, a span and a selection; a chip that is not there is replaced by the first."""
        histograms = self._of_window[window]
        place = self._chips[0]
        pixel = None
        if selection is not None and (wanted := ChipPlace(selection.layer, selection.chip)) in self._chips:
            place = wanted
            row, column = selection.row, selection.column
            if row is not None and column is not None and row < histograms.rows and column < histograms.columns:
                pixel = row, column
        seconds = self._seconds if window == "run" else min(self._seconds, _MINUTE_S)
        return View(self._state, histograms, seconds, self._chips, place, pixel, span)

    def choice(self, of: str, choice: str, selection: Selection | None) -> View:
        """The view for one of the `choices` of `of`."""
        window = next((each for each in WINDOWS if of == "window" and each == choice), WINDOWS[0])
        span: Span = next((each for each in SPANS if of == "span" and each == choice), "10min")
        return self.view(window, span, selection)


def choices(of: str) -> tuple[str, ...]:
    """What there is to choose from where a source depends on `of`: "window", "span", or nothing ("")."""
    return {"window": WINDOWS, "span": tuple(SPANS), "": ("",)}[of]
