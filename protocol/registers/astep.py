"""The register protocol of the A-STEP firmware, both sides of it (docs/formats.md, "A-STEP registers").

The link is a stream of bytes each way. The host sends a request; the board answers a read with the bytes asked for, and
a write with nothing. While the board answers, it swallows what arrives: the next request has to wait for the whole
answer.

::

    header address length_lo length_hi [data…]     header: 1 write, 2 read, 4 address increment

The firmware takes every byte with bit 0 or 1 set for a header and skips all others. A length of 0 is 65 536. A read
whose last address cannot be read hangs the firmware until it is loaded again.

**Requests that survive the link.** A byte that is lost or duplicated on the link turns a request into another one.
`read_byte` and `fifo_length` give requests that no single lost or duplicated byte turns into one that hangs the
firmware, changes a register that matters, or takes bytes out of a FIFO that do not arrive as an answer, provided that
zeros follow where an answer is missing. The lengths of these requests have a low byte of 0, and a high byte that
begins no request.

Registers of more than one byte lie little endian at consecutive addresses; FIFOs and ports take and give all bytes at
one address. Nothing here does I/O; `protocol.registers.astep_sequence` has the order of the requests.
"""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from enum import IntFlag
from typing import Final

from protocol.errors import AstepError
from protocol.registers.astep_register_map import SIZES, RegisterMap
from protocol.registers.astep_registers import Register
from protocol.registers.steps import RequestBuffer

MAX_LENGTH: Final = 0xFFFF
"""Most bytes that one request can write or read."""

REQUEST_FILLER: Final = bytes(66 * 1024)
"""Ends any request that was begun, also where some of its bytes get lost; where a request is expected, zeros are
skipped. The longest request to be ended is the rest of a head and 65 536 bytes of data."""

SAFE_LENGTH: Final = 0x0400
"""The shortest length that survives the link, and the unit of all such lengths."""

_INCREMENTING_WRITE: Final = 0b101
_MAX_WRITTEN = 0x14
"""Registers from address 0 on in which zeros do no harm, in all firmwares."""


class Header(IntFlag):
    """Bits of a request's first byte; the others mean nothing."""

    WRITE = 1 << 0
    READ = 1 << 1
    INCREMENT = 1 << 2


_WRITE, _READ, _INCREMENT = (int(bit) for bit in Header)


@dataclass(frozen=True, slots=True)
class RegisterWrite:
    """Bytes to a register, or with `increment` from it upwards; `why` is for people, and no part of equality.

    The host names the register; the map of the firmware has its address. What the board parses has addresses.
    """

    register: Register | int
    data: bytes
    increment: bool = False
    why: str = field(default="", compare=False)

    @property
    def answer_bytes(self) -> int:
        """What the board answers: nothing."""
        return 0

    def encode(self, registers: RegisterMap) -> bytes:
        """Bytes for the board; more than 65 535 data bytes become several writes, none lost in between.

        Raises `AstepError` for no data, a register that `registers` does not have or that is smaller there, or an
        address outside 0…255.
        """
        if not self.data:
            raise AstepError(f"a write to register {registers.describe(self.register)} needs at least one byte")
        first = registers.address(self.register)
        if self.increment and isinstance(self.register, Register) and len(self.data) > registers.size(self.register):
            raise AstepError(f"{len(self.data)} bytes do not fit into register {registers.describe(self.register)}")
        parts = []
        for start in range(0, len(self.data), MAX_LENGTH):
            part = self.data[start : start + MAX_LENGTH]
            address = first + (start if self.increment else 0)
            parts += [_head(_WRITE, address, len(part), self.increment), part]
        return b"".join(parts)


@dataclass(frozen=True, slots=True)
class RegisterRead:
    """`length` bytes, 1…65 535, of a register, or with `increment` from it upwards; `why` is no part of equality.

    `offset`: the byte of the register to begin with. `copies`: not all bytes of the answer are needed, because they are
    equal, or thrown away.
    """

    register: Register | int
    length: int = 1
    increment: bool = False
    why: str = field(default="", compare=False)
    offset: int = 0
    copies: bool = field(default=False, compare=False)

    @property
    def answer_bytes(self) -> int:
        """What the board answers: `length` bytes."""
        return self.length

    def encode(self, registers: RegisterMap) -> bytes:
        """Bytes for the board.

        Raises `AstepError` for a length outside 1…65 535, a register that `registers` does not have, or an address
        outside 0…65 535.
        """
        return _head(_READ, registers.address(self.register) + self.offset, self.length, self.increment)


