"""What is compared on an A-STEP board: configuration and firmware, and what was written and what is there."""

from collections.abc import Generator, Iterator, Mapping
from typing import Final

from daqd.configuration.config import AstepSection
from protocol.chips.chip_setup import ChipSetup
from protocol.registers.astep_chip import VERIFIED, compare, read_back
from protocol.registers.astep_firmware import Firmware
from protocol.registers.astep_register_map import RegisterMap
from protocol.registers.astep_registers import ClockCtrl, Register
from protocol.registers.astep_sequence import Step, read_value

_CHECKED: Final = (
    Register.CHIP_VERSION,
    Register.CLOCK_CTRL,
    Register.TIMESTAMP_CTRL,
    Register.SPI_DIVIDER,
    Register.NODATA_CONTINUE,
    Register.READOUT_CTRL,
)
"""Settings that are read back before a run: a damaged request may have changed them."""

_SETTABLE: Final = {Register.CLOCK_CTRL: int(~ClockCtrl.CURRENT & 0xFF)}
"""Bits that stay as they are written, where not all do."""

_NOT_READ: Final = "not read back: "


def contradictions(astep: AstepSection, firmware: Firmware, registers: RegisterMap) -> Iterator[str]:
    """Warnings of settings that contradict the firmware's version. The settings are obeyed."""
    named, by_version = astep.register_map, firmware.register_map
    if named is not None and by_version is None:
        yield f"astep.register_map: {firmware} is unknown, and the map of {named} is used as configured"
    elif named is not None and by_version is not registers:
        since = None if by_version is None else by_version.since
        yield f"astep.register_map = {named}, but {firmware} has the map of {since}"
    by_firmware, wanted = firmware.timestamp_order(registers), astep.timestamp_order
    if wanted not in ("auto", by_firmware):
        yield (
            f'astep.timestamp_order = "{wanted}", but {firmware} sends "{by_firmware}": FPGA time stamps are '
            'decoded as configured, and probably wrong; set it to "auto"'
        )


def read_back_layers(
    setup: ChipSetup, registers: RegisterMap, *, wanted: bool
) -> Generator[Step, bytes, dict[str, str]]:
    """What became of reading the configuration of each layer back: `VERIFIED`, why it differs, or why it was not read.

    The keys are `layer_1` and so on.
    """
    results = {}
    for layer in range(setup.layers):
        result = _why_not_read_back(setup, registers, wanted)
        if not result:
            chips = setup.layer(layer)
            found = yield from read_back(layer, sum(chip.bits for chip in chips))
            result = compare(chips, found)
        results[f"layer_{layer + 1}"] = result
    return results


def read_back_warnings(results: Mapping[str, str]) -> tuple[str, ...]:
    """A warning for each layer whose configuration was read back and differs."""
    return tuple(
        f"{layer.replace('_', ' ')}: the configuration of the chips is not as written: {result}"
        for layer, result in results.items()
        if result != VERIFIED and not result.startswith(_NOT_READ)
    )


def _why_not_read_back(setup: ChipSetup, registers: RegisterMap, wanted: bool) -> str:
    if not wanted:
        return f"{_NOT_READ}astep.read_back = false"
    if not registers.has(Register.READBACK):
        return f"{_NOT_READ}the firmware cannot"
    return "" if setup.method == "shift-register" else f"{_NOT_READ}configured by SPI"


def damaged_settings(written: Mapping[Register, bytes]) -> Generator[Step, bytes, str]:
    """Names of the settings that are not as they were `written`, separated by commas; empty where all are."""
    damaged = []
    for register in _CHECKED:
        if (data := written.get(register)) is None:
            continue
        bits = _SETTABLE.get(register, -1)
        got = yield from read_value(register, "is it still set", len(data))
        if got & bits != int.from_bytes(data, "little") & bits:
            damaged.append(register.name)
    return ", ".join(damaged)
