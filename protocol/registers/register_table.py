"""A table of registers whose addresses never change: names and addresses."""

from enum import IntEnum
from typing import Protocol


class EncodableRequest(Protocol):
    """A request to a firmware whose registers have the same addresses in all its versions."""

    def encode(self) -> bytes:
        """Its bytes."""


class RegisterTable(IntEnum):
    """Addresses of the registers of a firmware."""

    @classmethod
    def encode(cls, request: EncodableRequest) -> bytes:
        """The bytes of a request."""
        return request.encode()

    @classmethod
    def describe(cls, address: int) -> str:
        """`0x15 (SPI_CONFIG)`; a register without a name shows its number only."""
        try:
            return f"0x{address:02X} ({cls(address).name})"
        except ValueError:
            return f"0x{address:02X}"
