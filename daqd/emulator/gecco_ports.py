"""What hangs on the ports of the GECCO board: the chips' shift register, the cards, the injection's pattern generator.

They take whatever is written, in any pieces, and know what was written. Only what is loaded counts.
"""

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from protocol.chips.chip_type import ChipValue, chip_type
from protocol.chips.chip_vector import Bits, read_configuration_bits, read_tdac_row_bits
from protocol.registers.gecco import ChipPort, Register
from protocol.registers.gecco_chip import CARD_CLOCK, CARD_DATA, CARD_LOAD

_MAX_BITS = 1 << 16
_CK1, _CK2, _SIN = int(ChipPort.CK1), int(ChipPort.CK2), int(ChipPort.SIN)
_LOAD, _TDAC_LOAD = int(ChipPort.LOAD), int(ChipPort.TDAC_LOAD)

_States = npt.NDArray[np.uint8]


class ChipRegisters:
    """The shift registers of a chain of chips, on two clocks that must not overlap.

    A rising CK1 takes the data wire, a rising CK2 moves everything one place on. `configuration` and `tdacs` are the
    bits of the last load of either kind, in the order in which they came, None before the first.
    """

    def __init__(self) -> None:
        self.configuration: Bits | None = None
        self.tdacs: Bits | None = None
        self.loads = 0
        self.tdac_loads = 0
        self._shifted: Bits = np.zeros(0, dtype=np.uint8)
        self._state = 0
        self._taken = 0

    def reset(self) -> None:
        """The chip's reset: it forgets."""
        self.configuration = self.tdacs = None
        self._shifted = self._shifted[:0]

    def write(self, data: bytes) -> None:
        """The states of the port that `data` is, one after the other."""
        states = np.frombuffer(data, dtype=np.uint8)
        rising = _rising(states, self._state)
        first, second = np.flatnonzero(rising & _CK1), np.flatnonzero(rising & _CK2)
        taken = np.concatenate([[self._taken], states[first] & _SIN]).astype(np.uint8)
        # Each CK2 moves on what the last CK1 before it took, which may have been in an earlier write.
        moved = (taken[np.searchsorted(first, second)] != 0).astype(np.uint8)
        start = len(self._shifted)
        self._shifted = np.concatenate([self._shifted, moved])
        for position in np.flatnonzero(rising & (_LOAD | _TDAC_LOAD)).tolist():
            so_far = self._shifted[: start + int(np.searchsorted(second, position))]
            if rising[position] & _LOAD:
                self.configuration, self.loads = so_far, self.loads + 1
            if rising[position] & _TDAC_LOAD:
                self.tdacs, self.tdac_loads = so_far, self.tdac_loads + 1
        self._shifted = self._shifted[-_MAX_BITS:]
        self._taken = int(taken[-1])
        self._state = int(states[-1]) if len(states) else self._state

    def chips(self, chips: int = 1, version: int = 4) -> tuple[tuple[ChipValue, ...], ...]:
        """The values that each chip of a chain holds; `ChipConfigError` where too few bits were loaded."""
        bits = self.configuration if self.configuration is not None else self._shifted[:0]
        return read_configuration_bits(bits, chip_type(version), chips)

    def tdac_row(self, row: int = 0, chips: int = 1, version: int = 4) -> tuple[ChipValue, ...]:
        """The TDAC row that each chip of a chain holds; `ChipConfigError` where too few bits were loaded."""
        bits = self.tdacs if self.tdacs is not None else self._shifted[:0]
        return read_tdac_row_bits(bits, chip_type(version), row, chips)


@dataclass(frozen=True)
class CardSetting:
    """What a card was set to: codes of its DACs, the first one first."""

    slot: int
    codes: tuple[int, ...]


class CardRegisters:
    """The shift registers on the cards: a rising clock takes the data wire, a rising load gives all to one card.

    The clocks between the two loads of the usual pattern move zeros in, which select no card.
    """

    def __init__(self) -> None:
        self.cards: dict[int, CardSetting] = {}
        self._shifted: list[int] = []
        self._state = 0

    def write(self, data: bytes) -> None:
        """The states of the port that `data` is, one after the other."""
        for state in data:
            rising = state & ~self._state
            self._state = state
            if rising & CARD_CLOCK:
                self._shifted.append(state & CARD_DATA and 1)
            if rising & CARD_LOAD:
                self._load()

    def _load(self) -> None:
        bits, self._shifted = self._shifted, []
        select = bits[-8:]
        if sum(select) != 1 or (len(bits) - 8) % 16:
            return
        slot = select.index(1) + 1
        text = "".join(map(str, bits[:-8]))
        codes = [int(text[start : start + 14], 2) for start in range(0, len(text), 16)]
        self.cards[slot] = CardSetting(slot, tuple(reversed(codes)))


class PatternGenerator:
    """The injection: settings by address, and whether it runs."""

    def __init__(self) -> None:
        self.settings: dict[int, int] = {}
        self.on_chip = False
        self.starts = 0
        self._registers = bytearray(256)
        self._running = False

    def write(self, register: int, data: bytes) -> None:
        """Bytes to one of its registers, one after the other."""
        for value in data:
            before, self._registers[register] = self._registers[register], value
            if register == Register.INJECTION_WRITE and value & ~before & 1:
                address = self._registers[Register.INJECTION_ADDRESS]
                self.settings[address] = self._registers[Register.INJECTION_DATA]
            elif register == Register.INJECTION_OUTPUT:
                self.on_chip = value == 2
            running = bool(self.settings) and not self._held
            self.starts += running and not self._running
            self._running = running

    @property
    def _held(self) -> bool:
        return bool(self._registers[Register.INJECTION_SUSPEND] | self._registers[Register.INJECTION_RESET])

    @property
    def running(self) -> bool:
        """Whether it injects: it is set up, and neither suspended nor in reset."""
        return self._running


def _rising(states: _States, before: int) -> _States:
    previous = np.concatenate([np.array([before], dtype=np.uint8), states[:-1]])
    rising: _States = states & ~previous
    return rising
