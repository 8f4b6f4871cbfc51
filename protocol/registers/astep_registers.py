"""The registers of the A-STEP firmware: names, sizes and bits (docs/formats.md, "A-STEP registers").

`protocol.registers.astep_register_map` says where they are.
"""

from datetime import date
from enum import Enum, Flag, IntFlag, auto
from typing import Final

from protocol.errors import AstepError

MAX_LAYERS: Final = 3
CORE_CLOCK_HZ: Final = 80_000_000
SPI_BASE_HZ: Final = 40_000_000
MOSI_FIFO_BYTES: Final = 256
"""Bytes that may wait to be sent to the chips of a layer."""
READBACK_FIFO_BYTES: Final = 1024
"""Bytes of read-back configuration that may wait to be read."""


_TIMESTAMP_SINCE = date(2025, 11, 5)
_READBACK_SINCE = date(2025, 11, 20)
CLOCK_CTRL_SINCE: Final = date(2025, 11, 24)
"""Since then there is CLOCK_CTRL, and the time stamp comes most significant byte first."""

_CHIP_VERSION_SINCE = date(2025, 12, 5)
MAP_DATES: Final = (
    date(2025, 8, 31), _TIMESTAMP_SINCE, _READBACK_SINCE, CLOCK_CTRL_SINCE, _CHIP_VERSION_SINCE, date(2026, 1, 27)
)  # fmt: skip
"""The builds from which on registers have other addresses."""


class Access(Flag):
    """What the host can do with a register. Reading one that cannot be read hangs the firmware."""

    READ = auto()
    WRITE = auto()
    BOTH = READ | WRITE


_READ, _WRITE, _BOTH = Access.READ, Access.WRITE, Access.BOTH


