"""The registers of the emulated A-STEP firmware: values, reset values, the time stamp, and what the host may write."""

from collections.abc import Callable
from typing import Final

from protocol.registers.astep_firmware import Firmware
from protocol.registers.astep_register_map import NEWEST_MAP, REGISTER_MAPS, RegisterMap
from protocol.registers.astep_registers import (
    CORE_CLOCK_HZ,
    LAYER_CTRL,
    ClockCtrl,
    FrameTagCtrl,
    InjectionCtrl,
    IoCtrl,
    ReadoutCtrl,
    Register,
    TimestampCtrl,
)

TIMESTAMP_START: Final = 1 << 63
"""What the 64-bit time stamp starts from when it is switched on."""

_ALL: Final = 1 << 32
_COUNTER_MASK: Final = (1 << 64) - 1


class DividedTimestamp:
    """A counter that goes on by one each time its divider has counted `match` core clocks.

    The divider counts up to `match` and down again. A write to `match` sets it to 0, whichever way it was counting:
    on the way down it then runs through all 32 bits, and the time stamp stands still for 54 s. So it does where the
    divider is set to a value beyond the match. `started` is when the time stamp begins to count; all times in seconds.
    """

    def __init__(self, match: int, start: int) -> None:
        self.match = match
        self.counter = start
        self.counting = False
        self.dividing = False
        self._position = 0.0
        self._frozen_clocks = 0.0
        self._at = 0.0

    @property
    def frozen(self) -> bool:
        """Whether the divider is on its way through all of its 32 bits."""
        return self._frozen_clocks > 0

    @property
    def divider(self) -> int:
        """The divider's value."""
        position = int(self._position)
        return position if position < self.match else 2 * self.match - position

    @property
    def _down(self) -> bool:
        return self._position >= self.match

    def advance(self, now: float) -> None:
        """Let the time go by until `now`."""
        clocks, self._at = (now - self._at) * CORE_CLOCK_HZ, now
        if not self.dividing:
            if self.counting:
                self.counter = (self.counter + int(clocks)) & _COUNTER_MASK
            return
        waited = min(clocks, self._frozen_clocks)
        self._frozen_clocks -= waited
        position = self._position + clocks - waited
        if self.counting:
            self.counter = (self.counter + int(position // self.match - self._position // self.match)) & _COUNTER_MASK
        self._position = position % (2 * self.match)

    def set_match(self, match: int) -> None:
        """A write to the match, which sets the divider to 0."""
        down = self._down
        self.match = max(1, match)
        self._place(0, down)

    def set_divider(self, value: int) -> None:
        """A write to the divider itself."""
        self._place(value, self._down)

    def _place(self, value: int, down: bool) -> None:
        missed = value == 0 or value > self.match if down else value >= self.match
        self._frozen_clocks = float(value or _ALL) if down and missed else float(_ALL - value) if missed else 0.0
        self._position = float(2 * self.match - min(max(value, 1), self.match) if down else min(value, self.match - 1))


TEMPERATURE_CODE, VCCINT_CODE = 2545, 1365
"""About 40 °C and 1.0 V, 12 bits."""

_MATCH_AT_RESET: Final = 4
_RESET: Final = {
    Register.CHIP_VERSION: 3,
    Register.CLOCK_CTRL: int(ClockCtrl.EXTERNAL_DIFFERENTIAL),
    Register.XADC_TEMPERATURE: TEMPERATURE_CODE << 4,
    Register.XADC_VCCINT: VCCINT_CODE << 4,
    Register.SPI_DIVIDER: 4,
    Register.HK_SPI_DIVIDER: 4,
    **dict.fromkeys(LAYER_CTRL, 0x07),
    Register.FRAME_TAG_CTRL: int(FrameTagCtrl.ENABLE),
    Register.TLU_TRIGGER_DELAY: 2,
    Register.TLU_BUSY_DURATION: 16,
    Register.NODATA_CONTINUE: 5,
    Register.INJECTION_CTRL: int(InjectionCtrl.SUSPEND | InjectionCtrl.SYNCED),
    Register.READOUT_CTRL: int(ReadoutCtrl.PACKET_MODE),
    Register.IO_CTRL: 0x18,
    Register.HK_CONVERSION_MATCH: 10,
    Register.TIMESTAMP_DIVIDER_MATCH: _MATCH_AT_RESET,
    Register.FRAME_TAG_DIVIDER_MATCH: _MATCH_AT_RESET,
}

_NOT_KEPT: Final = {
    Register.CLOCK_CTRL: int(ClockCtrl.CURRENT),
    Register.SHIFT_INPUT: 0x07,
    Register.INJECTION_CTRL: 0x60,
    Register.INJECTION_ADDRESS: 0xF0,
}
"""Bits that do not take what is written: inputs of the firmware, or not there."""

_CLOCKS: Final = int(ClockCtrl.SAMPLE_CLOCK | ClockCtrl.TIMESTAMP_CLOCK)
_IO_CLOCKS: Final = int(IoCtrl.SAMPLE_CLOCK | IoCtrl.TIMESTAMP_CLOCK)


def map_in_firmware(firmware: Firmware) -> RegisterMap:
    """The map that the emulated board has; for a version that nobody knows, that of the nearest known one."""
    built = firmware.built
    if built is None:
        return NEWEST_MAP
    return next((each for each in reversed(REGISTER_MAPS) if each.since <= built), REGISTER_MAPS[0])


class AstepRegisterFile:
    """The registers of `firmware` after a reset at the time `now` (seconds).

    `values[register]` is a register's value, 0 where the firmware does not have it.
    """

    def __init__(self, firmware: Firmware, now: float = 0.0) -> None:
        self.firmware = firmware
        self.map = registers = map_in_firmware(firmware)
        self._bytes = bytearray(registers.end)
        self._readable = _addresses(registers, registers.readable)
        self._writable = _addresses(registers, registers.writable)
        self._kept = {registers.address(each): ~bits & 0xFF for each, bits in _NOT_KEPT.items() if registers.has(each)}
        for register, value in _RESET.items():
            self[register] = value
        self[Register.FIRMWARE_ID] = firmware.id
        self[Register.FIRMWARE_VERSION] = firmware.version
        # The oldest maps have eight bits: divided, busy on T0, and the narrowest time stamp.
        self[Register.TIMESTAMP_CTRL] = 0x10 if registers.has(Register.CLOCK_CTRL) else 0x0A
        self._tagged = registers.has(Register.FRAME_TAG_CTRL)
        if self._tagged:
            self._ctrl, self._counter = Register.FRAME_TAG_CTRL, Register.FRAME_TAG_COUNTER
            self._divider, self._match = Register.FRAME_TAG_DIVIDER, Register.FRAME_TAG_DIVIDER_MATCH
        else:
            self._ctrl, self._counter = Register.TIMESTAMP_CTRL, Register.TIMESTAMP_COUNTER
            self._divider, self._match = Register.TIMESTAMP_DIVIDER, Register.TIMESTAMP_DIVIDER_MATCH
        self.timestamp = DividedTimestamp(_MATCH_AT_RESET, 0 if self._tagged else TIMESTAMP_START)
        self.timestamp.advance(now)
        self._obey_timestamp_ctrl()

    def __getitem__(self, register: Register) -> int:
        if not self.map.has(register):
            return 0
        first = self.map.address(register)
        return int.from_bytes(self._bytes[first : first + self.map.size(register)], "little")

    def __setitem__(self, register: Register, value: int) -> None:
        if self.map.has(register):
            first, size = self.map.address(register), self.map.size(register)
            self._bytes[first : first + size] = value.to_bytes(size, "little")

    def write(self, address: int, value: int, now: float) -> None:
        """A byte from the host; nothing happens where it cannot be written."""
        if address not in self._writable:
            return
        self.refresh(now)
        self._bytes[address] = value & self._kept.get(address, 0xFF)
        if self._is_in(address, self._ctrl):
            self._obey_timestamp_ctrl()
        elif address == self.map.address(self._match):
            self.timestamp.set_match(self[self._match])
        elif self._is_in(address, self._match):
            self.timestamp.match = max(1, self[self._match])
        elif self._is_in(address, self._divider):
            self.timestamp.set_divider(self[self._divider])
        elif self._is_in(address, self._counter):
            self.timestamp.counter = self[self._counter]

    def _is_in(self, address: int, register: Register) -> bool:
        first = self.map.address(register)
        return first <= address < first + self.map.size(register)

    def _obey_timestamp_ctrl(self) -> None:
        ctrl = self[self._ctrl]
        self.timestamp.dividing = bool(ctrl & (FrameTagCtrl.USE_DIVIDER if self._tagged else TimestampCtrl.USE_DIVIDER))
        self.timestamp.counting = bool(ctrl & TimestampCtrl.ENABLE)
        if not self.timestamp.counting and not self._tagged:
            self.timestamp.counter = TIMESTAMP_START

    def refresh(self, now: float) -> None:
        """Registers that change by themselves as time goes by."""
        self.timestamp.advance(now)
        counter_bytes = self.map.size(self._counter)
        self[self._counter] = self.timestamp.counter & (1 << 8 * counter_bytes) - 1
        self[self._divider] = self.timestamp.divider

    def read(self, address: int, length: int) -> bytes:
        """`length` bytes of that address; none where it cannot be read."""
        return bytes((self._bytes[address],)) * length if address in self._readable else b""

    @property
    def chip_version(self) -> int | None:
        """The version of the chips that the firmware reads: what it was set to, or was built for."""
        return self[Register.CHIP_VERSION] if self.map.has(Register.CHIP_VERSION) else self.firmware.chip_version

    @property
    def clocks_on(self) -> bool:
        """Whether the chips have both their clocks."""
        if self.map.has(Register.CLOCK_CTRL):
            return self[Register.CLOCK_CTRL] & _CLOCKS == _CLOCKS
        return self[Register.IO_CTRL] & _IO_CLOCKS == _IO_CLOCKS

    @property
    def timestamp_width(self) -> int:
        """0…3 for 16, 32, 48 or 64 bits of the time stamp in the frames."""
        return 1 if self._tagged else self[Register.TIMESTAMP_CTRL] >> 4 & 3

    @property
    def packet_mode(self) -> bool:
        """Whether only whole frames are given to the host; a firmware without the register gives bytes at once."""
        return bool(self[Register.READOUT_CTRL] & ReadoutCtrl.PACKET_MODE)


def _addresses(registers: RegisterMap, kept: Callable[[Register], bool]) -> frozenset[int]:
    """All addresses of the registers that are `kept`."""
    return frozenset(
        address
        for register in registers.registers
        if kept(register)
        for address in range(registers.address(register), registers.address(register) + registers.size(register))
    )
