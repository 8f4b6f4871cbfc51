"""The A-STEP driver and the chips: their configuration, its read-back, cards, injection and threshold."""

from typing import Any

import pytest

from daqd.errors import BoardError
from protocol.chips.chip_file import usual_chip_file
from protocol.chips.chip_setup import ChipSetup, Injection
from protocol.chips.chip_vector import configuration_bits, tdac_row_bits
from protocol.registers.astep_chip import configuration_frame, routing_frame
from tests.daqd.astep_bench import AstepBench
from tests.daqd.test_astep_board import SAFE, control, setup


@pytest.mark.parametrize("layers", [1, 3])
@pytest.mark.parametrize("board", [0xAB04, 0xAC04])
def test_chips_get_their_configuration_by_shift_register(layers: int, board: int) -> None:
    bench = AstepBench({"layers": layers, "chips": 2}, {"firmware_id": board})
    wanted = setup(layers, 2)
    bench.board.open()
    bench.board.configure(wanted)
    for layer in range(layers):
        chips = wanted.layer(layer)
        registers = bench.model.chips.layers[layer]
        assert [[value.value for value in chip] for chip in registers.chips(2)] == [
            [value.value for value in chip.values] for chip in chips
        ]
        frames = [frame for frame in bench.model.mosi[layer].frames if any(frame)]
        assert frames[0] == bytes.fromhex("4000000000")
        tdacs = tdac_row_bits(chips, 0)
        if board == 0xAB04 and layer == 0:
            assert registers.tdacs is not None
            assert registers.tdacs[-len(tdacs) :].tolist() == tdacs.tolist()
            assert len(frames) == 1
        else:  # no pin
            assert registers.tdac_loads == 0
            assert [frame[0] for frame in frames[1:]] == [0x60, 0x61]
            assert all(frame.rstrip(b"\0").endswith(10 * b"\x06") for frame in frames[1:])
    assert control(bench) == SAFE


def test_every_read_is_one_that_survives_the_link() -> None:
    """Of setting up, reading back, a run and a report: no lost or doubled byte turns one into a hang."""
    bench = AstepBench({"layers": 3, "chips": 2})
    bench.board.open()
    bench.board.configure(setup(3, 2))
    registers = bench.board.read_registers()
    assert registers["FIRMWARE_VERSION"] == 26012701
    assert registers["SPI_DIVIDER"] == 19
    bench.board.start()
    bench.read_all()
    bench.board.stop()
    reads = [request for request in map(bytes.fromhex, bench.take_said()) if request[0] & 3 == 2]
    assert {request.hex() for request in reads if request[0] != 2 or request[2] or request[3] & 3} == set()


@pytest.mark.parametrize("chips", [1, 4])
def test_the_configuration_is_read_back(chips: int) -> None:
    bench = AstepBench({"layers": 3, "chips": chips})
    bench.board.open()
    bench.board.configure(setup(3, chips))
    bench.board.configure(setup(3, chips))
    assert bench.board.record()["read_back"] == dict.fromkeys(("layer_1", "layer_2", "layer_3"), "verified")
    assert bench.board.status().warnings == ()
    assert bench.model.chips.layers[2].loads == 2


def test_a_quad_chip_of_version_3_is_read_back_in_pieces() -> None:
    bench = AstepBench({"chips": 4, "chip_version": 3})
    (chip,) = usual_chip_file(3).chips
    bench.board.open()
    bench.board.configure(ChipSetup(chips=tuple(chip.with_pixel(row, row, True) for row in range(4))))
    assert bench.board.record()["read_back"] == {"layer_1": "verified"}


def test_a_bit_that_comes_back_wrong_is_a_warning_that_stays() -> None:
    bench = AstepBench({"chips": 2})
    bench.board.open()
    bench.model.readback.flipped = {3, 900}
    bench.board.configure(setup(1, 2))
    (warning,) = bench.board.status().warnings
    assert warning.startswith("layer 1: the configuration of the chips is not as written: 2 of 1704 bits differ, ")
    assert "chip 0, " in warning
    assert bench.board.record()["warnings"] == [warning]
    bench.model.readback.flipped = set()
    bench.board.configure(setup(1, 2))
    assert bench.board.status().warnings == ()


