"""What hangs on the ports of the A-STEP board: shift registers and SPI of the chips, the injection's generator.

They take whatever is written, in any pieces, and show what they were set to.
"""

from daqd.emulator.gecco_ports import ChipRegisters
from protocol.registers.astep_firmware import Firmware
from protocol.registers.astep_registers import (
    LAYER_LOAD,
    LAYER_TDAC_LOAD,
    MAX_LAYERS,
    MOSI_FIFO_BYTES,
    InjectionCtrl,
    Register,
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