class Register(Enum):
    """Registers of the firmware in the order of their addresses; the value is the firmware's own name.

    A register has no address of its own: `RegisterMap` says where a firmware keeps it, and whether it has it. `size`:
    bytes in the newest firmware that has it; FIFOs and ports have 1. Firmwares built from `since` until before `until`
    have it.
    """

    _value_: str

    def __init__(
        self, _: str, size: int, access: Access = _BOTH, since: date = date.min, until: date = date.max
    ) -> None:
        self.size = size
        self.access = access
        self.since = since
        self.until = until

    def __new__(cls, firmware_name: str, *_: object) -> "Register":
        """A member by the firmware's name for it."""
        member = object.__new__(cls)
        member._value_ = firmware_name
        return member

    FIRMWARE_ID = "hk_firmware_id", 4, _READ
    FIRMWARE_VERSION = "hk_firmware_version", 4, _READ
    CHIP_VERSION = "chip_version", 1, _BOTH, _CHIP_VERSION_SINCE
    CLOCK_CTRL = "clock_ctrl", 1, _BOTH, CLOCK_CTRL_SINCE
    """Bits of `ClockCtrl`; before it existed, the clocks are switched in IO_CTRL."""
    XADC_TEMPERATURE = "hk_xadc_temperature", 2, _READ
    XADC_VCCINT = "hk_xadc_vccint", 2, _READ
    HK_CONVERSION_TRIGGER = "hk_conversion_trigger", 4
    HK_CONVERSIONS = "hk_stat_conversions_counter", 4, _READ
    HK_CTRL = "hk_ctrl", 1
    HK_MOSI = "hk_adcdac_mosi_fifo", 1, _WRITE
    HK_MISO = "hk_adc_miso_fifo", 1, _READ
    HK_MISO_SIZE = "hk_adc_miso_fifo_read_size", 4, _READ
    SPI_DIVIDER = "spi_layers_ckdivider", 1
    """SPI clock of all layers: see `spi_divider`."""
    HK_SPI_DIVIDER = "spi_hk_ckdivider", 1
    LAYER_0_CTRL = "layer_0_cfg_ctrl", 1
    """Bits of `LayerCtrl`."""
    LAYER_1_CTRL = "layer_1_cfg_ctrl", 1
    LAYER_2_CTRL = "layer_2_cfg_ctrl", 1
    LAYER_0_STATUS = "layer_0_status", 1, _READ
    """Bits of `LayerStatus`."""
    LAYER_1_STATUS = "layer_1_status", 1, _READ
    LAYER_2_STATUS = "layer_2_status", 1, _READ
    LAYER_0_FRAMES = "layer_0_stat_frame_counter", 4
    """Frames that came from the chips."""
    LAYER_1_FRAMES = "layer_1_stat_frame_counter", 4
    LAYER_2_FRAMES = "layer_2_stat_frame_counter", 4
    LAYER_0_IDLES = "layer_0_stat_idle_counter", 4
    """Idle bytes that came from the chips."""
    LAYER_1_IDLES = "layer_1_stat_idle_counter", 4
    LAYER_2_IDLES = "layer_2_stat_idle_counter", 4
    LAYER_0_WRONG_LENGTH = "layer_0_stat_wronglength_counter", 4
    """Frames whose length is not that of the chip version; the firmware drops them."""
    LAYER_1_WRONG_LENGTH = "layer_1_stat_wronglength_counter", 4
    LAYER_2_WRONG_LENGTH = "layer_2_stat_wronglength_counter", 4
    LAYER_0_MOSI = "layer_0_mosi", 1, _WRITE
    """FIFO of bytes to the chips; it cannot be read."""
    LAYER_0_MOSI_SIZE = "layer_0_mosi_write_size", 4, _READ
    """Bytes that wait in it."""
    LAYER_1_MOSI = "layer_1_mosi", 1, _WRITE
    LAYER_1_MOSI_SIZE = "layer_1_mosi_write_size", 4, _READ
    LAYER_2_MOSI = "layer_2_mosi", 1, _WRITE
    LAYER_2_MOSI_SIZE = "layer_2_mosi_write_size", 4, _READ
    LAYER_0_LOOPBACK_MISO = "layer_0_loopback_miso", 1, _WRITE
    LAYER_0_LOOPBACK_MISO_SIZE = "layer_0_loopback_miso_write_size", 4, _READ
    LAYER_1_LOOPBACK_MISO = "layer_1_loopback_miso", 1, _WRITE
    LAYER_1_LOOPBACK_MISO_SIZE = "layer_1_loopback_miso_write_size", 4, _READ
    LAYER_2_LOOPBACK_MISO = "layer_2_loopback_miso", 1, _WRITE
    LAYER_2_LOOPBACK_MISO_SIZE = "layer_2_loopback_miso_write_size", 4, _READ
    LAYER_0_LOOPBACK_MOSI = "layer_0_loopback_mosi", 1, _READ
    LAYER_0_LOOPBACK_MOSI_SIZE = "layer_0_loopback_mosi_read_size", 4, _READ
    LAYER_1_LOOPBACK_MOSI = "layer_1_loopback_mosi", 1, _READ
    LAYER_1_LOOPBACK_MOSI_SIZE = "layer_1_loopback_mosi_read_size", 4, _READ
    LAYER_2_LOOPBACK_MOSI = "layer_2_loopback_mosi", 1, _READ
    LAYER_2_LOOPBACK_MOSI_SIZE = "layer_2_loopback_mosi_read_size", 4, _READ
    FRAME_TAG_CTRL = "layers_cfg_frame_tag_counter_ctrl", 1, _BOTH, date.min, _TIMESTAMP_SINCE
    """Bits of `FrameTagCtrl`: the predecessor of the time stamp."""
    FRAME_TAG_DIVIDER = "layers_cfg_frame_tag_counter_trigger", 4, _BOTH, date.min, _TIMESTAMP_SINCE
    FRAME_TAG_COUNTER = "layers_cfg_frame_tag_counter", 4, _BOTH, date.min, _TIMESTAMP_SINCE
    TIMESTAMP_CTRL = "layers_fpga_timestamp_ctrl", 2, _BOTH, _TIMESTAMP_SINCE
    """Bits of `TimestampCtrl`."""
    TIMESTAMP_DIVIDER = "layers_fpga_timestamp_divider", 4, _BOTH, _TIMESTAMP_SINCE
    """The counter that divides the core clock."""
    TIMESTAMP_COUNTER = "layers_fpga_timestamp_counter", 8, _READ, _TIMESTAMP_SINCE
    TIMESTAMP_FORCED = "layers_fpga_timestamp_forced", 8, _BOTH, CLOCK_CTRL_SINCE
    TLU_TRIGGER_DELAY = "layers_tlu_trigger_delay", 2, _BOTH, _TIMESTAMP_SINCE
    TLU_BUSY_DURATION = "layers_tlu_busy_duration", 2, _BOTH, _TIMESTAMP_SINCE
    NODATA_CONTINUE = "layers_cfg_nodata_continue", 1
    """Idle bytes after which autoread stops."""
    SHIFT_REGISTER = "layers_sr_out", 1
    """Port of the chips' shift registers: bits of `ShiftPort`."""
    SHIFT_INPUT = "layers_sr_in", 1
    READBACK_CTRL = "layers_sr_rb_ctrl", 1, _BOTH, _READBACK_SINCE
    """Bits of `ReadbackCtrl`."""
    READBACK_CRC = "layers_sr_crc", 6, _READ, _READBACK_SINCE
    READBACK = "layers_sr_bytes", 1, _READ, _READBACK_SINCE
    """FIFO of the bits that left the chips' shift registers."""
    READBACK_SIZE = "layers_sr_bytes_read_size", 4, _READ, _READBACK_SINCE
    INJECTION_CTRL = "layers_inj_ctrl", 1
    """Bits of `InjectionCtrl`."""
    INJECTION_ADDRESS = "layers_inj_waddr", 1
    INJECTION_DATA = "layers_inj_wdata", 1
    READOUT_CTRL = "layers_readout_ctrl", 1, _BOTH, CLOCK_CTRL_SINCE
    """Bits of `ReadoutCtrl`."""
    READOUT = "layers_readout", 1, _READ
    """FIFO of layer frames; 0xFF once it is empty."""
    READOUT_SIZE = "layers_readout_read_size", 4, _READ
    """Bytes that wait in it."""
    IO_CTRL = "io_ctrl", 1
    """Bits of `IoCtrl`."""
    IO_LED = "io_led", 1
    CARDS = "gecco_sr_ctrl", 1
    """Port of the shift registers on the GECCO cards: bit 0 clock, 1 data, 2 load."""
    HK_CONVERSION_MATCH = "hk_conversion_trigger_match", 4
    TIMESTAMP_DIVIDER_MATCH = "layers_fpga_timestamp_divider_match", 4, _BOTH, _TIMESTAMP_SINCE
    """Core clock over tick rate of the time stamp."""
    FRAME_TAG_DIVIDER_MATCH = "layers_cfg_frame_tag_counter_trigger_match", 4, _BOTH, date.min, _TIMESTAMP_SINCE
    """The same for the frame tag."""


