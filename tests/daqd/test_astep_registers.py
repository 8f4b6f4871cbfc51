"""The registers of the emulated A-STEP firmware, for each map: reset values, what can be written, the time stamp."""

from typing import Any

import pytest

from daqd.boards.astep import AstepBoard
from daqd.emulator.astep_model import AstepModel
from daqd.emulator.factory import emulated_board
from daqd.errors import BoardError
from protocol.registers.astep import RegisterWrite, encode_requests, read_register, write_register
from protocol.registers.astep_firmware import Firmware
from protocol.registers.astep_register_map import NEWEST_MAP, REGISTER_MAPS, RegisterMap
from protocol.registers.astep_registers import InjectionCtrl, Register
from tests.daqd.astep_bench import AstepBench

pytestmark = pytest.mark.slow

MAPS = pytest.mark.parametrize("registers", REGISTER_MAPS, ids=lambda registers: str(registers.since))


def version_of(registers: RegisterMap) -> int:
    return int(f"{registers.since:%y%m%d}01")


def bench_of(registers: RegisterMap, astep: dict[str, Any] | None = None, **board: Any) -> AstepBench:
    return AstepBench(board, {"firmware_version": version_of(registers)}, astep)


IDENTIFICATION = [f"020{byte}0004" for byte in (3, 2, 1, 0, 7, 6, 5, 4)]
"""The bytes of the id, then of the version, each in a request of its own."""


def said_but_zeros(bench: AstepBench) -> list[str]:
    """What was sent, without the zeros that end an earlier session's request."""
    return [each for each in bench.take_said() if each.strip("0")]


def value(model: AstepModel, register: Register) -> int:
    model._clock.sleep(max(0.0, model.answering_until - model._clock()))  # type: ignore[attr-defined]
    size = model.registers.size(register)
    return int.from_bytes(model.exchange(read_register(register, size=size).encode(model.registers)), "little")


def write(model: AstepModel, register: Register, number: int) -> None:
    model._clock.sleep(max(0.0, model.answering_until - model._clock()))  # type: ignore[attr-defined]
    request = write_register(register, number, size=model.registers.size(register))
    assert model.exchange(request.encode(model.registers)) == b""


@MAPS
def test_reset_values(registers: RegisterMap) -> None:
    model = bench_of(registers).model
    assert model.registers is registers
    expected = {
        Register.FIRMWARE_ID: 0xAC04,
        Register.FIRMWARE_VERSION: version_of(registers),
        Register.CHIP_VERSION: 3,
        Register.CLOCK_CTRL: 2,
        Register.SPI_DIVIDER: 4,
        Register.LAYER_0_CTRL: 7,
        Register.LAYER_1_CTRL: 7,
        Register.LAYER_2_CTRL: 7,
        Register.LAYER_0_FRAMES: 0,
        Register.FRAME_TAG_CTRL: 1,
        Register.TIMESTAMP_CTRL: 0x10 if registers.has(Register.CLOCK_CTRL) else 0x0A,
        Register.TLU_TRIGGER_DELAY: 2,
        Register.TLU_BUSY_DURATION: 16,
        Register.NODATA_CONTINUE: 5,
        Register.INJECTION_CTRL: 6,
        Register.READOUT_CTRL: 1,
        Register.READOUT_SIZE: 0,
        Register.IO_CTRL: 0x18,
        Register.TIMESTAMP_DIVIDER_MATCH: 4,
        Register.FRAME_TAG_DIVIDER_MATCH: 4,
    }
    there = {register: number for register, number in expected.items() if registers.has(register)}
    assert {register: value(model, register) for register in there} == there