Request = RegisterWrite | RegisterRead


def write_register(register: Register, value: int, why: str = "", size: int | None = None) -> RegisterWrite:
    """All bytes of a register; `size`: how many it has, where not as many as in the newest firmware.

    `AstepError` for a value that does not fit.
    """
    size = SIZES[register] if size is None else size
    try:
        data = value.to_bytes(size, "little")
    except OverflowError:
        raise AstepError(f"{value} does not fit into register {register.name}") from None
    return RegisterWrite(register, data, size > 1, why)


def read_register(register: Register, why: str = "", size: int | None = None) -> RegisterRead:
    """All bytes of a register, `size` as of `write_register`; the answer is its value, little endian."""
    size = SIZES[register] if size is None else size
    return RegisterRead(register, size, size > 1, why)


def read_byte(register: Register | int, offset: int = 0, why: str = "") -> RegisterRead:
    """One byte of a register, in a request that survives the link; `byte_of` gives its value from the answer."""
    return RegisterRead(register, SAFE_LENGTH, False, why, offset, copies=True)


def byte_of(answer: bytes) -> int:
    """The byte that an answer to `read_byte` consists of; of a counter, which may change meanwhile, its usual value."""
    return max(set(answer), key=answer.count)


def fifo_length(wanted: int, registers: RegisterMap, register: Register = Register.READOUT) -> int:
    """The largest length up to `wanted` bytes (1…65 535) for a read of a FIFO that a damaged link turns into no harm.

    From 1024 bytes on, the request survives as described above. Below, its low byte is at least an address that can be
    read, so that the firmware does not hang.
    """
    high = wanted // SAFE_LENGTH * (SAFE_LENGTH >> 8)
    if high:
        # Without its first byte, the request writes as many zeros from address 0 on as its last byte says.
        incrementing = registers.address(register) & _INCREMENTING_WRITE == _INCREMENTING_WRITE
        return min(high, _MAX_WRITTEN if incrementing else high) << 8
    while not registers.can_read(wanted & 0xFF):
        wanted -= 1
    return wanted


def _head(operation: int, address: int, length: int, increment: bool) -> bytes:
    if not 0 <= address <= 0xFF:
        raise AstepError(f"there is no register {address}: addresses are 0 to 255")
    if not 0 < length <= MAX_LENGTH:
        raise AstepError(f"{length} bytes cannot be read from register 0x{address:02X}: 1 to {MAX_LENGTH} can")
    return bytes((operation | increment * _INCREMENT, address)) + length.to_bytes(2, "little")


def encode_requests(requests: Iterable[Request], registers: RegisterMap) -> bytes:
    """Several requests as one buffer, to be sent in one go. Raises `AstepError` as `encode` of each does."""
    return b"".join(request.encode(registers) for request in requests)


class RequestParser(RequestBuffer[Request]):
    """The board's side: bytes in any pieces to requests.

    `feed` returns the requests that are complete and keeps the rest for the next call. It accepts any bytes and raises
    nothing: where a header is expected, bytes with neither bit 0 nor bit 1 set are skipped, as the firmware does, and
    counted in `skipped_bytes` unless they are zeros. Where both bits are set, it is a write. A length of 0 is 65 536.
    """

    def _requests(self) -> Iterator[Request]:
        pending, position = self._pending, 0
        while position < len(pending):
            header = pending[position]
            if not header & (_WRITE | _READ):
                self.skipped_bytes += header != 0
                position += 1
                continue
            data_start = position + 4
            if len(pending) < data_start:
                break
            address = pending[position + 1]
            length = int.from_bytes(pending[position + 2 : data_start], "little") or MAX_LENGTH + 1
            increment = bool(header & _INCREMENT)
            if not header & _WRITE:
                position = data_start
                yield RegisterRead(address, length, increment)
                continue
            if len(pending) < data_start + length:
                break
            position = data_start + length
            yield RegisterWrite(address, bytes(pending[data_start:position]), increment)
        del pending[:position]
