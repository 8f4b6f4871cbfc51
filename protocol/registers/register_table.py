"""What the tables of registers of both boards have in common: addresses with names."""

from enum import IntEnum


class RegisterTable(IntEnum):
    """Addresses of the registers of a firmware."""

    @classmethod
    def describe(cls, address: int) -> str:
        """`0x15 (SPI_CONFIG)`; a register without a name shows its number only."""
        try:
            return f"0x{address:02X} ({cls(address).name})"
        except ValueError:
            return f"0x{address:02X}"
