"""Where each A-STEP firmware keeps its registers."""

import pytest

from protocol.errors import AstepError
from protocol.registers.astep import RegisterRead, read_register, write_register
from protocol.registers.astep_register_map import NEWEST_MAP, REGISTER_MAPS, RegisterMap
from protocol.registers.astep_registers import LAYER_CTRL, Register

OLDEST, TIMESTAMP, READBACK, CLOCKS, CHIPS, NEWEST = REGISTER_MAPS


def test_dates() -> None:
    assert [str(registers.since) for registers in REGISTER_MAPS] == [
        "2025-08-31", "2025-11-05", "2025-11-20", "2025-11-24", "2025-12-05", "2026-01-27"
    ]  # fmt: skip
    assert NEWEST_MAP is NEWEST


@pytest.mark.parametrize(
    ("register", "addresses"),
    [
        (Register.FIRMWARE_VERSION, [0x04, 0x04, 0x04, 0x04, 0x04, 0x04]),
        (Register.CHIP_VERSION, [None, None, None, None, 0x08, 0x08]),
        (Register.CLOCK_CTRL, [None, None, None, 0x08, 0x09, 0x09]),
        (Register.LAYER_2_CTRL, [0x1F, 0x1F, 0x1F, 0x20, 0x21, 0x21]),
        (Register.LAYER_1_MOSI_SIZE, [0x4D, 0x4D, 0x4D, 0x4E, 0x4F, 0x4F]),
        (Register.FRAME_TAG_COUNTER, [0x79, None, None, None, None, None]),
        (Register.TIMESTAMP_CTRL, [None, 0x74, 0x74, 0x75, 0x76, 0x76]),
        (Register.TIMESTAMP_COUNTER, [None, 0x79, 0x79, 0x7B, 0x7C, 0x7C]),
        (Register.SHIFT_REGISTER, [0x7E, 0x86, 0x86, 0x90, 0x91, 0x91]),
        (Register.READBACK, [None, None, 0x8F, 0x99, 0x9A, 0x9A]),
        (Register.READOUT_CTRL, [None, None, None, 0xA1, 0xA2, 0xA2]),
        (Register.READOUT, [0x83, 0x8B, 0x97, 0xA2, 0xA3, 0xA3]),
        (Register.CARDS, [0x8A, 0x92, 0x9E, 0xA9, 0xAA, 0xAA]),
        (Register.TIMESTAMP_DIVIDER_MATCH, [None, 0x97, 0xA3, 0xAE, 0xAF, 0xAF]),
        (Register.FRAME_TAG_DIVIDER_MATCH, [0x8F, None, None, None, None, None]),
    ],
)
def test_addresses(register: Register, addresses: list[int | None]) -> None:
    assert [each.address(register) if each.has(register) else None for each in REGISTER_MAPS] == addresses


@pytest.mark.parametrize("registers", REGISTER_MAPS, ids=str)
def test_registers_follow_each_other_without_gaps(registers: RegisterMap) -> None:
    address = 0
    for register in registers.registers:
        assert registers.address(register) == address
        assert registers.at(address) == register
        address += registers.size(register)
    assert address == registers.end


def test_the_same_address_is_another_register_on_another_map() -> None:
    assert [OLDEST.at(0x1F), CLOCKS.at(0x1F), NEWEST.at(0x1F)] == [LAYER_CTRL[2], LAYER_CTRL[1], LAYER_CTRL[0]]
    assert (CLOCKS.at(0x08), CHIPS.at(0x08)) == (Register.CLOCK_CTRL, Register.CHIP_VERSION)


def test_a_register_that_is_missing_is_named() -> None:
    with pytest.raises(AstepError, match=r"READOUT_CTRL .*missing.* 2025-08-31"):
        read_register(Register.READOUT_CTRL).encode(OLDEST)
    assert OLDEST.describe(Register.READOUT_CTRL) == "READOUT_CTRL"


def test_a_write_that_would_reach_the_next_register_is_refused() -> None:
    assert write_register(Register.TIMESTAMP_CTRL, 0x13).encode(CLOCKS) == bytes.fromhex("057502001300")
    with pytest.raises(AstepError, match="TIMESTAMP_CTRL"):
        write_register(Register.TIMESTAMP_CTRL, 0x13).encode(READBACK)
    assert write_register(Register.TIMESTAMP_CTRL, 0x13, size=1).encode(READBACK) == bytes.fromhex("0174010013")


def test_what_cannot_be_read_or_written() -> None:
    assert not NEWEST.readable(Register.LAYER_0_MOSI)
    assert not NEWEST.writable(Register.FIRMWARE_ID)
    assert NEWEST.writable(Register.LAYER_0_FRAMES)


def test_names_for_people() -> None:
    assert NEWEST.describe(0xA4) == NEWEST.describe(Register.READOUT_SIZE) == "0xA4 (READOUT_SIZE)"
    assert OLDEST.describe(0x84) == "0x84 (READOUT_SIZE)"
    assert NEWEST.describe(0x7D) == "0x7D (TIMESTAMP_COUNTER)"
    assert NEWEST.encode(RegisterRead(Register.READOUT, 14)) == bytes.fromhex("02a30e00")
