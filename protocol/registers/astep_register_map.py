"""Where each A-STEP firmware keeps its registers (docs/formats.md, "A-STEP registers").

The firmware has moved its registers several times. The registers lie one after the other without gaps, so a map follows
from which registers it has, and from their sizes.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import date
from enum import Flag, auto
from typing import Final, NamedTuple, Protocol

from protocol.errors import AstepError
from protocol.registers.astep_registers import Register


class Access(Flag):
    """What the host can do with a register. Reading one that cannot be read hangs the firmware."""

    READ = auto()
    WRITE = auto()
    BOTH = READ | WRITE


class _Row(NamedTuple):
    """One register: its size in bytes, and the dates from which, and until which (excluded), firmwares have it."""

    register: Register
    size: int
    access: Access = Access.BOTH
    since: date = date.min
    until: date = date.max


_TIMESTAMP = date(2025, 11, 5)
_READBACK = date(2025, 11, 20)
CLOCK_CTRL_SINCE: Final = date(2025, 11, 24)
"""Since then there is CLOCK_CTRL, and the time stamp comes most significant byte first."""

_CHIP_VERSION = date(2025, 12, 5)
_DATES: Final = (date(2025, 8, 31), _TIMESTAMP, _READBACK, CLOCK_CTRL_SINCE, _CHIP_VERSION, date(2026, 1, 27))


def _each_layer(name: str, *parts: tuple[str, int, Access]) -> list[_Row]:
    """For each layer, the registers `LAYER_n_` + `name` + part."""
    return [
        _Row(Register[f"LAYER_{layer}_{name}{part}"], size, access)
        for layer in range(3)
        for part, size, access in parts
    ]


_ROWS: Final = (
    _Row(Register.FIRMWARE_ID, 4, Access.READ),
    _Row(Register.FIRMWARE_VERSION, 4, Access.READ),
    _Row(Register.CHIP_VERSION, 1, since=_CHIP_VERSION),
    _Row(Register.CLOCK_CTRL, 1, since=CLOCK_CTRL_SINCE),
    _Row(Register.XADC_TEMPERATURE, 2, Access.READ),
    _Row(Register.XADC_VCCINT, 2, Access.READ),
    _Row(Register.HK_CONVERSION_TRIGGER, 4),
    _Row(Register.HK_CONVERSIONS, 4, Access.READ),
    _Row(Register.HK_CTRL, 1),
    _Row(Register.HK_MOSI, 1, Access.WRITE),
    _Row(Register.HK_MISO, 1, Access.READ),
    _Row(Register.HK_MISO_SIZE, 4, Access.READ),
    _Row(Register.SPI_DIVIDER, 1),
    _Row(Register.HK_SPI_DIVIDER, 1),
    *_each_layer("CTRL", ("", 1, Access.BOTH)),
    *_each_layer("STATUS", ("", 1, Access.READ)),
    *_each_layer("FRAMES", ("", 4, Access.BOTH)),
    *_each_layer("IDLES", ("", 4, Access.BOTH)),
    *_each_layer("WRONG_LENGTH", ("", 4, Access.BOTH)),
    *_each_layer("MOSI", ("", 1, Access.WRITE), ("_SIZE", 4, Access.READ)),
    *_each_layer("LOOPBACK_MISO", ("", 1, Access.WRITE), ("_SIZE", 4, Access.READ)),
    *_each_layer("LOOPBACK_MOSI", ("", 1, Access.READ), ("_SIZE", 4, Access.READ)),
    _Row(Register.FRAME_TAG_CTRL, 1, until=_TIMESTAMP),
    _Row(Register.FRAME_TAG_DIVIDER, 4, until=_TIMESTAMP),
    _Row(Register.FRAME_TAG_COUNTER, 4, until=_TIMESTAMP),
    _Row(Register.TIMESTAMP_CTRL, 1, since=_TIMESTAMP, until=CLOCK_CTRL_SINCE),
    _Row(Register.TIMESTAMP_CTRL, 2, since=CLOCK_CTRL_SINCE),
    _Row(Register.TIMESTAMP_DIVIDER, 4, since=_TIMESTAMP),
    _Row(Register.TIMESTAMP_COUNTER, 8, Access.READ, since=_TIMESTAMP),
    _Row(Register.TIMESTAMP_FORCED, 8, since=CLOCK_CTRL_SINCE),
    _Row(Register.TLU_TRIGGER_DELAY, 2, since=_TIMESTAMP),
    _Row(Register.TLU_BUSY_DURATION, 2, since=_TIMESTAMP),
    _Row(Register.NODATA_CONTINUE, 1),
    _Row(Register.SHIFT_REGISTER, 1),
    _Row(Register.SHIFT_INPUT, 1),
    _Row(Register.READBACK_CTRL, 1, since=_READBACK),
    _Row(Register.READBACK_CRC, 6, Access.READ, since=_READBACK),
    _Row(Register.READBACK, 1, Access.READ, since=_READBACK),
    _Row(Register.READBACK_SIZE, 4, Access.READ, since=_READBACK),
    _Row(Register.INJECTION_CTRL, 1),
    _Row(Register.INJECTION_ADDRESS, 1),
    _Row(Register.INJECTION_DATA, 1),
    _Row(Register.READOUT_CTRL, 1, since=CLOCK_CTRL_SINCE),
    _Row(Register.READOUT, 1, Access.READ),
    _Row(Register.READOUT_SIZE, 4, Access.READ),
    _Row(Register.IO_CTRL, 1),
    _Row(Register.IO_LED, 1),
    _Row(Register.CARDS, 1),
    _Row(Register.HK_CONVERSION_MATCH, 4),
    _Row(Register.TIMESTAMP_DIVIDER_MATCH, 4, since=_TIMESTAMP),
    _Row(Register.FRAME_TAG_DIVIDER_MATCH, 4, until=_TIMESTAMP),
)
"""In the order of their addresses."""

SIZES: Final[Mapping[Register, int]] = {row.register: row.size for row in _ROWS}
"""Bytes of each register in the newest firmware that has it; FIFOs and ports have 1."""


class _Place(NamedTuple):
    address: int
    size: int
    access: Access


class NamedRequest(Protocol):
    """A request that names its register."""

    def encode(self, registers: "RegisterMap") -> bytes:
        """Its bytes, with the addresses of `registers`."""


@dataclass(frozen=True)
class RegisterMap:
    """Where the firmwares built from the day `since` on keep their registers."""

    since: date
    end: int
    """The first address after the last register."""
    _places: Mapping[Register, _Place] = field(repr=False)
    _names: Mapping[int, Register] = field(repr=False)

    @property
    def registers(self) -> tuple[Register, ...]:
        """The registers there are, by address."""
        return tuple(self._places)

    def has(self, register: Register) -> bool:
        """Whether these firmwares have `register`."""
        return register in self._places

    def address(self, register: Register | int) -> int:
        """The first address of `register`; an address is its own. `AstepError` where the firmware has no such one."""
        if isinstance(register, int):
            return register
        return self._place(register).address

    def size(self, register: Register) -> int:
        """How many bytes it has, from its address on; FIFOs and ports have 1. `AstepError` as `address`."""
        return self._place(register).size

    def readable(self, register: Register) -> bool:
        """Whether it can be read; `AstepError` as `address`."""
        return Access.READ in self._place(register).access

    def writable(self, register: Register) -> bool:
        """Whether a write changes it; `AstepError` as `address`."""
        return Access.WRITE in self._place(register).access

    def can_read(self, address: int) -> bool:
        """Whether a read of this one address gives a byte; where it does not, the firmware hangs."""
        return any(
            place.address <= address < place.address + place.size
            for place in self._places.values()
            if Access.READ in place.access
        )

    def encode(self, request: NamedRequest) -> bytes:
        """The bytes of a request to these firmwares. `AstepError` where they cannot take it."""
        return request.encode(self)

    def at(self, address: int) -> Register | None:
        """The register that begins at `address`."""
        return self._names.get(address)

    def describe(self, register: Register | int) -> str:
        """`0xA4 (READOUT_SIZE)`, also for its other bytes; an address without a register is a number only.

        A missing register is its name.
        """
        if isinstance(register, int):
            for name, each in self._places.items():
                if each.address <= register < each.address + each.size:
                    return f"0x{register:02X} ({name.name})"
            return f"0x{register:02X}"
        place = self._places.get(register)
        return register.name if place is None else f"0x{place.address:02X} ({register.name})"

    def _place(self, register: Register) -> _Place:
        place = self._places.get(register)
        if place is None:
            raise AstepError(
                f"register {register.name} ({register.value}) is missing in the register map of {self.since}; "
                "load a newer firmware"
            )
        return place


def _map_of(since: date) -> RegisterMap:
    places: dict[Register, _Place] = {}
    address = 0
    for row in _ROWS:
        if row.since <= since < row.until:
            places[row.register] = _Place(address, row.size, row.access)
            address += row.size
    return RegisterMap(since, address, places, {place.address: register for register, place in places.items()})


REGISTER_MAPS: Final = tuple(map(_map_of, _DATES))
"""All that are known, the oldest first."""

NEWEST_MAP: Final = REGISTER_MAPS[-1]