@pytest.mark.parametrize("level", [0, 1])
def test_a_read_back_wire_that_is_not_connected(level: int) -> None:
    bench = AstepBench()
    bench.board.open()
    bench.model.readback.wire = level
    bench.board.configure(setup())
    assert f"all 852 bits read back are {level}" in bench.board.record()["read_back"]["layer_1"]


@pytest.mark.parametrize(
    ("emulator", "astep", "method", "why"),
    [
        ({"firmware_version": 25110501}, {}, "shift-register", "the firmware cannot"),
        ({}, {"read_back": False}, "shift-register", "astep.read_back = false"),
        ({}, {}, "spi", "configured by SPI"),
    ],
)
def test_why_nothing_is_read_back(emulator: dict[str, Any], astep: dict[str, Any], method: str, why: str) -> None:
    bench = AstepBench(emulator=emulator, astep=astep)
    bench.board.open()
    bench.board.configure(setup(method=method))
    assert bench.board.record()["read_back"] == {"layer_1": f"not read back: {why}"}
    assert not bench.model.readback.fifo


def test_chips_get_their_configuration_by_spi() -> None:
    bench = AstepBench({"chips": 2})
    wanted = setup(1, 2, method="spi")
    bench.board.open()
    bench.board.configure(wanted)
    first, second = wanted.chips
    assert [frame for frame in bench.model.mosi[0].frames if any(frame)] == [
        routing_frame(2),
        configuration_frame(configuration_bits([first]), 0x60, 0x03, 1),
        configuration_frame(configuration_bits([second]), 0x61, 0x03, 1),
        configuration_frame(tdac_row_bits([first], 0), 0x60, 0x06, 1),
        configuration_frame(tdac_row_bits([second], 0), 0x61, 0x06, 1),
    ]
    assert bench.model.mosi[0].lost_bytes == 0
    assert bench.model.chips.layers[0].loads == 0


def test_cards_are_set_where_there_are_any() -> None:
    for firmware_id, slots in ((0xAB03, {4}), (0xAC03, set())):
        bench = AstepBench(emulator={"firmware_id": firmware_id})
        bench.board.open()
        bench.board.configure(setup())
        assert set(bench.model.cards.cards) == slots


def test_injection_runs_in_a_run_only() -> None:
    bench = AstepBench()
    bench.board.open()
    bench.board.configure(setup(injection=Injection(0, 1, 9, 300.0)))
    generator = bench.model.injection
    assert (generator.settings[8], generator.settings[15]) == (100, 300 & 0xFF)
    assert not generator.running
    bench.board.start()
    assert generator.running
    bench.board.stop()
    assert not generator.running


def test_what_needs_a_card_is_refused_before_anything_is_sent() -> None:
    bench = AstepBench()
    bench.board.open()
    bench.take_said()
    with pytest.raises(BoardError, match=r"chip\.inject_output.*no injection card"):
        bench.board.configure(setup(injection=Injection(0, 1, 9, 300.0, output="card")))
    assert bench.take_said() == []


@pytest.mark.parametrize(("threshold_mv", "code"), [(40.0, 568 + 22), (400.0, 568 + 227)])
@pytest.mark.parametrize("method", ["shift-register", "spi"])
def test_a_board_without_cards_has_its_threshold_in_every_chip(threshold_mv: float, code: int, method: str) -> None:
    bench = AstepBench({"layers": 2, "chips": 2})
    bench.board.open()
    wanted = bench.board.possible(setup(2, 2, threshold_mv=threshold_mv, method=method))
    bench.board.configure(wanted)
    assert [chip.value("vdacs", "thpix") for chip in wanted.chips] == 4 * [code]
    if method == "shift-register":
        for layer in range(2):
            chips = bench.model.chips.layers[layer].chips(2)
            assert [value.value for chip in chips for value in chip if value.name == "thpix"] == [code, code]
    else:
        frames = [frame for frame in bench.model.mosi[1].frames if frame[0] in (0x60, 0x61) and b"\x03" in frame]
        assert frames[0][1 : 1 + 852] == configuration_bits([wanted.layer(1)[0]]).tobytes()
    assert wanted.describe()["threshold_mv"]["card"] is None