@MAPS
def test_what_can_be_written(registers: RegisterMap) -> None:
    model = bench_of(registers).model
    for register in (Register.FIRMWARE_ID, Register.XADC_VCCINT, Register.LAYER_0_STATUS, Register.READOUT_SIZE):
        before = value(model, register)
        write(model, register, 0x55)
        assert value(model, register) == before
    write(model, Register.LAYER_1_FRAMES, 0x01020304)
    assert value(model, Register.LAYER_1_FRAMES) == 0x01020304
    write(model, Register.INJECTION_CTRL, int(InjectionCtrl.SUSPEND))
    assert value(model, Register.INJECTION_CTRL) == InjectionCtrl.SUSPEND
    write(model, Register.INJECTION_CTRL, 0xFF)
    assert value(model, Register.INJECTION_CTRL) == 0x9F
    write(model, Register.INJECTION_ADDRESS, 0xF7)
    assert value(model, Register.INJECTION_ADDRESS) == 0x07


@MAPS
def test_the_time_stamp_counts_at_1_mhz_after_each_configure(registers: RegisterMap) -> None:
    bench = bench_of(registers, layers=3)
    bench.board.open()
    counter = Register.TIMESTAMP_COUNTER if registers.has(Register.TIMESTAMP_CTRL) else Register.FRAME_TAG_COUNTER
    for _ in range(20):
        bench.clock.sleep(0.000_001_7)
        bench.board.configure()
        assert bench.board.status().warnings == ()
        before = value(bench.model, counter)
        bench.clock.sleep(0.5)
        assert value(bench.model, counter) - before == pytest.approx(500_000, abs=1)


@MAPS
def test_the_previous_set_up_froze_the_time_stamp(registers: RegisterMap) -> None:
    """It wrote the match of the running divider: half of the times, the divider was counting down."""
    frozen = 0
    for number in range(20):
        bench = bench_of(registers)
        bench.board.open()
        bench.board.configure()
        stamped = registers.has(Register.TIMESTAMP_CTRL)
        match = Register.TIMESTAMP_DIVIDER_MATCH if stamped else Register.FRAME_TAG_DIVIDER_MATCH
        counter = Register.TIMESTAMP_COUNTER if stamped else Register.FRAME_TAG_COUNTER
        bench.clock.sleep(number * 0.1e-6)
        write(bench.model, match, 80)
        before = value(bench.model, counter)
        bench.clock.sleep(53.0)
        frozen += value(bench.model, counter) == before
        bench.clock.sleep(1.0)
        assert value(bench.model, counter) > before
    assert 5 <= frozen <= 15


def test_a_time_stamp_that_stands_still_is_a_warning_until_the_next_configure() -> None:
    bench = AstepBench()
    bench.board.open()
    second_byte = bench.model.registers.address(Register.TIMESTAMP_COUNTER) + 1
    bench.model.answer_filter = lambda request, data: (
        bytes(len(data)) if request.register in (Register.TIMESTAMP_COUNTER, second_byte) else data
    )
    bench.board.configure()
    (warning,) = bench.board.status().warnings
    assert "stands still" in warning
    bench.model.answer_filter = None
    bench.board.configure()
    assert bench.board.status().warnings == ()


def test_the_time_stamp_of_64_bits_starts_at_half_its_range() -> None:
    bench = AstepBench(astep={"timestamp_bits": 64})
    bench.run()
    table, _ = bench.decode(bench.read_all())
    assert int(table["fpga_timestamp"].min()) >= 1 << 63
    bench.compare(table)


@MAPS
def test_the_byte_order_in_force_is_that_of_the_firmware(registers: RegisterMap) -> None:
    bench = bench_of(registers)
    bench.run()
    order = "big" if registers.has(Register.CLOCK_CTRL) else "little"
    assert bench.board.description.timestamp_order == order == bench.model.layout.timestamp_order
    table, _ = bench.decode(bench.read_all())
    bench.compare(table)


@pytest.mark.parametrize(("version", "wrong"), [(26012701, "little"), (25112001, "big")])
def test_a_contradicting_order_is_obeyed_with_a_warning_that_stays(version: int, wrong: str) -> None:
    bench = AstepBench(emulator={"firmware_version": version}, astep={"timestamp_order": wrong})
    bench.board.open()
    for _ in range(2):
        bench.board.configure()
        (warning,) = bench.board.status().warnings
        assert warning.startswith(f'astep.timestamp_order = "{wrong}", but firmware 0xAC04')
    assert bench.board.description.timestamp_order == wrong
    assert bench.board.record()["warnings"] == [warning]


