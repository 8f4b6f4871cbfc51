"""Setting up an A-STEP firmware: bytes by hand, for each register map."""

from typing import Any

import pytest

from protocol.errors import AstepError
from protocol.registers.astep_firmware import Firmware
from protocol.registers.astep_register_map import REGISTER_MAPS, RegisterMap
from protocol.registers.astep_setup import AstepSettings, check_settings, set_up
from protocol.registers.steps import UnexpectedAnswerError
from tests.protocol.astep_steps import told

OLDEST, TIMESTAMP, READBACK, CLOCKS, CHIPS, NEWEST = REGISTER_MAPS
SETTINGS = AstepSettings(layers=2, chips=4, spi_hz=1e6, timestamp_bits=32)


@pytest.mark.parametrize("registers", [CHIPS, NEWEST], ids=str)
def test_set_up(registers: RegisterMap) -> None:
    sent, warnings = told(set_up(SETTINGS, registers), {0x08: [4], 0x09: [0x02], 0xAF: [4], 0x7C: [7, 8]}, registers)
    assert sent == [
        "0108010004", "02080100",  # chip version, and does the board take it
        "02090100", "010901001a",  # both clocks on, nothing else changed
        "057602001000",  # time stamp off, divider stopped, 32 bits
        "06af0400", "05af040050000000",  # 80 MHz / 1 MHz
        "0578040001000000",  # divider at 1
        "057602001300",  # enabled, divided, 32 bits
        "067c0200", "0.001 s", "067c0200",  # does it advance
        "011d010013",  # 40 MHz / 2 MHz - 1 = 19
        "0190010008",  # 5 + 4 - 1
        "02930100",  # no reading back that an earlier program left on
        "02a20100", "01a2010001",  # whole frames
    ]  # fmt: skip
    assert warnings == ()


def test_set_up_before_the_chip_version_could_be_set() -> None:
    sent, _ = told(set_up(SETTINGS, CLOCKS), {0xAE: [80], 0xA1: [1], 0x7B: [1, 2]}, CLOCKS)
    assert sent == [
        "02080100", "0108010018",
        "057502001000", "06ae0400", "0577040001000000", "057502001300", "067b0200", "0.001 s", "067b0200",
        "011c010013", "018f010008", "02920100", "02a10100",
    ]  # fmt: skip


@pytest.mark.parametrize(("registers", "match", "io_ctrl"), [(TIMESTAMP, 0x97, 0x90), (READBACK, 0xA3, 0x9C)])
def test_clocks_were_in_the_io_control_and_the_time_stamp_had_one_byte(
    registers: RegisterMap, match: int, io_ctrl: int
) -> None:
    sent, _ = told(set_up(SETTINGS, registers), {io_ctrl: [0x18], 0x79: [1, 2]}, registers)
    assert sent == [
        f"02{io_ctrl:02x}0100", f"01{io_ctrl:02x}01001b",
        "0174010010", f"06{match:02x}0400", f"05{match:02x}040050000000", "0575040001000000", "0174010013",
        "06790200", "0.001 s", "06790200",
        "011b010013", "0185010008", *(["02880100"] if registers is READBACK else []),
    ]  # fmt: skip


def test_the_frame_tag_was_there_before_the_time_stamp() -> None:
    sent, _ = told(set_up(SETTINGS, OLDEST), {0x88: [0x18], 0x79: [1, 2]}, OLDEST)
    assert sent == [
        "02880100", "018801001b",
        "0174010000", "068f0400", "058f040050000000", "0575040001000000", "0174010003",
        "06790200", "0.001 s", "06790200",
        "011b010013", "017d010008",
    ]  # fmt: skip


def test_an_equal_match_and_packet_mode_are_not_written_again() -> None:
    sent, _ = told(set_up(SETTINGS, NEWEST), {0x08: [4], 0xAF: [80], 0xA2: [1], 0x7C: [1, 2]})
    assert not [each for each in sent if each.startswith(("05af", "01a2"))]
    assert "0578040001000000" in sent


def test_reading_back_that_was_left_on_is_ended() -> None:
    sent, _ = told(set_up(SETTINGS, NEWEST), {0x08: [4], 0x93: [1]})
    assert "0193010000" in sent


@pytest.mark.parametrize("registers", REGISTER_MAPS, ids=str)
def test_a_time_stamp_that_stands_still_is_reported(registers: RegisterMap) -> None:
    _, warnings = told(set_up(SETTINGS, registers), {0x08: [4]}, registers)
    (warning,) = warnings
    assert "stands still" in warning


def test_a_board_that_does_not_take_what_is_written() -> None:
    with pytest.raises(UnexpectedAnswerError, match=r"CHIP_VERSION.*expected 4, got 3"):
        told(set_up(AstepSettings(), NEWEST), {0x08: [3]})


@pytest.mark.parametrize(
    "settings", [{"layers": 0}, {"layers": 4}, {"chips": 32}, {"spi_hz": 1.0}, {"timestamp_bits": 8}]
)
def test_impossible_settings(settings: dict[str, Any]) -> None:
    with pytest.raises(AstepError):
        AstepSettings(**settings)


@pytest.mark.parametrize("registers", REGISTER_MAPS, ids=str)
def test_the_usual_settings_fit_every_map(registers: RegisterMap) -> None:
    check_settings(AstepSettings(), Firmware(0xAC04, int(f"{registers.since:%y%m%d}01")), registers)
    check_settings(AstepSettings(), Firmware(0xFF00, int(f"{registers.since:%y%m%d}01")), registers)


@pytest.mark.parametrize(
    ("settings", "named", "first_that_can"),
    [
        ({"chip_version": 3}, r"board\.chip_version = 3.*AstroPix 4", CHIPS),
        ({"timestamp_bits": 64}, r"astep\.timestamp_bits = 64", TIMESTAMP),
        ({"packet_mode": False}, r"astep\.packet_mode = false", CLOCKS),
        ({"fixed_reads": True}, r"astep\.read", CLOCKS),
    ],
)
def test_what_a_firmware_cannot_do_is_named(settings: dict[str, Any], named: str, first_that_can: RegisterMap) -> None:
    for registers in REGISTER_MAPS:
        firmware = Firmware(0xAC04, int(f"{registers.since:%y%m%d}01"))
        if registers.since >= first_that_can.since:
            check_settings(AstepSettings(**settings), firmware, registers)
        else:
            with pytest.raises(AstepError, match=named):
                check_settings(AstepSettings(**settings), firmware, registers)
