"""Which A-STEP firmware answers, and what follows from its id and version."""

from datetime import date

import pytest

from protocol.errors import AstepError
from protocol.registers.astep_firmware import Firmware, check_firmware, choose_register_map
from protocol.registers.astep_register_map import NEWEST_MAP, REGISTER_MAPS
from protocol.registers.steps import UnexpectedAnswerError
from tests.protocol.astep_steps import told


def test_the_firmware_identifies_itself_and_nothing_is_written() -> None:
    sent, firmware = told(check_firmware(), {0x00: [0xAB03], 0x04: [26012701]})
    assert sent == ["06000400", "06040400"]
    assert firmware == Firmware(0xAB03, 26012701)
    assert str(firmware) == "firmware 0xAB03 (Nexys with GECCO), version 26012701"


@pytest.mark.parametrize(
    ("number", "board", "has_cards", "chip_version"),
    [
        (0xAB03, "Nexys with GECCO", True, 3),
        (0xAB04, "Nexys with GECCO", True, 4),
        (0xAC03, "CMOD A7", False, 3),
        (0xAC14, "CMOD R2", False, 4),
        (0xFF00, "simulation or ComPair", False, None),
    ],
)
def test_ids(number: int, board: str, has_cards: bool, chip_version: int | None) -> None:
    firmware = Firmware(number, 26012701)
    assert (firmware.board, firmware.has_cards, firmware.chip_version) == (board, has_cards, chip_version)


@pytest.mark.parametrize("number", [0, 0x55, 0xFFFFFFFF, 0xAD03, 0xAB13, 0xAC23, 0x1AB03, 0x1FF00])
def test_another_firmware_is_named(number: int) -> None:
    with pytest.raises(UnexpectedAnswerError, match=f"FIRMWARE_ID.*0x{number:08X}"):
        told(check_firmware(), {0x00: [number]})


@pytest.mark.parametrize(
    ("version", "since", "order"),
    [
        (25083100, "2025-08-31", "little"),
        (25110499, "2025-08-31", "little"),
        (25110501, "2025-11-05", "little"),
        (25111999, "2025-11-05", "little"),
        (25112001, "2025-11-20", "little"),
        (25112399, "2025-11-20", "little"),
        (25112400, "2025-11-24", "big"),
        (25120501, "2025-12-05", "big"),
        (26012699, "2025-12-05", "big"),
        (26012701, "2026-01-27", "big"),
        (26012799, "2026-01-27", "big"),
    ],
)
def test_map_and_byte_order_follow_from_the_version(version: int, since: str, order: str) -> None:
    firmware = Firmware(0xAC04, version)
    registers = choose_register_map(firmware)
    assert (str(registers.since), firmware.timestamp_order(registers)) == (since, order)


UNKNOWN = [0, 25083099, 25083000, 26012800, 26130101, 26022999, 0x20251101, 99999999, 0xFFFFFFFF]


@pytest.mark.parametrize("version", UNKNOWN)
def test_an_unknown_version_is_refused_by_its_number(version: int) -> None:
    with pytest.raises(AstepError, match=rf"version {version} are unknown.*astep\.register_map"):
        choose_register_map(Firmware(0xAC04, version))


@pytest.mark.parametrize("version", UNKNOWN)
def test_an_unknown_version_is_taken_where_the_map_is_named(version: int) -> None:
    assert choose_register_map(Firmware(0xAC04, version), NEWEST_MAP.since) is NEWEST_MAP


def test_a_map_that_does_not_exist() -> None:
    with pytest.raises(AstepError, match=r"2026-01-28.*2025-08-31, .*2026-01-27"):
        choose_register_map(Firmware(0xAC04, 26012701), date(2026, 1, 28))


def test_the_order_without_a_date_is_that_of_the_map() -> None:
    assert [Firmware(0xAC04, 26130101).timestamp_order(each) for each in REGISTER_MAPS] == 3 * ["little"] + 3 * ["big"]


def test_only_layer_1_of_a_nexys_loads_tdacs_by_the_port() -> None:
    assert [Firmware(0xAB04, 26012701).loads_tdacs_by_port(layer) for layer in range(3)] == [True, False, False]
    assert not Firmware(0xAC04, 26012701).loads_tdacs_by_port(0)
    assert not Firmware(0xAB04, 25112401).loads_tdacs_by_port(0)
