"""Recorded `.apx` files of layer frames played back through the emulated A-STEP board."""

from collections.abc import Iterator

import numpy as np

from daqd.emulator.emulated_chips import emulated_chips
from daqd.emulator.frame_source import FrameSource, SentFrames
from daqd.emulator.recorded_readouts import RecordedReadouts
from protocol.block import ReadoutBlock
from protocol.layer_scan import FrameLayout
from protocol.readout_decoder import ReadoutDecoder
from protocol.registers.astep_registers import MAX_LAYERS

_FIRST_LAYER_ID = 1


class RecordedFrames(FrameSource):
    """What is read of the FIFO at a time is exactly one recorded readout; see `RecordedReadouts` for when it comes.

    The bytes are played as they are. `decoder` finds the frames among them, for the counters of the layers.
    """

    as_recorded = True

    def __init__(self, readouts: RecordedReadouts, chip_version: int, decoder: ReadoutDecoder) -> None:
        self.chip_version = chip_version
        self.hit_bytes = emulated_chips(chip_version).hit_bytes
        self._readouts = readouts
        self._decoder = decoder

    def take(self, elapsed_s: float, room: int, layout: FrameLayout, waiting: int = 0) -> Iterator[SentFrames]:
        """The next readout, when the FIFO is empty and its time has come; it is lost where layer 0 is not read."""
        data = self._readouts.take(elapsed_s, room, waiting)
        if not data:
            return
        layers = self._decoder.decode(ReadoutBlock.from_columns([data], [0], [0]))["layer"]
        # The firmware numbers its layers from 1; other numbers are in nobody's register.
        counted = np.bincount(layers, minlength=MAX_LAYERS + 1)[_FIRST_LAYER_ID : MAX_LAYERS + _FIRST_LAYER_ID]
        yield SentFrames(data, np.array([len(data)]), np.zeros(1, np.int64), tuple(counted.tolist()), (0,) * MAX_LAYERS)

    @property
    def exhausted(self) -> bool:
        """Whether the last readout was played."""
        return self._readouts.exhausted

    @property
    def counters(self) -> dict[str, int]:
        """Readouts played, and how many there are."""
        return self._readouts.counters
