"""Sequences of requests to a GECCO board: from power-up to data, and back to a safe board.

Sequences of steps, as in `steps`.
"""

from collections.abc import Generator, Iterable
from typing import Final

from protocol.errors import GeccoError
from protocol.hit import reverse_bit_order
from protocol.registers.gecco import (
    IDENTITY_BYTES,
    IDENTITY_VALUE,
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


def _pulse(register: int, bits: int, why: str) -> Steps:
    """Set bits, then clear them."""
    yield from set_bits(register, bits, why)
    yield from clear_bits(register, bits, why)


def check_identity() -> Steps:
    """Check that a board answers, and runs the bench firmware. Nothing is written."""
    got = yield ReadRequest(Register.IDENTITY, IDENTITY_BYTES, "identity: does the bench firmware answer")
    expected = bytes((IDENTITY_VALUE,)) * IDENTITY_BYTES
    if got != expected:
        raise UnexpectedAnswerError(
            Register.IDENTITY,
            expected.hex(),
            got.hex(),
            "is the bench firmware loaded? Power the board off and on, load the firmware again",
        )


def reset_read_fifo() -> Steps:
    """Empty the SPI read FIFO."""
    yield from _pulse(Register.SPI_CONFIG, SpiConfig.READ_FIFO_RESET, "empty the SPI read FIFO")


def reset_spi_fifos() -> Steps:
    """Empty the write and the read FIFO."""
    yield from _pulse(Register.SPI_CONFIG, SpiConfig.WRITE_FIFO_RESET, "empty the SPI write FIFO")
    yield from reset_read_fifo()


def reset_fifos() -> Steps:
    """Empty all FIFOs: SPI, and the read-back of the shift register."""
    yield from reset_spi_fifos()
    yield from _pulse(Register.READBACK_CONFIG, ReadbackConfig.FIFO_RESET, "empty the read-back FIFO")


def hold_chip() -> Steps:
    """Put the chip into reset and leave it there."""
    yield from set_bits(Register.CHIP, ChipPort.RESET, "chip into reset")


def reset_chip() -> Steps:
    """Put the chip into reset for 0.1 s."""
    yield from hold_chip()
    yield Pause(CHIP_RESET_S, "chip in reset")
    yield from clear_bits(Register.CHIP, ChipPort.RESET, "chip out of reset")


def send_routing() -> Steps:
    """Give the chips of the chain their ids, once the write FIFO is empty."""
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
    """Set the SPI clock (`spi_clock_hz`), switch SPI on, empty its FIFOs, send the routing command. `divider`: 1…255.

    The divider is set while SPI is off: after power-up SPI would run at 50 MHz, and lowering it on the run shifts the
    data by bits. A program that died may have left SPI on.
    """
    if not 1 <= divider <= 0xFF:
        raise GeccoError(f"an SPI divider of {divider} is impossible: 1 to 255")
    yield from set_bits(Register.SPI_CONFIG, SpiConfig.MODULE_RESET, "SPI off, while its clock is set")
    yield WriteRequest(Register.SPI_DIVIDER, bytes((divider,)), "SPI clock, before SPI is on")
    yield from clear_bits(Register.SPI_CONFIG, SpiConfig.MODULE_RESET, "SPI on")
    yield from reset_spi_fifos()
    yield from send_routing()


_HELD: Final = int(ChipPort.RESET)
_OFF: Final = int(SpiConfig.MODULE_RESET | SpiConfig.WRITE_FIFO_RESET | SpiConfig.READ_FIFO_RESET)


def check_running(divider: int) -> Steps:
    """Check that SPI runs with `divider` and the chips are out of reset, as a start leaves them.

    A request that lost bytes on its way can have turned into a write to any register.
    """
    expected = ((Register.SPI_CONFIG, _OFF, 0), (Register.SPI_DIVIDER, 0xFF, divider), (Register.CHIP, _HELD, 0))
    yield from _check(expected, "is the board still set up as it was", "a damaged request changed it: check the cable")


def check_stopped() -> Steps:
    """Check that SPI is off and the chips are in reset: writes have no answer, and may have been damaged."""
    expected = ((Register.SPI_CONFIG, _OFF, int(SpiConfig.MODULE_RESET)), (Register.CHIP, 0xFF, _HELD))
    yield from _check(expected, "has the board stopped", "the stop did not reach it: check the cable")


def _check(expected: Iterable[tuple[Register, int, int]], why: str, advice: str) -> Steps:
    """Read registers back; `expected`: register, mask, and its value under the mask."""
    for register, mask, value in expected:
        got = (yield from read_byte(register, why)) & mask
        if got != value:
            raise UnexpectedAnswerError(register, f"0x{value:02X}", f"0x{got:02X}", advice)
