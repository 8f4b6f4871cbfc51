"""An emulated board on the table, with a clock that only moves when somebody sleeps."""

import time
from typing import Any

from daqd.boards.gecco import GeccoBoard
from daqd.configuration.config import Config
from daqd.emulator.gecco_model import GeccoModel
from daqd.emulator.hit_sources import ByteSource, HitDelivery
from daqd.emulator.read_fifos import FifoRecord
from daqd.emulator.seeded_hits import SeededHits
from daqd.transports.emulated import EmulatedLink
from protocol.registers.gecco import SPI_WORD_BYTES
from protocol.stream_bytes import PADDING_BYTE


def without_padding(readout: bytes) -> bytes:
    """A readout without its groups of padding, the rule of the firmware written down once more."""
    groups = (readout[start : start + SPI_WORD_BYTES] for start in range(0, len(readout), SPI_WORD_BYTES))
    return b"".join(group for group in groups if set(group) != {PADDING_BYTE})


class HandClock:
    """Seconds that pass when `sleep` is called, and not otherwise."""

    def __init__(self) -> None:
        self.now = 1000.0

    def __call__(self) -> float:
        return self.now

    def sleep(self, seconds: float) -> None:
        self.now += seconds


class ScriptedSource(ByteSource):
    """Sends `pieces`, one with every request while the chips can send; an empty one is a moment of silence."""

    delivery = HitDelivery.READOUTS

    def __init__(self, *pieces: bytes) -> None:
        self.pieces = list(pieces)

    def take(self, elapsed_s: float, room: int, waiting: int) -> bytes:
        return self.pieces.pop(0) if self.pieces else b""

    @property
    def exhausted(self) -> bool:
        return not self.pieces

    @property
    def counters(self) -> dict[str, int]:
        return {"pieces_left": len(self.pieces)}


class EmulatedBench:
    """Model, link and driver, wired as the daemon does it, on one `HandClock`."""

    def __init__(
        self,
        source: ByteSource | None = None,
        board: dict[str, Any] | None = None,
        emulator: dict[str, Any] | None = None,
        real_time: bool = False,
    ) -> None:
        self.config = Config.model_validate(
            {"board": {"transport": "emulated", **(board or {})}, "emulator": emulator or {}}
        )
        settings = self.config.emulator
        self.clock = HandClock()
        section = self.config.board
        self.source = source or SeededHits(settings, section.chips, section.chip_version)
        clock = time.monotonic if real_time else self.clock
        self.model = GeccoModel(self.source, settings.fifo_bytes, clock, record=True)
        self.link = EmulatedLink(self.model, settings.link_latency_ms / 1000, self.clock, self.clock.sleep)
        self.board = GeccoBoard(
            self.link, self.config.board, self.clock, self.clock.sleep, now_ns=lambda: round(self.clock.now * 1e9)
        )

    @property
    def record(self) -> FifoRecord:
        assert self.model.fifo.record is not None
        return self.model.fifo.record

    def run(self) -> None:
        """From power-up to data."""
        self.board.open()
        self.board.configure()
        self.board.start()

    def read_all(self, timeout_s: float = 1.0) -> list[bytes]:
        """Readouts until the board has nothing within `timeout_s`."""
        readouts = []
        while (readout := self.board.read_readout(timeout_s)) is not None:
            readouts.append(readout.data)
        return readouts

    def without_padding(self, readouts: list[bytes]) -> bytes:
        """What the readouts hold of the board's bytes. Reads that found nothing are no readouts."""
        sizes = [size for size in self.record.reads if size]
        words = [without_padding(data) for data in readouts]
        assert [len(data) for data in words] == sizes
        return b"".join(words)
