"""An emulated A-STEP board on the table, with a clock that only moves when somebody sleeps."""

import time
from typing import Any

import numpy as np
import numpy.typing as npt

from daqd.boards.astep import AstepBoard
from daqd.configuration.config import Config
from daqd.emulator.astep_model import AstepModel
from daqd.emulator.emulated_chips import emulated_chips
from daqd.emulator.factory import emulated_firmware
from daqd.emulator.seeded_frames import SeededFrames
from daqd.transports.emulated import EmulatedLink
from protocol.readout_decoder import ReadoutDecoder
from tests.daqd.emulated_bench import HandClock


class AstepBench:
    """Model, link and driver, wired as the daemon does it, on one `HandClock`."""

    def __init__(
        self,
        board: dict[str, Any] | None = None,
        emulator: dict[str, Any] | None = None,
        astep: dict[str, Any] | None = None,
        real_time: bool = False,
    ) -> None:
        self.config = Config.model_validate(
            {
                "board": {"kind": "astep", "transport": "emulated", **(board or {})},
                "emulator": {"hits_limit": 500, **(emulator or {})},
                "astep": astep or {},
            }
        )
        settings, section = self.config.emulator, self.config.board
        self.clock = HandClock()
        clock = time.monotonic if real_time else self.clock
        self.source = SeededFrames(settings, section.chips, section.layers, section.chip_version)
        firmware = emulated_firmware(self.config)
        self.model = AstepModel(
            self.source, settings.fifo_bytes, clock, True, firmware, section.chips, settings.firmware_damage
        )
        self.link = EmulatedLink(self.model, settings.link_latency_ms / 1000, self.clock, self.clock.sleep)
        self.board = AstepBoard(
            self.link, self.config, self.clock, self.clock.sleep, now_ns=lambda: round(self.clock.now * 1e9)
        )
        self.said: list[str] = []
        exchange = self.model.exchange

        def listen(data: bytes) -> bytes:
            self.said.append(data.hex())
            return exchange(data)

        self.model.exchange = listen  # type: ignore[method-assign]

    def take_said(self) -> list[str]:
        """What went over the link to the board since the last time, in hex."""
        said, self.said[:] = list(self.said), []
        return said

    def run(self) -> None:
        """From power-up to data."""
        self.board.open()
        self.board.configure()
        self.board.start()

    def read_all(self) -> list[bytes]:
        """Readouts until the emulated board is exhausted and nothing is left."""
        readouts = []
        while (readout := self.board.read_readout(0.01)) is not None or not self.model.exhausted:
            if readout is not None:
                readouts.append(readout.data)
        return readouts

    def decode(self, readouts: list[bytes]) -> tuple[npt.NDArray[np.void], ReadoutDecoder]:
        """The hits of `readouts`, as whoever reads the files will see them."""
        readout_class = self.board.readout_class
        decoder = readout_class.make_decoder(self.board.description)
        kept = [readout_class(data, number, 0) for number, data in enumerate(readouts)]
        table = decoder.decode(kept)
        decoder.flush()
        return table, decoder

    def compare(self, table: npt.NDArray[np.void]) -> None:
        """Every hit of `table` is as the emulated board knows it, none is missing."""
        chips = emulated_chips(self.config.board.chip_version)
        assert table.dtype == chips.layer_hit_class.DTYPE
        expected = self.source.expected_hits(self.config.emulator.hits_limit)
        assert len(table) == len(expected) == self.config.emulator.hits_limit
        for name in (*chips.known, "layer"):  # the FPGA's time stamp is known uncut
            assert table[name].tolist() == expected[name].tolist(), name
        mask = (1 << self.config.astep.timestamp_bits) - 1
        assert table["fpga_timestamp"].tolist() == [stamp & mask for stamp in expected["fpga_timestamp"].tolist()]