@pytest.mark.parametrize("version", [25083099, 26012800, 26130101, 0x20251101])
def test_nothing_is_written_to_a_firmware_that_nobody_knows(version: int) -> None:
    bench = AstepBench(emulator={"firmware_version": version})
    with pytest.raises(BoardError, match=f"version {version} are unknown"):
        bench.board.open()
    bench.board.close()
    assert said_but_zeros(bench) == IDENTIFICATION
    assert not bench.board.status().connected


def test_an_unknown_firmware_runs_with_the_map_that_is_named() -> None:
    bench = AstepBench(emulator={"firmware_version": 26060101}, astep={"register_map": "2026-01-27"})
    bench.run()
    table, _ = bench.decode(bench.read_all())
    bench.compare(table)
    (warning,) = bench.board.status().warnings
    assert warning.startswith("astep.register_map: firmware 0xAC04 (CMOD A7), version 26060101 is unknown")


def test_a_named_map_that_contradicts_the_version_is_a_warning() -> None:
    bench = AstepBench(emulator={"firmware_version": 26012701}, astep={"register_map": "2025-12-05"})
    bench.board.open()
    (warning,) = bench.board.status().warnings
    assert warning.startswith("astep.register_map = 2025-12-05, but ")


@pytest.mark.parametrize(
    ("registers", "board", "astep", "named"),
    [
        (REGISTER_MAPS[3], {"chip_version": 3}, {}, "board.chip_version = 3"),
        (REGISTER_MAPS[0], {}, {"timestamp_bits": 48}, "astep.timestamp_bits = 48"),
        (REGISTER_MAPS[2], {}, {"packet_mode": False}, "astep.packet_mode = false"),
        (REGISTER_MAPS[2], {}, {"read": "fixed"}, "astep.read"),
    ],
)
def test_nothing_is_written_where_the_firmware_cannot_do_a_setting(
    registers: RegisterMap, board: dict[str, Any], astep: dict[str, Any], named: str
) -> None:
    firmware = {"firmware_id": 0xAC04, "firmware_version": version_of(registers)}
    bench = AstepBench(board, firmware, astep)
    with pytest.raises(BoardError, match=named):
        bench.board.open()
    assert said_but_zeros(bench) == IDENTIFICATION


def test_the_previous_driver_wrote_into_other_registers_of_an_older_firmware() -> None:
    """Its map was that of 2025-12-05: on one of 2025-11-24 the chip version went into the clock control."""
    bench = bench_of(REGISTER_MAPS[3])
    model = bench.model
    model.exchange(encode_requests([RegisterWrite(0x08, b"\x04"), RegisterWrite(0xAF, bytes(4), True)], NEWEST_MAP))
    assert value(model, Register.CLOCK_CTRL) == 0  # both clocks off; bit 2 is an input
    bench.board.open()
    bench.board.configure()
    assert value(model, Register.CLOCK_CTRL) == 0x18


def test_the_emulated_firmware_follows_the_configuration() -> None:
    def firmware(astep: dict[str, Any], **emulator: Any) -> Firmware:
        bench = AstepBench({"chip_version": 3}, emulator, astep)
        model = emulated_board(bench.config)
        assert isinstance(model, AstepModel)
        return model.firmware

    assert firmware({}) == Firmware(0xAC03, 26012701)
    assert firmware({"timestamp_order": "little"}) == Firmware(0xAC03, 25112001)
    assert firmware({"register_map": "2025-11-24"}) == Firmware(0xAC03, 25112401)
    assert firmware({}, firmware_id=0xAB04, firmware_version=25083101) == Firmware(0xAB04, 25083101)


def test_a_board_that_is_not_open_has_no_setup() -> None:
    board: AstepBoard = AstepBench().board
    assert board.record() == {"firmware": None, "register_map": "2026-01-27", "read_back": {}, "warnings": []}
