"""The register protocol of the GECCO bench firmware, both sides of it (docs/formats.md, "GECCO registers").

The link is a stream of bytes each way. The host sends requests, back to back if it likes; the board answers reads
with exactly the bytes asked for, in the order of the requests, and writes with nothing.

::

    write   01 register length_hi length_lo data…     (no answer)
    read    00 register length_hi length_lo           (answer: `length` bytes)

Several bytes written to one register, or read from it, go one after the other into the same register: that is how
FIFOs and ports are filled. Nothing here does I/O; `protocol.registers.gecco_sequence` has the sequences.
"""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from enum import IntEnum, IntFlag
from functools import lru_cache
from typing import Final

from protocol.errors import GeccoError
from protocol.registers.steps import RequestBuffer

MAX_LENGTH: Final = 0xFFFF
"""Most bytes that one request can write or read."""

RESYNC_ZEROS: Final = bytes(MAX_LENGTH + 1)
"""Complete any request that was begun, also the longest write; what follows it are reads of length 0.

Zeros written to any register move no line of the chips' shift register.
"""

RESYNC_QUESTION: Final = bytes((0, 0, 0, 4))
"""A read of four bytes of register 0, however the parser counts: where it is 1 to 3 zeros ahead, of 0 or 1024 bytes.

Sent again and again with one zero in between, it is answered with four bytes as soon as it begins where the parser
expects a header. To an A-STEP firmware it is four bytes that begin no request.
"""

RESYNC_ANSWER_BYTES: Final = RESYNC_QUESTION[-1]

HEADER_BYTES: Final = 4
SPI_WRITE_FIFO_BYTES: Final = 1024
"""Room in the SPI write FIFO."""

SPI_WRITE_FIFO_FULL_BYTES: Final = 1019
"""From so many bytes on, the write FIFO reports that it is full."""

SPI_READ_FIFO_BYTES: Final = 8192
"""Room in the SPI read FIFO. When it is full, SPI stands still; nothing is lost."""

SPI_WORD_BYTES: Final = 8
"""The read FIFO takes words of that size from SPI, and is read in groups of that size: a word, or padding."""

TRANSMIT_FIFO_BYTES: Final = 32_767
"""Room for answers on their way to the host. A read that ends while this FIFO is full loses its last byte."""

SPI_LINES: Final = 2
"""Data lines from the chips, each of which carries one bit per SPI clock."""

FPGA_CLOCK_HZ: Final = 100_000_000

IDENTITY_VALUE: Final = 0xAB
"""What `Register.IDENTITY` reads."""

IDENTITY_BYTES: Final = 4
"""How many bytes of it are asked for: the bytes of that request begin none in an A-STEP firmware."""

FLAGS_ANSWER_BYTES: Final = 2
"""What may be asked for with a readout: the identity, then the flags of the read FIFO."""

_READ, _WRITE = 0x00, 0x01


class Register(IntEnum):
    """Register addresses of the bench firmware, the same in all its versions."""

    CHIP = 0x00
    """Port of the chip's shift register, and the chip's reset: bits of `ChipPort`."""
    INJECTION_RESET = 0x02
    INJECTION_SUSPEND = 0x03
    INJECTION_WRITE = 0x04
    INJECTION_OUTPUT = 0x05
    INJECTION_ADDRESS = 0x06
    INJECTION_DATA = 0x07
    CARDS = 0x0C
    """Port of the shift registers on the GECCO cards."""
    SPI_CONFIG = 0x15
    """Bits of `SpiConfig`."""
    SPI_DIVIDER = 0x16
    """See `spi_clock_hz`; 0 after power-up. Lowering it while SPI is on shifts the bits of what the chips send."""
    SPI_WRITE_FIFO = 0x17
    SPI_READ_FIFO = 0x18
    """Words of 8 bytes that came from the chips; each group of 8 bytes read while there is none is 8 times 0xFF."""
    READBACK_FIFO = 0x3C
    READBACK_CONFIG = 0x3D
    """Bits of `ReadbackConfig`."""
    INTERRUPT = 0x46
    """The chip's interrupt line: 0 = the chip has data."""
    IDENTITY = 0x50
    """Reads `IDENTITY_VALUE`. Registers that do not exist repeat the byte that was read last."""

    @classmethod
    def encode(cls, request: "Request") -> bytes:
        """The bytes of a request."""
        return request.encode()

    @classmethod
    def describe(cls, address: int) -> str:
        """`0x15 (SPI_CONFIG)`; a register without a name shows its number only."""
        try:
            return f"0x{address:02X} ({cls(address).name})"
        except ValueError:
            return f"0x{address:02X}"


