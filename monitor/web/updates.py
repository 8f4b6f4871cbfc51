"""What browsers are sent: everything once, then what has changed, encoded once for all of them."""

import json
import logging
import struct
from collections.abc import Callable, Collection, Mapping
from typing import Any

import numpy.typing as npt

from monitor.receiver import Receiver
from monitor.state.detector_state import DetectorState
from monitor.web.facts import facts
from monitor.web.plot_context import Source
from monitor.web.view import WINDOWS, Selection, Views, choices

_LENGTHS = struct.Struct("<II")  # header, arrays
_ALIGNMENT = 8
_TYPES = {
    "u1": "Uint8Array",
    "u2": "Uint16Array",
    "u4": "Uint32Array",
    "f4": "Float32Array",
    "f8": "Float64Array",
}


def encode_part(
    source: str,
    choice: str = "",
    columns: Mapping[str, npt.NDArray[Any] | list[str]] | None = None,
    about: Mapping[str, Any] | None = None,
) -> bytes:
    """One part of a message; its length is a multiple of 8 bytes.

    A part: length of the header and of the arrays in bytes (two little-endian 32-bit numbers), the header as JSON, the
    arrays as they are in memory; each of them filled up to a multiple of 8 bytes, so that a browser can look at an
    array without copying it. Header: `source`, `choice`, `columns` (name to a list of texts, or to {`type`, `shape`,
    `at`}), `about` (all else).
    """
    described: dict[str, Any] = {}
    arrays: list[bytes] = []
    at = 0
    for name, column in (columns or {}).items():
        if isinstance(column, list):
            described[name] = column
            continue
        array = _small(column)
        data = _filled_up(array.tobytes())
        described[name] = {"type": _TYPES[array.dtype.str[1:]], "shape": array.shape, "at": at}
        arrays.append(data)
        at += len(data)
    header = {"source": source, "choice": choice, "columns": described, "about": about or {}}
    text = json.dumps(header, separators=(",", ":"), allow_nan=False).encode()
    text += b" " * (-(_LENGTHS.size + len(text)) % _ALIGNMENT)
    return b"".join([_LENGTHS.pack(len(text), at), text, *arrays])


def _small(column: npt.NDArray[Any]) -> npt.NDArray[Any]:
    """Little endian, and counts in as few bytes as they need."""
    if column.dtype.kind in "iub":
        largest = int(column.max(initial=0))
        kind = "<u1" if largest < 1 << 8 else "<u2" if largest < 1 << 16 else "<u4" if largest < 1 << 32 else "<f8"
        return column.astype(kind)
    return column.astype("<f4" if column.dtype.itemsize <= 4 else "<f8", copy=False)


def _filled_up(data: bytes) -> bytes:
    return data + b"\0" * (-len(data) % _ALIGNMENT)


log = logging.getLogger(__name__)

Parts = dict[str, bytes]


class Update:
    """One update: the whole of it, and what differs from the one before, for any of the selections asked for.

    What was made for one browser is kept for the others. It is let go with the update: nothing here refers back to it,
    so no memory waits for the garbage collector, which counts objects and would leave hundreds of megabytes for hours.
    """

    def __init__(self, common: "_Stage", selected: Mapping[Selection, "_Stage"]) -> None:
        self._common = common
        self._selected = selected
        self._messages: dict[tuple[Selection, bool, bool], bytes] = {}

    def message(self, selection: Selection, *, whole: bool, whole_selection: bool) -> bytes:
        """For a browser: the same bytes for all with the same selection. `whole`: it does not have the one before."""
        key = selection, whole, whole_selection
        if key not in self._messages:
            selected = self._selected[selection].joined(whole or whole_selection)
            self._messages[key] = self._common.joined(whole) + selected
        return self._messages[key]


class _Stage:
    """Parts as they are now and as they were before."""

    def __init__(self, parts: Parts, before: Parts) -> None:
        self._parts = parts
        self._before = before
        self._joined: dict[bool, bytes] = {}

    def joined(self, whole: bool) -> bytes:
        if whole not in self._joined:
            before = {} if whole else self._before
            self._joined[whole] = b"".join(part for name, part in self._parts.items() if before.get(name) != part)
        return self._joined[whole]


class UpdateBuilder:
    """Makes updates of what `receiver` has.

    `sources`: what the plots need. `words`: what else there is to say, by the name of its part.
    """

    def __init__(
        self, receiver: Receiver, sources: Collection[Source], words: Mapping[str, Callable[[], Mapping[str, Any]]]
    ) -> None:
        self._receiver = receiver
        self._common_sources = [source for source in sources if not source.selected]
        self._selected_sources = [source for source in sources if source.selected]
        self._words = words
        self._common: Parts = {}
        self._selected: dict[Selection, Parts] = {}
        self._number = 0
        self._failed: set[str] = set()

    def revision(self) -> int:
        """Another number: there is something new to be told of the detector."""
        with self._receiver.state() as state:
            return state.revision

    def update(self, selections: Collection[Selection]) -> Update:
        """The state as it is now, for browsers with these selections."""
        self._number += 1
        with self._receiver.state() as state:
            views = Views(state)
            common = self._words_of(state)
            common |= self._encoded(self._common_sources, views, None)
            selected = {
                selection: _about(views, selection) | self._encoded(self._selected_sources, views, selection)
                for selection in selections
            }
        update = Update(
            _Stage(common, self._common),
            {each: _Stage(parts, self._selected.get(each, {})) for each, parts in selected.items()},
        )
        self._common, self._selected = common, selected
        return update

    def _encoded(self, sources: Collection[Source], views: Views, selection: Selection | None) -> Parts:
        parts: Parts = {}
        for source in sources:
            try:
                for choice in choices(source.of):
                    columns = source.columns(views.choice(source.of, choice, selection))
                    parts[f"{source.name}@{choice}"] = encode_part(source.name, choice, columns)
            except Exception:  # a plot of the user's that fails must not take the others with it
                if source.name not in self._failed:
                    log.exception("the source %r of a plot fails; said once", source.name)
                    self._failed.add(source.name)
        return parts

    def _words_of(self, state: DetectorState) -> Parts:
        summary = state.summary(self._receiver.counters)
        view = Views(state).view()
        about = {
            "update": {"number": self._number, "epoch": state.epoch},
            "facts": facts(summary, self._receiver.endpoint, self._receiver.refusal, self._receiver.no_answer),
            "detector": {
                "seconds": {window: round(Views(state).view(window).seconds, 1) for window in WINDOWS},
                "rows": view.histograms.rows,
                "columns": view.histograms.columns,
                "chips": [{"layer": place.layer, "chip": place.chip, "name": str(place)} for place in view.chips],
            },
            **{name: words() for name, words in self._words.items()},
        }
        return {name: encode_part(name, about=words) for name, words in about.items()}


def _about(views: Views, selection: Selection) -> Parts:
    """What is selected, in words."""
    view = views.view(selection=selection)
    place, pixel = view.place, view.pixel
    about = {
        "layer": place.layer,
        "chip": place.chip,
        "pixel": pixel,
        "chip_name": str(place),
        "pixel_name": "click on a pixel of the map" if pixel is None else f"{place}, row {pixel[0]}, column {pixel[1]}",
    }
    return {"selection": encode_part("selection", about=about)}
