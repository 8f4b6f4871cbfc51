"""The register protocol of the A-STEP firmware, both sides of it (docs/formats.md, "A-STEP registers").

The link is a stream of bytes each way. The host sends requests, back to back if it likes; the board answers reads
with exactly the bytes asked for, in the order of the requests, and writes with nothing.

::

    header address length_lo length_hi [data…]     header: 1 write, 2 read, 4 address increment, 8 extended address

An extended address has two bytes, low first. Registers of more than one byte lie little endian at consecutive
addresses and are accessed with address increment; FIFOs and ports, whose bytes all go to one address, without. Nothing
here does I/O; `protocol.registers.astep_sequence` has what is said in which order.
"""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from enum import IntFlag
from typing import Final

from protocol.errors import AstepError
from protocol.registers.astep_register_map import SIZES, RegisterMap
from protocol.registers.astep_registers import Register
from protocol.registers.request_buffer import RequestBuffer

MAX_LENGTH: Final = 0xFFFF
"""Most bytes that one request can write or read."""

REQUEST_FILLER: Final = bytes(MAX_LENGTH + 1)
"""Ends any request that was begun; where a request is expected, zeros are nothing."""


class Header(IntFlag):
    """Bits of a request's first byte; the upper four are a channel, always 0."""

    WRITE = 1 << 0
    READ = 1 << 1
    INCREMENT = 1 << 2
    EXTENDED = 1 << 3


_WRITE, _READ, _INCREMENT, _EXTENDED = (int(bit) for bit in Header)
_KNOWN_BITS = _WRITE | _READ | _INCREMENT | _EXTENDED


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
        address outside 0…65 535.
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
    """`length` bytes, 1…65 535, of a register, or with `increment` from it upwards; `why` is no part of equality."""

    register: Register | int
    length: int = 1
    increment: bool = False
    why: str = field(default="", compare=False)

    @property
    def answer_bytes(self) -> int:
        """What the board answers: `length` bytes."""
        return self.length

    def encode(self, registers: RegisterMap) -> bytes:
        """Bytes for the board.

        Raises `AstepError` for a length outside 1…65 535, a register that `registers` does not have, or an address
        outside 0…65 535.
        """
        return _head(_READ, registers.address(self.register), self.length, self.increment)


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


def _head(operation: int, address: int, length: int, increment: bool) -> bytes:
    if not 0 <= address <= 0xFFFF:
        raise AstepError(f"there is no register {address}: addresses are 0 to 65535")
    if not 0 < length <= MAX_LENGTH:
        raise AstepError(f"{length} bytes cannot be read from register 0x{address:02X}: 1 to {MAX_LENGTH} can")
    extended = address > 0xFF
    flags = operation | increment * _INCREMENT | extended * _EXTENDED
    return bytes((flags,)) + address.to_bytes(1 + extended, "little") + length.to_bytes(2, "little")


def encode_requests(requests: Iterable[Request], registers: RegisterMap) -> bytes:
    """Several requests as one buffer, to be sent in one go. Raises `AstepError` as `encode` of each does."""
    return b"".join(request.encode(registers) for request in requests)


class RequestParser(RequestBuffer[Request]):
    """The board's side: bytes in any pieces to requests.

    `feed` returns the requests that are complete and keeps the rest for the next call. It accepts any bytes and raises
    nothing: where a header is expected, zero bytes are skipped, as the firmware does; other bytes that are no header
    are skipped and counted in `skipped_bytes`. Where both bits are set, it is a write. Lengths of 0 are requests like
    any other here, though the host's side never sends them.
    """

    def _requests(self) -> Iterator[Request]:
        pending, position = self._pending, 0
        while position < len(pending):
            header = pending[position]
            if header & ~_KNOWN_BITS or not header & (_WRITE | _READ):
                self.skipped_bytes += header != 0
                position += 1
                continue
            address_bytes = 2 if header & _EXTENDED else 1
            data_start = position + 3 + address_bytes
            if len(pending) < data_start:
                break
            address = int.from_bytes(pending[position + 1 : position + 1 + address_bytes], "little")
            length = int.from_bytes(pending[data_start - 2 : data_start], "little")
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
