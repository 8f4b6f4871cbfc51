"""What hangs on the ports of the A-STEP board: shift registers and SPI of the chips, the injection's generator.

They take whatever is written, in any pieces, and show what they were set to.
"""

from collections import deque

import numpy as np
import numpy.typing as npt

from daqd.emulator.gecco_ports import ChipRegisters
from protocol.chips.chip_vector import Bits
from protocol.registers.astep_firmware import Firmware
from protocol.registers.astep_registers import (
    LAYER_LOAD,
    LAYER_TDAC_LOAD,
    MAX_LAYERS,
    MOSI_FIFO_BYTES,
    READBACK_FIFO_BYTES,
    InjectionCtrl,
    ReadbackCtrl,
    Register,
    ShiftPort,
)
from protocol.registers.gecco import ChipPort

_CLOCKS_AND_DATA = ChipPort.CK1 | ChipPort.CK2 | ChipPort.SIN


class ChipPorts:
    """The shift registers of the layers: clocks and data go to all, a load to one of them.

    `firmware` tells which layers have a pin for the TDAC load.
    """

    def __init__(self, firmware: Firmware) -> None:
        self.layers = [ChipRegisters() for _ in range(MAX_LAYERS)]
        self._states = [
            bytes(_state_for(layer, state, firmware.loads_tdacs_by_port(layer)) for state in range(256))
            for layer in range(MAX_LAYERS)
        ]

    def write(self, data: bytes) -> None:
        """The states of the port that `data` is, one after the other."""
        for registers, states in zip(self.layers, self._states, strict=True):
            registers.write(data.translate(states))

    def reset(self) -> None:
        """The chips' reset, which all layers share."""
        for registers in self.layers:
            registers.reset()


def _state_for(layer: int, state: int, tdac_pin: bool) -> int:
    """What the chips of `layer` see of a state of the port."""
    seen = state & _CLOCKS_AND_DATA
    if state & LAYER_LOAD[layer]:
        seen |= ChipPort.LOAD
    if tdac_pin and state & LAYER_TDAC_LOAD[layer]:
        seen |= ChipPort.TDAC_LOAD
    return seen


class MosiFifo:
    """Bytes on their way to the chips of a layer; `frames` are those that came while the chips were selected."""

    def __init__(self) -> None:
        self.frames: list[bytes] = []
        self.lost_bytes = 0
        self._waiting = bytearray()
        self._seen = bytearray()

    def __len__(self) -> int:
        return len(self._waiting)

    def write(self, data: bytes) -> None:
        """Take in what fits."""
        room = MOSI_FIFO_BYTES - len(self._waiting)
        self._waiting += data[:room]
        self.lost_bytes += max(0, len(data) - room)

    def drain(self, length: int, *, selected: bool) -> int:
        """Send up to `length` bytes; how many were sent to selected chips."""
        sent = bytes(self._waiting[:length])
        del self._waiting[:length]
        if not selected:
            return 0
        self._seen += sent
        return len(sent)

    def deselect(self) -> None:
        """The chips are selected no more: what they have seen is a frame."""
        if self._seen:
            self.frames.append(bytes(self._seen))
            self._seen.clear()


class PatternGenerator:
    """The injection: settings by address, and whether it runs."""

    def __init__(self) -> None:
        self.settings: dict[int, int] = {}
        self._registers = {Register.INJECTION_CTRL: int(InjectionCtrl.SUSPEND)}

    def write(self, register: Register, data: bytes) -> None:
        """Bytes to one of its registers, one after the other; those to others are not for it."""
        for value in data:
            before, self._registers[register] = self._registers.get(register, 0), value
            if register == Register.INJECTION_CTRL and value & ~before & InjectionCtrl.WRITE:
                address = self._registers.get(Register.INJECTION_ADDRESS, 0)
                self.settings[address] = self._registers.get(Register.INJECTION_DATA, 0)

    @property
    def running(self) -> bool:
        """Whether it injects: it has settings, and is neither suspended nor in reset."""
        held = InjectionCtrl.SUSPEND | InjectionCtrl.RESET
        return bool(self.settings) and not self._registers[Register.INJECTION_CTRL] & held


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