READ_FIFOS: Final = frozenset(
    {
        Register.HK_MISO,
        Register.LAYER_0_LOOPBACK_MOSI,
        Register.LAYER_1_LOOPBACK_MOSI,
        Register.LAYER_2_LOOPBACK_MOSI,
        Register.READBACK,
        Register.READOUT,
    }
)
"""Reading these takes what it reads out of a FIFO."""

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
    """The chips have nothing to send."""
    FRAME_DECODING = 1 << 1


class FrameTagCtrl(IntFlag):
    """Bits of `Register.FRAME_TAG_CTRL`."""

    ENABLE = 1 << 0
    USE_DIVIDER = 1 << 1
    EXTERNAL = 1 << 2
    FORCE_COUNT = 1 << 3


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
    """Bits of `Register.INJECTION_CTRL`."""

    RESET = 1 << 0
    SUSPEND = 1 << 1
    SYNCED = 1 << 2
    TRIGGER = 1 << 3
    WRITE = 1 << 4


class ReadbackCtrl(IntFlag):
    """Bits of `Register.READBACK_CTRL`; bits 6–2 are the output that is read back."""

    READ_BACK = 1 << 0
    CRC = 1 << 1


class ReadoutCtrl(IntFlag):
    """Bits of `Register.READOUT_CTRL`."""

    PACKET_MODE = 1 << 0
    """Only whole frames can be read."""


class IoCtrl(IntFlag):
    """Bits of `Register.IO_CTRL` that are of use here; the clocks only where there is no CLOCK_CTRL."""

    SAMPLE_CLOCK = 1 << 0
    TIMESTAMP_CLOCK = 1 << 1
    SAMPLE_CLOCK_SINGLE_ENDED = 1 << 2
    INJECTION_CARD = 1 << 3


def spi_divider(spi_hz: float) -> int:
    """`Register.SPI_DIVIDER` for an SPI clock; `AstepError` where 0…255 cannot express it."""
    divider = int(SPI_BASE_HZ / (2 * spi_hz)) - 1 if spi_hz > 0 else -1
    if not 0 <= divider <= 0xFF:
        raise AstepError(f"an SPI clock of {spi_hz:g} Hz is impossible: {SPI_BASE_HZ / 512:g} to {SPI_BASE_HZ / 2:g}")
    return divider


def timestamp_width(bits: int) -> int:
    """`Register.TIMESTAMP_CTRL` for a time stamp of 16, 32, 48 or 64 `bits` that is off, and its divider with it."""
    if bits not in (16, 32, 48, 64):
        raise AstepError(f"a time stamp of {bits} bits is impossible: 16, 32, 48 or 64")
    return (bits // 16 - 1) << 4


def timestamp_ctrl(bits: int) -> int:
    """`Register.TIMESTAMP_CTRL` for a running time stamp of 16, 32, 48 or 64 `bits` on the divided clock."""
    return TimestampCtrl.ENABLE | TimestampCtrl.USE_DIVIDER | timestamp_width(bits)
