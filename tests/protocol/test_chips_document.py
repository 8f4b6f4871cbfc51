"""docs/chips.md says what the code does: its tables and figures are read and compared."""

import re
from itertools import chain
from pathlib import Path

from protocol.chips.astropix_chips import ASTROPIX3, ASTROPIX4
from protocol.chips.chip_config import ChipConfig, dac_code
from protocol.chips.chip_vector import configuration_bits
from protocol.chips.gecco_cards import GeccoCards
from protocol.registers.gecco import ChipPort, WriteRequest
from protocol.registers.gecco_chip import set_injection_card, set_voltages, shift_into_chips, write_tdac_row

DOCUMENT = (Path(__file__).parents[2] / "docs" / "chips.md").read_text(encoding="utf-8")
OFF = ChipConfig.usual(ASTROPIX4)


def table(first_heading: str) -> list[list[str]]:
    for block in re.findall(r"(?:^\|.*\|\n)+", DOCUMENT, re.MULTILINE):
        rows = [[cell.strip() for cell in line.strip("|").split("|")] for line in block.splitlines()]
        if rows[0][0] == first_heading:
            return rows[2:]
    raise AssertionError(first_heading)


def test_groups() -> None:
    for name, values, bits in table("group"):
        group = [value for value in ASTROPIX4.values if value.group == name]
        assert (len(group), sum(value.bits for value in group)) == (int(values), int(bits))
    assert [row[0] for row in table("group")] == list(ASTROPIX4.groups)


def test_version_3() -> None:
    rows = table("group of version 3")
    for name, values, bits in rows:
        group = [value for value in ASTROPIX3.values if value.group == name]
        assert (len(group), sum(value.bits for value in group)) == (int(values), int(bits))
    assert [row[0] for row in rows] == list(ASTROPIX3.groups)
    (step,) = shift_into_chips(configuration_bits([ChipConfig.usual(ASTROPIX3)]), ChipPort.LOAD, "")
    assert isinstance(step, WriteRequest)
    assert len(step.data) == 62_040
    assert "62 040 bytes to the chips' port" in DOCUMENT


def test_bits_of_a_column() -> None:
    def changed(column: int, chip: ChipConfig) -> int:
        return chip.value("recconfig", f"col{column}") ^ OFF.value("recconfig", f"col{column}")

    bits = [row[0] for row in table("bit")]
    assert bits == ["0", "1 … 35", "36", "37"]
    assert changed(5, OFF.with_injection(5, 9)) == 1 << 0
    assert changed(5, OFF.with_pixel(0, 5, True)) == 1 << 1
    assert changed(5, OFF.with_injection(9, 5).with_pixel(9, 5, False)) == 1 << 36
    assert changed(5, OFF.with_analog_output(5)) == 1 << 37


def test_codes() -> None:
    for where, voltage, code in table("where"):
        value = float(voltage.split()[0])
        assert int(code) == (dac_code(value) if where == "chip" else GeccoCards().dac_code(value))


def test_lengths() -> None:
    steps = (
        shift_into_chips(configuration_bits([OFF]), ChipPort.LOAD, ""),
        write_tdac_row([OFF], 0),
        set_voltages(GeccoCards()),
        set_injection_card(GeccoCards(), 300),
    )
    written = [len(step.data) for step in chain(*steps) if isinstance(step, WriteRequest)]
    assert written == [34_320, 3440, 3424, 1120]
    for length in ("34 320 bytes in one write", "3440 bytes", "3424 bytes", "1120 bytes"):
        assert length in DOCUMENT
