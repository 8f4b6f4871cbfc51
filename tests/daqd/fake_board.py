"""A board that does what the test says, and remembers what it was told."""

import queue
import threading
from collections.abc import Iterable

from daqd.boards.board import Board, BoardStatus, RawReadout
from protocol.chips.chip_setup import ChipSetup
from protocol.readout import AstroPix4Readout
from protocol.readout_description import ReadoutDescription

T0_NS = 1_750_000_000_000_000_000


class FakeBoard(Board):
    """Gives out what `give` put in, one by one; an exception put in is raised. After `stop`, gives out `held`.

    `failing`: errors that the named methods raise, once each. `told`: names of the methods called, without reading.
    """

    readout_class = AstroPix4Readout
    description = ReadoutDescription(chips=1, full_readout_bytes=2048)

    def __init__(self, readouts: Iterable[bytes | Exception] = (), held: Iterable[bytes] = ()) -> None:
        self._answers: queue.SimpleQueue[RawReadout | Exception] = queue.SimpleQueue()
        self._held = list(held)
        self._number = 0
        self._stopped = False
        self.failing: dict[str, Exception] = {}
        self.told: list[str] = []
        self.setup: ChipSetup | None = None
        self.reading = threading.Event()
        self.is_open = False
        self.given = 0
        self.give(*readouts)

    def give(self, *readouts: bytes | Exception) -> None:
        for each in readouts:
            self._answers.put(self._stamp(each) if isinstance(each, bytes) else each)

    def _stamp(self, data: bytes) -> RawReadout:
        self._number += 1
        return RawReadout(data, T0_NS + self._number)

    def _obey(self, name: str) -> None:
        self.told.append(name)
        error = self.failing.pop(name, None)
        if error is not None:
            raise error

    def open(self) -> None:
        self._obey("open")
        self.is_open = True

    def configure(self, setup: ChipSetup | None = None) -> None:
        self.setup = setup
        self._obey("configure")

    def start(self) -> None:
        self._stopped = False
        self._obey("start")

    def read_readout(self, timeout_s: float) -> RawReadout | None:
        self.reading.set()
        if self._stopped:
            return self._stamp(self._held.pop(0)) if self._held else None
        try:
            answer = self._answers.get(timeout=timeout_s)
        except queue.Empty:
            return None
        if isinstance(answer, Exception):
            raise answer
        self.given += 1
        return answer

    def stop(self) -> None:
        self._stopped = True
        self._obey("stop")

    def close(self) -> None:
        self._obey("close")
        self.is_open = False

    def status(self) -> BoardStatus:
        return BoardStatus(
            kind="fake",
            transport="none",
            connected=self.is_open,
            running=False,
            exhausted=False,
            counters={"given": self.given},
        )
