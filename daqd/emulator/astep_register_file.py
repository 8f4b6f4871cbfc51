"""The registers of the emulated A-STEP firmware: values, reset values, and what the host may write."""

from collections.abc import Callable
from typing import Final

from protocol.registers.astep_register_map import RegisterMap
from protocol.registers.astep_registers import (
    LAYER_CTRL,
    ClockCtrl,
    FrameTagCtrl,
    InjectionCtrl,
    IoCtrl,
    ReadoutCtrl,
    Register,
)

TEMPERATURE_CODE, VCCINT_CODE = 2545, 1365
"""About 40 °C and 1.0 V, 12 bits."""

_RESET: Final = {
    Register.CHIP_VERSION: 3,
    Register.CLOCK_CTRL: int(ClockCtrl.EXTERNAL_DIFFERENTIAL),
    Register.XADC_TEMPERATURE: TEMPERATURE_CODE << 4,
    Register.XADC_VCCINT: VCCINT_CODE << 4,
    Register.SPI_DIVIDER: 4,
    Register.HK_SPI_DIVIDER: 4,
    **dict.fromkeys(LAYER_CTRL, 0x07),
    Register.FRAME_TAG_CTRL: int(FrameTagCtrl.ENABLE),
    Register.TIMESTAMP_CTRL: 0x10,
    Register.TLU_TRIGGER_DELAY: 2,
    Register.TLU_BUSY_DURATION: 16,
    Register.NODATA_CONTINUE: 5,
    Register.INJECTION_CTRL: int(InjectionCtrl.SUSPEND | InjectionCtrl.SYNCED),
    Register.READOUT_CTRL: int(ReadoutCtrl.PACKET_MODE),
    Register.HK_CONVERSION_MATCH: 10,
    Register.TIMESTAMP_DIVIDER_MATCH: 4,
    Register.FRAME_TAG_DIVIDER_MATCH: 4,
}

_CLOCKS: Final = int(ClockCtrl.SAMPLE_CLOCK | ClockCtrl.TIMESTAMP_CLOCK)
_IO_CLOCKS: Final = int(IoCtrl.SAMPLE_CLOCK | IoCtrl.TIMESTAMP_CLOCK)


class AstepRegisterFile:
    """The registers of a firmware with the map `registers`, after a reset.

    `values[register]` is a register's value, 0 where the firmware does not have it.
    """

    def __init__(self, registers: RegisterMap, firmware_id: int, firmware_version: int) -> None:
        self.map = registers
        self._firmware_id = firmware_id
        self._bytes = bytearray(registers.end)
        self._readable = _addresses(registers, registers.readable)
        self._writable = _addresses(registers, registers.writable)
        for register, value in _RESET.items():
            self[register] = value
        self[Register.FIRMWARE_ID] = firmware_id
        self[Register.FIRMWARE_VERSION] = firmware_version
        # The clocks moved from this register to one of their own.
        self[Register.IO_CTRL] = 0x18 if registers.has(Register.CLOCK_CTRL) else 0x08

    def __getitem__(self, register: Register) -> int:
        if not self.map.has(register):
            return 0
        first = self.map.address(register)
        return int.from_bytes(self._bytes[first : first + self.map.size(register)], "little")

    def __setitem__(self, register: Register, value: int) -> None:
        if self.map.has(register):
            first, size = self.map.address(register), self.map.size(register)
            self._bytes[first : first + size] = value.to_bytes(size, "little")

    def write(self, address: int, value: int) -> None:
        """A byte from the host; nothing happens where it cannot be written."""
        if address in self._writable:
            self._bytes[address] = value

    def read(self, address: int, length: int) -> bytes:
        """`length` bytes of that address; none where it cannot be read."""
        return bytes((self._bytes[address],)) * length if address in self._readable else b""

    @property
    def chip_version(self) -> int:
        """The version of the chips that the firmware reads: what it was set to, or was built for."""
        if self.map.has(Register.CHIP_VERSION):
            return self[Register.CHIP_VERSION]
        return self._firmware_id & 0xF

    @property
    def clocks_on(self) -> bool:
        """Whether the chips have both their clocks."""
        if self.map.has(Register.CLOCK_CTRL):
            return self[Register.CLOCK_CTRL] & _CLOCKS == _CLOCKS
        return self[Register.IO_CTRL] & _IO_CLOCKS == _IO_CLOCKS


def _addresses(registers: RegisterMap, kept: Callable[[Register], bool]) -> frozenset[int]:
    """All addresses of the registers that are `kept`."""
    return frozenset(
        address
        for register in registers.registers
        if kept(register)
        for address in range(registers.address(register), registers.address(register) + registers.size(register))
    )
