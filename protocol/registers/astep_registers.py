"""The registers of the A-STEP firmware: addresses, sizes, bits (docs/formats.md, "A-STEP registers")."""

from enum import IntFlag
from typing import Final

from protocol.errors import AstepError
from protocol.registers.register_table import RegisterTable

MAX_LAYERS: Final = 3
CORE_CLOCK_HZ: Final = 80_000_000
SPI_BASE_HZ: Final = 40_000_000
MOSI_FIFO_BYTES: Final = 256
"""Bytes that may wait to be sent to the chips of a layer."""


class Register(RegisterTable):
    """Addresses of the registers of the firmware."""

    FIRMWARE_ID = 0x00
    FIRMWARE_VERSION = 0x04
    CHIP_VERSION = 0x08
    CLOCK_CTRL = 0x09
    """Bits of `ClockCtrl`."""
    XADC_TEMPERATURE = 0x0A
    XADC_VCCINT = 0x0C
    SPI_DIVIDER = 0x1D
    """SPI clock of all layers: see `spi_divider`."""
    LAYER_0_CTRL = 0x1F
    """Bits of `LayerCtrl`."""
    LAYER_1_CTRL = 0x20
    LAYER_2_CTRL = 0x21
    LAYER_0_STATUS = 0x22
    """Bits of `LayerStatus`."""
    LAYER_1_STATUS = 0x23
    LAYER_2_STATUS = 0x24
    LAYER_0_FRAMES = 0x25
    """Frames that came from the chips."""
    LAYER_1_FRAMES = 0x29
    LAYER_2_FRAMES = 0x2D
    LAYER_0_IDLES = 0x31
    """Idle bytes that came from the chips."""
    LAYER_1_IDLES = 0x35
    LAYER_2_IDLES = 0x39
    LAYER_0_WRONG_LENGTH = 0x3D
    """Frames that were not as long as those of the chip version are."""
    LAYER_1_WRONG_LENGTH = 0x41
    LAYER_2_WRONG_LENGTH = 0x45
    LAYER_0_MOSI = 0x49
    """FIFO of bytes to the chips."""
    LAYER_0_MOSI_SIZE = 0x4A
    """Bytes that wait in it."""
    LAYER_1_MOSI = 0x4E
    LAYER_1_MOSI_SIZE = 0x4F
    LAYER_2_MOSI = 0x53
    LAYER_2_MOSI_SIZE = 0x54
    TIMESTAMP_CTRL = 0x76
    """Bits of `TimestampCtrl`."""
    TIMESTAMP_COUNTER = 0x7C
    NODATA_CONTINUE = 0x90
    """Idle bytes after which autoread stops."""
    SHIFT_REGISTER = 0x91
    """Port of the chips' shift registers: bits of `ShiftPort`."""
    INJECTION_CTRL = 0x9F
    """Bits of `InjectionCtrl`."""
    INJECTION_ADDRESS = 0xA0
    INJECTION_DATA = 0xA1
    READOUT_CTRL = 0xA2
    """Bits of `ReadoutCtrl`."""
    READOUT = 0xA3
    """FIFO of layer frames; 0xFF once it is empty."""
    READOUT_SIZE = 0xA4
    """Bytes that wait in it."""
    IO_CTRL = 0xA8
    """Bits of `IoCtrl`."""
    CARDS = 0xAA
    """Port of the shift registers on the GECCO cards: bit 0 clock, 1 data, 2 load."""
    TIMESTAMP_DIVIDER = 0xAF
    """Core clock over tick rate of the time stamp."""

    @property
    def size(self) -> int:
        """How many bytes it has, at addresses from its own on; FIFOs and ports have 1."""
        return _SIZES.get(self, 1)


_SIZES: Final = {
    Register.XADC_TEMPERATURE: 2,
    Register.XADC_VCCINT: 2,
    Register.TIMESTAMP_CTRL: 2,
    Register.FIRMWARE_ID: 4,
    Register.FIRMWARE_VERSION: 4,
    Register.LAYER_0_FRAMES: 4,
    Register.LAYER_1_FRAMES: 4,
    Register.LAYER_2_FRAMES: 4,
    Register.LAYER_0_IDLES: 4,
    Register.LAYER_1_IDLES: 4,
    Register.LAYER_2_IDLES: 4,
    Register.LAYER_0_WRONG_LENGTH: 4,
    Register.LAYER_1_WRONG_LENGTH: 4,
    Register.LAYER_2_WRONG_LENGTH: 4,
    Register.LAYER_0_MOSI_SIZE: 4,
    Register.LAYER_1_MOSI_SIZE: 4,
    Register.LAYER_2_MOSI_SIZE: 4,
    Register.READOUT_SIZE: 4,
    Register.TIMESTAMP_DIVIDER: 4,
    Register.TIMESTAMP_COUNTER: 8,
}

