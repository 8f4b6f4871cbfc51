"""The thread that receives while a screen is drawn or browsers are served."""

import threading
from abc import ABC, abstractmethod
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Self

import numpy as np
import numpy.typing as npt

from monitor.client import StreamClient
from monitor.detector import ChipPlace, Geometry
from monitor.events import Event
from monitor.receiving.reader import StreamCounters
from monitor.state.detector_state import DetectorState
from monitor.state.monitor_state import MonitorSummary
from monitor.state.time_series import Rate, Span

_TURN_S = 1.0
_JOIN_S = 5.0


class ClientThread(ABC):
    """Owns `client`, in a thread of its own, which closes it at the end; a context manager."""

    def __init__(self, client: StreamClient, name: str) -> None:
        self.endpoint = client.endpoint
        self._client = client
        self._thread = threading.Thread(target=self._run, name=name)

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._client.interrupt()
        self._thread.join(_JOIN_S)

    def _run(self) -> None:
        with self._client as client:
            while not client.interrupted:
                event = client.receive(_TURN_S)
                if event is not None:
                    self._take(event)

    @abstractmethod
    def _take(self, event: Event) -> None:
        """What has come; in the thread."""


class Receiver(ClientThread):
    """Owns the client and the state, in a thread of its own; a context manager."""

    def __init__(self, client: StreamClient, geometry: Geometry) -> None:
        super().__init__(client, "receiver")
        self._state = DetectorState(geometry)
        self._lock = threading.Lock()

    def _take(self, event: Event) -> None:
        with self._lock:
            self._state.feed(event)

    @property
    def refusal(self) -> str:
        """Why the server does not let us in; empty where it does."""
        return self._client.refusal

    @property
    def no_answer(self) -> str:
        """Why nobody is there though connections are taken; empty where somebody is, or nothing is known."""
        return self._client.no_answer

    @property
    def counters(self) -> StreamCounters:
        """What has been received and missed so far."""
        return self._client.counters

    @contextmanager
    def state(self) -> Iterator[DetectorState]:
        """The state, which stands still meanwhile: copy what is needed, and leave."""
        with self._lock:
            yield self._state

    def summary(self) -> MonitorSummary:
        """The state as it is now, without histograms."""
        with self._lock:
            return self._state.summary(self._client.counters)

    def chips(self) -> list[ChipPlace]:
        """Chips to show."""
        with self._lock:
            return self._state.chips()

    def chip(
        self, place: ChipPlace, *, recent: bool = False
    ) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.int64], float]:
        """Copies of a chip's hit map (rows, columns) and ToT spectrum (bins + 1,), and the width of its bins in µs.

        Since the begin of the run, or of the last minute.
        """
        with self._lock:
            histograms = self._state.recent if recent else self._state.histograms
            # Another run may have other chips.
            slot = min(histograms.geometry.slot(place), len(histograms.hit_map) - 1)
            return histograms.hit_map[slot].copy(), histograms.tot[slot].copy(), histograms.binning.width_us

    def rates(self, span: Span) -> tuple[Rate, Rate]:
        """Hits and readouts per second over the last 10 min, 1 h or 12 h."""
        with self._lock:
            return self._state.series.hit_rate(span), self._state.series.readout_rate(span)

    def reset(self) -> None:
        """Empty the histograms."""
        with self._lock:
            self._state.reset()
