"""Setting up an A-STEP firmware: chip version, clocks, time stamp, SPI clock, packet mode.

Sequences of steps, as in `steps`. What a firmware cannot do is refused by `check_settings`, before anything is written.
"""

from collections.abc import Generator
from dataclasses import dataclass
from typing import Final

from protocol.errors import AstepError
from protocol.registers.astep import write_register
from protocol.registers.astep_firmware import Firmware
from protocol.registers.astep_register_map import RegisterMap
from protocol.registers.astep_registers import (
    CORE_CLOCK_HZ,
    MAX_LAYERS,
    ClockCtrl,
    FrameTagCtrl,
    IoCtrl,
    ReadoutCtrl,
    Register,
    spi_divider,
    timestamp_ctrl,
    timestamp_width,
)
from protocol.registers.astep_sequence import NotWrittenError, Step, Steps, read_value
from protocol.registers.steps import Pause
from protocol.stream_bytes import MAX_CHIPS

TIMESTAMP_HZ: Final = 1_000_000
FRAME_TAG_BITS: Final = 32
_MATCH: Final = CORE_CLOCK_HZ // TIMESTAMP_HZ
_TICKS_S: Final = 0.001
"""Long enough for the time stamp to change."""

_TICKING_BYTES: Final = 2


@dataclass(frozen=True)
class AstepSettings:
    """How the firmware is set up: `layers` with `chips` each (1…3, 1…31), SPI clock, width of the time stamp.

    `chip_version`: version of the chips, which is written to the firmware. `fixed_reads`: the readout FIFO is read in
    pieces of a fixed length, whatever it holds.
    """

    layers: int = 1
    chips: int = 1
    spi_hz: float = 1e6
    timestamp_bits: int = 32
    packet_mode: bool = True
    chip_version: int = 4
    fixed_reads: bool = False

    def __post_init__(self) -> None:
        if not 1 <= self.layers <= MAX_LAYERS:
            raise AstepError(f"{self.layers} layers: 1 to {MAX_LAYERS} can be read")
        if not 1 <= self.chips <= MAX_CHIPS:
            raise AstepError(f"{self.chips} chips in a chain: 1 to {MAX_CHIPS} have different ids")
        spi_divider(self.spi_hz)
        timestamp_ctrl(self.timestamp_bits)


def check_settings(settings: AstepSettings, firmware: Firmware, registers: RegisterMap) -> None:
    """Raises `AstepError` that names every setting that `firmware` cannot do."""
    mistakes = []
    built_for = firmware.chip_version
    if not registers.has(Register.CHIP_VERSION) and built_for not in (None, settings.chip_version):
        mistakes.append(f"board.chip_version = {settings.chip_version}: it reads AstroPix {built_for} only")
    if not registers.has(Register.TIMESTAMP_CTRL) and settings.timestamp_bits != FRAME_TAG_BITS:
        mistakes.append(f"astep.timestamp_bits = {settings.timestamp_bits}: its time stamp has {FRAME_TAG_BITS} bits")
    if not registers.has(Register.READOUT_CTRL):
        if not settings.packet_mode:
            mistakes.append("astep.packet_mode = false: it has no register for that")
        if settings.fixed_reads:
            mistakes.append(
                'astep.read = "fixed": it cannot promise whole frames, so that padding could come within one'
            )
    if mistakes:
        raise AstepError(f"{firmware} cannot do what the configuration asks for: {'; '.join(mistakes)}")


def set_up(settings: AstepSettings, registers: RegisterMap) -> Generator[Step, bytes, tuple[str, ...]]:
    """Everything but the chips and the layers' controls, which stay as they are. Returns warnings."""
    if registers.has(Register.CHIP_VERSION):
        yield from _set_chip_version(settings.chip_version)
    yield from _switch_clocks_on(registers)
    warnings = yield from _set_up_timestamp(settings, registers)
    yield write_register(Register.SPI_DIVIDER, spi_divider(settings.spi_hz), "SPI clock")
    yield write_register(Register.NODATA_CONTINUE, 5 + settings.chips - 1, "idle bytes before autoread stops")
    if registers.has(Register.READBACK_CTRL):
        yield from _ensure(Register.READBACK_CTRL, 0, "no reading back")
    if registers.has(Register.READOUT_CTRL):
        packet_mode = int(ReadoutCtrl.PACKET_MODE) if settings.packet_mode else 0
        yield from _ensure(Register.READOUT_CTRL, packet_mode, "whole frames only" if packet_mode else "bytes at once")
    return warnings


def _ensure(register: Register, value: int, why: str) -> Steps:
    """Write a register unless it has that value."""
    if (yield from read_value(register, f"{why}: as it is")) != value:
        yield write_register(register, value, why)


def _set_chip_version(version: int) -> Steps:
    yield write_register(Register.CHIP_VERSION, version, "chip version")
    got = yield from read_value(Register.CHIP_VERSION, "chip version: does the board take what is written")
    if got != version:
        # Tried again: the write may have been damaged on the link.
        raise NotWrittenError(
            Register.CHIP_VERSION, str(version), str(got), "the firmware does not know this chip; load a newer one"
        )


def _switch_clocks_on(registers: RegisterMap) -> Steps:
    if registers.has(Register.CLOCK_CTRL):
        register, on = Register.CLOCK_CTRL, int(ClockCtrl.SAMPLE_CLOCK | ClockCtrl.TIMESTAMP_CLOCK)
    else:
        register, on = Register.IO_CTRL, int(IoCtrl.SAMPLE_CLOCK | IoCtrl.TIMESTAMP_CLOCK)
    clocks = yield from read_value(register, "clocks")
    yield write_register(register, clocks | on, "sample clock and time-stamp clock on")


def _set_up_timestamp(settings: AstepSettings, registers: RegisterMap) -> Generator[Step, bytes, tuple[str, ...]]:
    """The time stamp at 1 MHz.

    The divider counts up and down. Writing the match sets it to 0, and where it was counting down it runs through all
    of its 32 bits, which freezes the time stamp for 54 s. So it is stopped first, and set to 1 last, from where it
    finds its way in both directions.
    """
    if registers.has(Register.TIMESTAMP_CTRL):
        ctrl, counter = Register.TIMESTAMP_CTRL, Register.TIMESTAMP_COUNTER
        divider, match = Register.TIMESTAMP_DIVIDER, Register.TIMESTAMP_DIVIDER_MATCH
        off, on = timestamp_width(settings.timestamp_bits), timestamp_ctrl(settings.timestamp_bits)
    else:
        ctrl, counter = Register.FRAME_TAG_CTRL, Register.FRAME_TAG_COUNTER
        divider, match = Register.FRAME_TAG_DIVIDER, Register.FRAME_TAG_DIVIDER_MATCH
        off, on = 0, int(FrameTagCtrl.ENABLE | FrameTagCtrl.USE_DIVIDER)
    size = registers.size(ctrl)
    yield write_register(ctrl, off, "time stamp off, divider stopped", size)
    yield from _ensure(match, _MATCH, "time stamp ticks at 1 MHz")
    yield write_register(divider, 1, "divider, where it cannot miss the match")
    yield write_register(ctrl, on, "time stamp on", size)
    before = yield from read_value(counter, "time stamp", _TICKING_BYTES)
    yield Pause(_TICKS_S, "time stamp ticks")
    if (yield from read_value(counter, "does the time stamp advance", _TICKING_BYTES)) == before:
        return ("the time stamp of the board stands still: FPGA time stamps of the hits are wrong; configure again",)
    return ()
