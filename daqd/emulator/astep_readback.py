"""Reading back in the emulated A-STEP firmware: the chips' shift registers, clocked out and packed into bytes."""

from collections import deque

import numpy as np
import numpy.typing as npt

from daqd.emulator.astep_ports import ChipPorts
from protocol.chips.chip_vector import Bits
from protocol.registers.astep_registers import READBACK_FIFO_BYTES, ReadbackCtrl, ShiftPort

_CK1, _CK2 = int(ShiftPort.CK1), int(ShiftPort.CK2)


class Readback:
    """Samples the output of one layer's shift register at each rising CK1 and packs the bits, first bit highest.

    `chain_bits`: length of a layer's shift register. A rising CK1 with the read-back wire high copies what the chips
    were last loaded with into the shift registers. Outputs beyond the third are the first one's; bytes for which the
    FIFO has no room are lost. `wire`: constant level of a broken output, None for a good one; `flipped`: bits that
    come out wrong. Not modelled: the CRC, and what happens to a shift register that is written again in between.
    """

    def __init__(self, chips: ChipPorts, chain_bits: int) -> None:
        self.wire: int | None = None
        self.flipped: set[int] = set()
        self.fifo: deque[int] = deque()
        self._chips = chips
        self._chain_bits = chain_bits
        self._control = 0
        self._state = 0
        self._registers: list[Bits] = []
        self._moved = 0
        self._bits: list[int] = []

    def control(self, value: int) -> None:
        """A write to the control register."""
        self._control = value
        if not value & ReadbackCtrl.CRC:
            self._bits = []

    def clock(self, data: bytes) -> None:
        """The states of the port that `data` is, one after the other."""
        states = np.frombuffer(data, np.uint8)
        before = np.concatenate([np.array([self._state], np.uint8), states[:-1]])
        self._state = int(states[-1])
        rising = states & ~before
        sampled, moved = np.flatnonzero(rising & _CK1), np.flatnonzero(rising & _CK2)
        if self._control & ReadbackCtrl.READ_BACK:
            if len(sampled):
                self._capture()
            return
        if self._control & ReadbackCtrl.CRC:
            self._sample(self._moved + np.searchsorted(moved, sampled))
        self._moved += len(moved)

    def _capture(self) -> None:
        self._moved = 0
        self._registers = []
        for layer in self._chips.layers:
            loaded = np.zeros(0, np.uint8) if layer.configuration is None else layer.configuration
            loaded = loaded[-self._chain_bits :]
            self._registers.append(np.concatenate([np.zeros(self._chain_bits - len(loaded), np.uint8), loaded]))

    def _sample(self, places: npt.NDArray[np.int64]) -> None:
        layer = self._control >> 2 & 0x1F
        if self.wire is not None or not self._registers:
            bits = [self.wire or 0] * len(places)
        else:
            register = self._registers[layer if layer < len(self._registers) else 0]
            inside = places < len(register)
            found = np.where(inside, register[np.minimum(places, len(register) - 1)], 0)
            bits = [bit ^ (place in self.flipped) for bit, place in zip(found.tolist(), places.tolist(), strict=True)]
        self._bits += bits
        whole = len(self._bits) // 8 * 8
        packed = np.packbits(np.array(self._bits[:whole], np.uint8)).tolist()
        self._bits = self._bits[whole:]
        self.fifo.extend(packed[: READBACK_FIFO_BYTES - len(self.fifo)])

    def read(self, length: int) -> bytes:
        """`length` bytes of the FIFO; 0xFF once it is empty."""
        return bytes(self.fifo.popleft() if self.fifo else 0xFF for _ in range(length))