class ChipPort(IntFlag):
    """Bits of `Register.CHIP`."""

    CK1 = 1 << 0
    CK2 = 1 << 1
    SIN = 1 << 2
    LOAD = 1 << 3
    RESET = 1 << 4
    READBACK = 1 << 5
    TDAC_LOAD = 1 << 6


class SpiConfig(IntFlag):
    """Bits of `Register.SPI_CONFIG`; those that say EMPTY or FULL are read only."""

    WRITE_FIFO_RESET = 1 << 0
    WRITE_FIFO_EMPTY = 1 << 1
    WRITE_FIFO_FULL = 1 << 2
    READ_FIFO_RESET = 1 << 3
    READ_FIFO_EMPTY = 1 << 4
    READ_FIFO_FULL = 1 << 5
    READBACK_ENABLE = 1 << 6
    MODULE_RESET = 1 << 7
    """SPI is off while this is set."""


class ReadbackConfig(IntFlag):
    """Bits of `Register.READBACK_CONFIG`."""

    FIFO_RESET = 1 << 0
    FIFO_EMPTY = 1 << 4


@dataclass(frozen=True, slots=True)
class WriteRequest:
    """Bytes to one register, in order; `why` is for people who read a trace, and no part of equality."""

    register: int
    data: bytes
    why: str = field(default="", compare=False)

    @property
    def answer_bytes(self) -> int:
        """What the board answers: nothing."""
        return 0

    def encode(self) -> bytes:
        """Bytes for the board; more than 65 535 data bytes become several writes, none lost in between.

        Raises `GeccoError` for no data, or a register outside 0…255.
        """
        _check_register(self.register)
        if not self.data:
            raise GeccoError(f"a write to register {Register.describe(self.register)} needs at least one byte")
        parts = []
        for start in range(0, len(self.data), MAX_LENGTH):
            part = self.data[start : start + MAX_LENGTH]
            parts += [bytes((_WRITE, self.register)), len(part).to_bytes(2, "big"), part]
        return b"".join(parts)


@dataclass(frozen=True, slots=True)
class ReadRequest:
    """`length` bytes from one register, 1…65 535; `why` is for people who read a trace, and no part of equality."""

    register: int
    length: int = 1
    why: str = field(default="", compare=False)

    @property
    def answer_bytes(self) -> int:
        """What the board answers: `length` bytes."""
        return self.length

    def encode(self) -> bytes:
        """Bytes for the board. Raises `GeccoError` for a length outside 1…65 535 or a register outside 0…255."""
        _check_register(self.register)
        if not 1 <= self.length <= MAX_LENGTH:
            raise GeccoError(
                f"{self.length} bytes cannot be read from register {Register.describe(self.register)} at once: "
                f"1 to {MAX_LENGTH} can"
            )
        return bytes((_READ, self.register)) + self.length.to_bytes(2, "big")


Request = WriteRequest | ReadRequest


def _check_register(register: int) -> None:
    if not 0 <= register <= 0xFF:
        raise GeccoError(f"there is no register {register}: registers are 0 to 255")


def encode_requests(requests: Iterable[Request]) -> bytes:
    """Several requests as one buffer, to be sent in one go. Raises `GeccoError` as `encode` of each does."""
    return b"".join(request.encode() for request in requests)


_read_request = lru_cache(maxsize=64)(ReadRequest)
"""The same few questions are asked hundreds of times a second."""


def spi_clock_hz(divider: int) -> float:
    """SPI clock for a `divider` of 0…255: 100 MHz / (2 · (divider + 1))."""
    return FPGA_CLOCK_HZ / (2 * (divider + 1))


class RequestParser(RequestBuffer[Request]):
    """The board's side: bytes in any pieces to requests.

    `feed` returns the requests that are complete and keeps the rest for the next call. Every byte belongs to a request:
    of a header only bit 0 counts (odd: write, even: read). A read of length 0 has no answer; a write of length 0 takes
    one byte of data. A write is given once all of its bytes have come, where the firmware obeys each as it comes.
    """

    def _requests(self) -> Iterator[Request]:
        pending, position = self._pending, 0
        while len(pending) - position >= HEADER_BYTES:
            register = pending[position + 1]
            length = pending[position + 2] << 8 | pending[position + 3]
            if not pending[position] & _WRITE:
                position += HEADER_BYTES
                yield _read_request(register, length)
                continue
            end = position + HEADER_BYTES + max(length, 1)
            if len(pending) < end:
                break
            yield WriteRequest(register, bytes(pending[position + HEADER_BYTES : end]))
            position = end
        del pending[:position]
