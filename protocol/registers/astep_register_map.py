"""Where each A-STEP firmware keeps its registers (docs/formats.md, "A-STEP registers").

The firmware has moved its registers several times. The registers lie one after the other without gaps, so a map follows
from which registers it has, and from their sizes.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import date
from typing import Final, NamedTuple, Protocol

from protocol.errors import AstepError
from protocol.registers.astep_registers import CLOCK_CTRL_SINCE, MAP_DATES, Access, Register


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
    for register in Register:
        if register.since <= since < register.until:
            first_had_one_byte = register is Register.TIMESTAMP_CTRL and since < CLOCK_CTRL_SINCE
            size = 1 if first_had_one_byte else register.size
            places[register] = _Place(address, size, register.access)
            address += size
    return RegisterMap(since, address, places, {place.address: register for register, place in places.items()})


REGISTER_MAPS: Final = tuple(map(_map_of, MAP_DATES))
"""All that are known, the oldest first."""

NEWEST_MAP: Final = REGISTER_MAPS[-1]
