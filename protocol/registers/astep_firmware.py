"""Which A-STEP firmware answers, and what follows from it (docs/formats.md, "A-STEP registers").

The firmware's id and version never moved; they are read before anything is written, and decide which register map
holds, how the bytes of the time stamp are ordered, and which pins the board has.
"""

from collections.abc import Generator
from dataclasses import dataclass
from datetime import date
from typing import Final

from protocol.errors import AstepError
from protocol.readout_description import TimestampOrder
from protocol.registers.astep_register_map import REGISTER_MAPS, RegisterMap
from protocol.registers.astep_registers import CLOCK_CTRL_SINCE, Register
from protocol.registers.astep_sequence import Step, read_value
from protocol.registers.steps import UnexpectedAnswerError

BOARDS: Final = {0xAB0: "Nexys with GECCO", 0xAC0: "CMOD A7", 0xAC1: "CMOD R2"}
"""The firmware id without its last digit, which is the version of the chips the firmware was built for."""

SIMULATION_ID: Final = 0xFF00
_NEXYS: Final = 0xAB0
_TDAC_LOAD_SINCE: Final = date(2025, 12, 5)


@dataclass(frozen=True)
class Firmware:
    """Which firmware answers; `version` is the decimal number YYMMDDNN, NN the build of the day."""

    id: int
    version: int

    @property
    def is_known(self) -> bool:
        """Whether the id is that of an A-STEP firmware."""
        return self.id == SIMULATION_ID or self.id >> 4 in BOARDS

    @property
    def board(self) -> str:
        """The board it runs on, as far as its id tells."""
        return "simulation or ComPair" if self.id == SIMULATION_ID else BOARDS.get(self.id >> 4, "unknown board")

    @property
    def chip_version(self) -> int | None:
        """The version of the chips it was built for; None where the id does not tell."""
        return None if self.id == SIMULATION_ID else self.id & 0xF

    @property
    def built(self) -> date | None:
        """The day of the build; None where `version` is no date."""
        year, month, day = self.version // 1_000_000, self.version // 10_000 % 100, self.version // 100 % 100
        try:
            return date(2000 + year, month, day)
        except ValueError:
            return None

    @property
    def has_cards(self) -> bool:
        """Whether voltage and injection cards can be there."""
        return self.id >> 4 == _NEXYS

    @property
    def register_map(self) -> RegisterMap | None:
        """The map of this version; None for versions older than the oldest map, newer than the newest, or no dates."""
        built = self.built
        if built is None or built > REGISTER_MAPS[-1].since:
            return None
        return next((each for each in reversed(REGISTER_MAPS) if each.since <= built), None)

    def timestamp_order(self, registers: RegisterMap) -> TimestampOrder:
        """Order of the bytes of the time stamp in frames: most significant first since 2025-11-24.

        `registers`: the map in force, whose date counts where the firmware's version is no date.
        """
        return "big" if (self.built or registers.since) >= CLOCK_CTRL_SINCE else "little"

    def loads_tdacs_by_port(self, layer: int) -> bool:
        """Whether the shift-register port has a TDAC load for `layer`, from 0.

        Only the Nexys has the pin, and only for layer 0; no firmware before 2025-12-05 has the bit.
        """
        return self.id >> 4 == _NEXYS and layer == 0 and self.built is not None and self.built >= _TDAC_LOAD_SINCE

    def __str__(self) -> str:
        return f"firmware 0x{self.id:04X} ({self.board}), version {self.version}"


def check_firmware() -> Generator[Step, bytes, Firmware]:
    """Is a board there, and does it run an A-STEP firmware? Nothing is written."""
    number = yield from read_value(Register.FIRMWARE_ID, "firmware id: is the board there")
    version = yield from read_value(Register.FIRMWARE_VERSION, "firmware version")
    firmware = Firmware(number, version)
    if not firmware.is_known:
        known = ", ".join(f"0x{upper:03X}n ({board})" for upper, board in BOARDS.items())
        raise UnexpectedAnswerError(
            Register.FIRMWARE_ID,
            f"{known} or 0x{SIMULATION_ID:04X}",
            f"0x{number:08X}",
            "this is not a known A-STEP firmware; check board.kind, and that the firmware is loaded",
        )
    return firmware


def choose_register_map(firmware: Firmware, named: date | None = None) -> RegisterMap:
    """The map of `firmware`, or the one of the day `named`, which the operator takes the responsibility for.

    Raises `AstepError` where the version is unknown and no map is named, or no map has that day.
    """
    if named is not None:
        found = next((each for each in REGISTER_MAPS if each.since == named), None)
        if found is None:
            days = ", ".join(str(each.since) for each in REGISTER_MAPS)
            raise AstepError(f"astep.register_map: there is no register map of {named}; there are maps of {days}")
        return found
    registers = firmware.register_map
    if registers is None:
        first, last = REGISTER_MAPS[0].since, REGISTER_MAPS[-1].since
        raise AstepError(
            f"the registers of {firmware} are unknown (known: builds of {first} to {last}), and nothing was written: "
            "load a known firmware, or name the map that holds with astep.register_map"
        )
    return registers