LAYER_CTRL: Final = (Register.LAYER_0_CTRL, Register.LAYER_1_CTRL, Register.LAYER_2_CTRL)
LAYER_STATUS: Final = (Register.LAYER_0_STATUS, Register.LAYER_1_STATUS, Register.LAYER_2_STATUS)
LAYER_MOSI: Final = (Register.LAYER_0_MOSI, Register.LAYER_1_MOSI, Register.LAYER_2_MOSI)
LAYER_MOSI_SIZE: Final = (Register.LAYER_0_MOSI_SIZE, Register.LAYER_1_MOSI_SIZE, Register.LAYER_2_MOSI_SIZE)


class ClockCtrl(IntFlag):
    """Bits of `Register.CLOCK_CTRL`; CURRENT is read only."""

    EXTERNAL = 1 << 0
    EXTERNAL_DIFFERENTIAL = 1 << 1
    CURRENT = 1 << 2
    SAMPLE_CLOCK = 1 << 3
    TIMESTAMP_CLOCK = 1 << 4


class LayerCtrl(IntFlag):
    """Bits of `LAYER_CTRL`. Hold and reset are wired to layer 0 for all; the chip select is that of any layer."""

    HOLD = 1 << 0
    RESET = 1 << 1
    DISABLE_AUTOREAD = 1 << 2
    CHIP_SELECT = 1 << 3
    DISABLE_MISO = 1 << 4
    LOOPBACK = 1 << 5


class LayerStatus(IntFlag):
    """Bits of `LAYER_STATUS`."""

    INTERRUPT_N = 1 << 0
    """The chips have nothing to say."""
    FRAME_DECODING = 1 << 1


class TimestampCtrl(IntFlag):
    """Bits of `Register.TIMESTAMP_CTRL`; bits 5–4 are the width, see `timestamp_ctrl`."""

    ENABLE = 1 << 0
    USE_DIVIDER = 1 << 1
    USE_TLU = 1 << 2
    BUSY_ON_T0 = 1 << 3
    FORCE_VALUE = 1 << 6
    FORCE_LSB_0 = 1 << 7


class ShiftPort(IntFlag):
    """Bits of `Register.SHIFT_REGISTER`. There is no TDAC load for layer 2: the byte has no ninth bit."""

    CK1 = 1 << 0
    CK2 = 1 << 1
    SIN = 1 << 2
    LOAD_0 = 1 << 3
    LOAD_1 = 1 << 4
    LOAD_2 = 1 << 5
    TDAC_LOAD_0 = 1 << 6
    TDAC_LOAD_1 = 1 << 7


LAYER_LOAD: Final = (ShiftPort.LOAD_0, ShiftPort.LOAD_1, ShiftPort.LOAD_2)
LAYER_TDAC_LOAD: Final = (ShiftPort.TDAC_LOAD_0, ShiftPort.TDAC_LOAD_1)


class InjectionCtrl(IntFlag):
    """Bits of `Register.INJECTION_CTRL`; SYNCED is read only."""

    RESET = 1 << 0
    SUSPEND = 1 << 1
    SYNCED = 1 << 2
    TRIGGER = 1 << 3
    WRITE = 1 << 4


class ReadoutCtrl(IntFlag):
    """Bits of `Register.READOUT_CTRL`."""

    PACKET_MODE = 1 << 0
    """Only whole frames are handed out."""


class IoCtrl(IntFlag):
    """Bits of `Register.IO_CTRL` that are of use here."""

    SAMPLE_CLOCK_SINGLE_ENDED = 1 << 2
    INJECTION_CARD = 1 << 3


def spi_divider(spi_hz: float) -> int:
    """`Register.SPI_DIVIDER` for an SPI clock; `AstepError` where 0…255 cannot express it."""
    divider = int(SPI_BASE_HZ / (2 * spi_hz)) - 1 if spi_hz > 0 else -1
    if not 0 <= divider <= 0xFF:
        raise AstepError(f"an SPI clock of {spi_hz:g} Hz is impossible: {SPI_BASE_HZ / 512:g} to {SPI_BASE_HZ / 2:g}")
    return divider


def timestamp_ctrl(bits: int) -> int:
    """`Register.TIMESTAMP_CTRL` for a running time stamp of 16, 32, 48 or 64 `bits` on the divided clock."""
    if bits not in (16, 32, 48, 64):
        raise AstepError(f"a time stamp of {bits} bits is impossible: 16, 32, 48 or 64")
    return TimestampCtrl.ENABLE | TimestampCtrl.USE_DIVIDER | (bits // 16 - 1) << 4
