"""What is said to a GECCO board, in which order: from power-up to data, and back to a safe board.

Sequences of steps, as in `steps`.
"""

from collections.abc import Generator
from typing import Final

from protocol.errors import GeccoError
from protocol.hit import reverse_bit_order
from protocol.registers.gecco import (
    SCRATCH_VALUE,
    ChipPort,
    ReadbackConfig,
    ReadRequest,
    Register,
    SpiConfig,
    WriteRequest,
)
from protocol.registers.steps import Pause, UnexpectedAnswerError

CHIP_RESET_S: Final = 0.1
ROUTING_COMMAND: Final = bytes.fromhex("20 00 00 00 00 00 00 00")
"""As the chip sees it; on the way through the SPI FIFO the bits of each byte are in reverse order."""

WRITE_FIFO_POLLS: Final = 20
WRITE_FIFO_PAUSE_S: Final = 0.005


Step = WriteRequest | ReadRequest | Pause
Steps = Generator[Step, bytes, None]
Reading = Generator[Step, bytes, int]


def read_byte(register: int, why: str) -> Reading:
    """One byte of a register."""
    answer = yield ReadRequest(register, 1, why)
    return answer[0]


def set_bits(register: int, bits: int, why: str) -> Steps:
    """Read, set, write."""
    value = yield from read_byte(register, why)
    yield WriteRequest(register, bytes((value | bits,)), why)


def clear_bits(register: int, bits: int, why: str) -> Steps:
    """Read, clear, write."""
    value = yield from read_byte(register, why)
    yield WriteRequest(register, bytes((value & ~bits & 0xFF,)), why)


def check_scratch() -> Steps:
    """Is a board there, and does it run the bench firmware?"""
    yield WriteRequest(Register.SCRATCH, bytes((SCRATCH_VALUE,)), "scratch register: is the board there")
    got = yield from read_byte(Register.SCRATCH, "scratch register: is the board there")
    if got != SCRATCH_VALUE:
        raise UnexpectedAnswerError(
            Register.SCRATCH,
            f"0x{SCRATCH_VALUE:02X}",
            f"0x{got:02X}",
            "is the bench firmware loaded? Power the board off and on, load the firmware again",
        )


def reset_spi_fifos() -> Steps:
    """Empty the write and the read FIFO."""
    for bit, why in (
        (SpiConfig.WRITE_FIFO_RESET, "empty the SPI write FIFO"),
        (SpiConfig.READ_FIFO_RESET, "empty the SPI read FIFO"),
    ):
        yield from set_bits(Register.SPI_CONFIG, bit, why)
        yield from clear_bits(Register.SPI_CONFIG, bit, why)


def reset_fifos() -> Steps:
    """Empty all FIFOs: SPI, and the read-back of the shift register."""
    yield from reset_spi_fifos()
    yield from set_bits(Register.READBACK_CONFIG, ReadbackConfig.FIFO_RESET, "empty the read-back FIFO")
    yield from clear_bits(Register.READBACK_CONFIG, ReadbackConfig.FIFO_RESET, "empty the read-back FIFO")


def hold_chip() -> Steps:
    """Put the chip into reset and leave it there."""
    yield from set_bits(Register.CHIP, ChipPort.RESET, "chip into reset")


def reset_chip() -> Steps:
    """Put the chip into reset for 0.1 s."""
    yield from hold_chip()
    yield Pause(CHIP_RESET_S, "chip in reset")
    yield from clear_bits(Register.CHIP, ChipPort.RESET, "chip out of reset")


def send_routing() -> Steps:
    """Tell the chips of the chain who they are, once the write FIFO is empty."""
    for _ in range(WRITE_FIFO_POLLS):
        config = yield from read_byte(Register.SPI_CONFIG, "is the SPI write FIFO empty")
        if config & SpiConfig.WRITE_FIFO_EMPTY:
            break
        yield Pause(WRITE_FIFO_PAUSE_S, "the SPI write FIFO is not empty yet")
    else:
        raise UnexpectedAnswerError(
            Register.SPI_CONFIG,
            "the SPI write FIFO empty (bit 1)",
            f"0x{config:02X}",
            "SPI does not run; check the SPI divider and the clock of the board",
        )
    yield WriteRequest(Register.SPI_WRITE_FIFO, reverse_bit_order(ROUTING_COMMAND), "routing command")


def enable_spi(divider: int) -> Steps:
    """From a configured chip to data: SPI on, FIFOs empty, clock at 100 MHz / `divider` (1…255), routing sent."""
    if not 1 <= divider <= 0xFF:
        raise GeccoError(f"an SPI divider of {divider} is impossible: 1 to 255")
    yield from clear_bits(Register.SPI_CONFIG, SpiConfig.MODULE_RESET, "SPI on")
    yield from reset_spi_fifos()
    yield WriteRequest(Register.SPI_DIVIDER, bytes((divider,)), "SPI clock")
    yield from send_routing()


def disable_spi() -> Steps:
    """No more data from the chip; what the read FIFO holds stays there."""
    yield from set_bits(Register.SPI_CONFIG, SpiConfig.MODULE_RESET, "SPI off")
