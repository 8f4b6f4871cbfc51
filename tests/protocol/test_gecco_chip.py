"""Chips, cards and injection on the GECCO board: bytes worked out by hand from the facts, then any configuration."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from daqd.emulator.gecco_ports import CardRegisters, ChipRegisters, PatternGenerator
from protocol.chips.astropix_chips import ASTROPIX4
from protocol.chips.chip_config import ChipConfig, ChipConfigError
from protocol.chips.chip_setup import ChipSetup, Injection
from protocol.chips.chip_vector import configuration_bits, read_configuration_bits, tdac_row_bits
from protocol.chips.chip_yaml import parse_chip_yaml
from protocol.chips.gecco_cards import GeccoCards
from protocol.registers.gecco import WriteRequest
from protocol.registers.gecco_chip import (
    configure_board,
    configure_chips,
    make_safe,
    set_injection_card,
    set_up_injection,
    set_voltages,
    start_board,
    start_injection,
    stop_injection,
    write_tdac_row,
)
from protocol.registers.gecco_sequence import Step, Steps
from tests.protocol import chip_by_hand as by_hand
from tests.protocol.test_gecco_sequence import carry_out

OFF = ChipConfig.usual(ASTROPIX4)
OURS = (Path(__file__).parents[2] / "config" / "astropix4.yml").read_text(encoding="utf-8")


def writes_of(steps: Steps, register: int) -> list[bytes]:
    """Data of all writes to `register`; reads are answered with zeros."""
    written: list[bytes] = []
    step: Step
    try:
        step = next(steps)
        while True:
            if isinstance(step, WriteRequest) and step.register == register:
                assert len(step.data) <= 65535
                written.append(step.data)
            step = steps.send(bytes(getattr(step, "length", 0)))
    except StopIteration:
        return written


def shifted(steps: Steps) -> list[bytes]:
    """What goes to the chips' port, but for their reset."""
    return [data for data in writes_of(steps, 0x00) if len(data) > 1]


def bits_of(text: str) -> list[int]:
    return [int(bit) for bit in text]


@st.composite
def chip_configs(draw: st.DrawFn) -> ChipConfig:
    number = draw(st.integers(0, (1 << ASTROPIX4.bits) - 1))
    tdacs = draw(st.integers(0, (1 << 80) - 1))
    values = []
    for value in ASTROPIX4.values:
        values.append(replace(value, value=number & (1 << value.bits) - 1))
        number >>= value.bits
    rows = tuple(replace(row, value=tdacs ^ index) for index, row in enumerate(ASTROPIX4.tdac_rows))
    return ChipConfig(ASTROPIX4, tuple(values), rows)


# --- by hand -------------------------------------------------------------------------------------------------------


def test_first_and_last_bits_of_the_vector() -> None:
    """Backwards: it begins with the end of col15, and ends with the beginning of digitalconfig."""
    bits = "".join(map(str, configuration_bits([OFF])))
    assert len(bits) == 852 == 74 + 6 + 114 + 50 + 608
    # col15 = 001 1…1 0: injection switch off, 35 comparators off, injection and analogue switch of the column off.
    assert bits[:38] == "0" + 35 * "1" + "00"
    assert bits[: 16 * 38] == 16 * ("0" + 35 * "1" + "00")
    # vdacs are reversed twice, so each comes most significant bit first, the last one first:
    # vinj 171, vtest 682, vcasc2 625, thpix 610, blpix 568.
    assert bits[608:658] == "0010101011" + "1010101010" + "1001110001" + "1001100010" + "1000111000"
    # The idacs come least significant bit first, the last one first: vnrec 10, vprec 10, nu16 0, vpfoll 10, vncomp 2.
    assert bits[658:688] == "010100" + "010100" + "000000" + "010100" + "010000"
    # biasconfig 0 0 0 1 0 1, backwards.
    assert bits[772:778] == "101000"
    # The end: resetckdiv 15 (4), maxcyc 63 (6), slowdownldcol (5), slowdownldpix (4), timerend (4), clkmux, interrupt.
    assert bits[-25:] == "1111" + "111111" + "00000" + "0000" + "0000" + "0" + "0"


def test_shift_register_of_a_real_file_every_byte(recordings: Path) -> None:
    text = (recordings / "config_v4_none.yml").read_text()
    expected = by_hand.chip_port(by_hand.chip_bits(text), load=8)
    assert len(expected) == 34_320
    assert shifted(configure_chips(parse_chip_yaml(text).chips)) == [expected]


def test_one_bit_on_the_port() -> None:
    (data,) = shifted(configure_chips([OFF]))
    # Bit 0 is 0, bit 1 is 1: data on wire 2, the first clock on wire 0, the second one on wire 1.
    assert data[:40].hex() == 8 * "00" + 8 * "01" + 8 * "00" + 8 * "02" + 8 * "00"
    assert data[40:80].hex() == 8 * "04" + 8 * "05" + 8 * "04" + 8 * "06" + 8 * "04"
    assert data[-240:].hex() == 80 * "00" + 80 * "08" + 80 * "00"
    assert len(data) == (852 * 5 + 30) * 8


def test_the_chip_is_reset_first() -> None:
    said = carry_out(configure_chips([OFF]), "0010")
    assert said[:5] == ["00000001", "0100000110", "0.1 s", "00000001", "0100000100"]
    assert said[5].startswith("01008610")  # 0x8610 = 34 320
    assert len(said) == 6


def test_the_threshold_scan_of_the_recording(recordings: Path) -> None:
    """Threshold 40 mV, injection row 1, column 9, 300 mV, over the complete file."""
    text = (recordings / "config_v4_none.yml").read_text()
    chip = parse_chip_yaml(text).chips[0].with_injection(1, 9).with_injection_mv(300)
    off = 0b001_11111_11111_11111_11111_11111_11111_11110
    replaced = {
        "vdacs.vinj": 170,
        "recconfig.col1": off | 1,
        "recconfig.col9": off & ~(1 << 2) | 1 << 36,
    }
    assert shifted(configure_chips([chip])) == [by_hand.chip_port(by_hand.chip_bits(text, replaced), load=8)]


def test_tdac_row_every_byte(recordings: Path) -> None:
    text = (recordings / "config_v4_none.yml").read_text()
    (data,) = shifted(write_tdac_row(parse_chip_yaml(text).chips, 0))
    assert data == by_hand.chip_port(by_hand.tdac_bits(text, "row0"), load=0x40)
    # 00001 sixteen times, backwards.
    assert data == by_hand.chip_port(16 * "10000", load=0x40)
    assert len(data) == (80 * 5 + 30) * 8


def test_the_last_chip_comes_first() -> None:
    chips = [OFF, OFF.with_value("idacs", "vn1", 63)]
    second = by_hand.chip_bits(OURS, {"idacs.vn1": 63})
    assert list(configuration_bits(chips)) == bits_of(second + by_hand.chip_bits(OURS))
    rows = list(OFF.tdac_rows)
    rows[0] = replace(rows[0], value=0)
    assert list(tdac_row_bits([OFF, replace(OFF, tdac_rows=tuple(rows))], 0)) == bits_of(80 * "0" + 16 * "10000")


@pytest.mark.parametrize("chips", [2, 4, 31])
def test_long_chains_take_several_writes_and_one_load(chips: int) -> None:
    chain = [OFF.with_value("idacs", "vn1", chip % 64) for chip in range(chips)]
    bits = "".join(by_hand.chip_bits(OURS, {"idacs.vn1": chip % 64}) for chip in reversed(range(chips)))
    data = shifted(configure_chips(chain))
    assert len(data) > 1
    assert b"".join(data) == by_hand.chip_port(bits, load=8)
    # No bit is cut by the end of a write, and none of the writes but the last has a load.
    assert all(len(part) % 40 == 0 for part in data)
    assert not any(8 in part for part in data[:-1])


def test_voltage_card_every_byte() -> None:
    cards = GeccoCards().with_threshold_mv(40)
    # 14 bits of V · 16383 / 2.7 / 0.989: 1.1 V 6748.7, 1 V 6135.2, 0.8 V 4908.2, 1.04 V 6380.6.
    codes = [0, 0, 6748, 6135, 0, 0, 4908, 6380]
    assert [int(volt * 16383 / 2.7 / 0.989) for volt in (0, 0, 1.1, 1, 0, 0, 0.8, 1.04)] == codes
    bits = by_hand.card_bits(codes, slot=4)
    # thpix first: 6380 = 01100011101100; slot 4 is 0x80 >> 3 = 0x10.
    assert bits[:16] == "01100011101100" + "00"
    assert bits[-8:] == "00010000"
    assert len(bits) == 8 * 16 + 8
    (data,) = writes_of(set_voltages(cards), 0x0C)
    assert data == by_hand.card_port(bits)
    assert len(data) == (136 * 3 + 20) * 8 == 3424
    # The first bit is 0, the second 1: data on wire 1, clock on wire 0.
    assert data[:48].hex() == 8 * "00" + 8 * "01" + 8 * "00" + 8 * "02" + 8 * "03" + 8 * "02"
    assert data[-160:].hex() == 8 * "04" + 8 * "00" + 8 * (8 * "01" + 8 * "00") + 8 * "04" + 8 * "00"


def test_voltage_card_of_another_supply_and_slot() -> None:
    cards = GeccoCards(voltage_slot=1, vcal=1.1, vsupply_v=3.3, dacs_v=(1.8,) + 7 * (0,))
    (data,) = writes_of(set_voltages(cards), 0x0C)
    # 1.8 · 16383 / 3.3 / 1.1 = 8123.8
    assert data == by_hand.card_port(by_hand.card_bits([8123, 0, 0, 0, 0, 0, 0, 0], slot=1))


def test_injection_card_every_byte() -> None:
    (data,) = writes_of(set_injection_card(GeccoCards(), 300), 0x0C)
    # 0.3 · 16383 / 2.7 / 0.989 = 1840.6; the second DAC is 0, and comes first.
    bits = 16 * "0" + "00011100110000" + "00" + "00100000"
    assert bits == by_hand.card_bits([1840, 0], slot=3)
    assert data == by_hand.card_port(bits)
    assert len(data) == (40 * 3 + 20) * 8


def test_injection_as_usual_every_byte() -> None:
    said = carry_out(set_up_injection(Injection(0, 1, 9, 300.0)))
    assert said == by_hand.injection_writes(output=2, period=100, cycle=0, delay=100, divider=300, pulses=1)
    assert said[:5] == ["0105000102", "0106000100", "0107000101", "0104000101", "0104000100"]
    # Address 15, the low byte of 300, then address 7, pulses per set.
    assert said[-8:] == [
        *("010600010f", "010700012c", "0104000101", "0104000100"),
        *("0106000107", "0107000101", "0104000101", "0104000100"),
    ]


def test_injection_of_another_kind() -> None:
    injection = Injection(0, 1, 9, 300, output="card", period=255, divider=0x1234, delay=0x5678, cycle=0x9ABC, pulses=7)
    assert carry_out(set_up_injection(injection)) == by_hand.injection_writes(1, 255, 0x9ABC, 0x5678, 0x1234, 7)


def test_injection_on_and_off() -> None:
    assert carry_out(start_injection()) == ["0103000101", "0102000101", "0102000100", "0103000100"]
    assert carry_out(stop_injection()) == ["0103000101", "0102000101"]


def test_from_any_state_to_a_configured_board() -> None:
    setup = ChipSetup((OFF,), injection=Injection(0, 1, 9, 300, output="card"))
    said = carry_out(configure_board(setup), "0010")
    assert said[:2] == ["0103000101", "0102000101"]
    assert said[2:7] == ["00000001", "0100000110", "0.1 s", "00000001", "0100000100"]
    assert [text[:8] for text in said[7:10]] == ["01008610", "010c0d60", "010c0460"]  # 34 320, 3424, 1120 bytes
    assert said[10:12] == ["0102000100", "0105000101"]
    # Nothing lets it run.
    assert "0103000100" not in said


def test_without_injection_there_is_only_its_end() -> None:
    said = carry_out(configure_board(ChipSetup((OFF,))), "0010")
    assert len(said) == 2 + 5 + 2


def test_from_a_configured_board_to_data() -> None:
    said = carry_out(
        start_board(ChipSetup((OFF,), injection=Injection(0, 1, 9, 300)), spi_divider=40),
        "10 12 92 12 13 12 1a 12 00 10 02 0a",
    )
    assert said[:2] == ["00000001", "0100000100"]
    assert said[2:7] == ["00150001", "0115000192", "0116000128", "00150001", "0115000112"]
    assert said[15:17] == ["00150001", "011700080400000000000000"]
    assert said[17:22] == ["00000001", "0100000110", "0.1 s", "00000001", "0100000100"]
    assert [text[:8] for text in said[22:24]] == ["01008610", "01000d70"]  # 34 320 and 3440 bytes
    assert said[24:28] == ["00150001", "011500010a", "00150001", "0115000102"]
    assert said[28:] == ["0103000101", "0102000101", "0102000100", "0103000100"]


def test_safe_without_a_question() -> None:
    assert carry_out(make_safe()) == ["0103000101", "0102000101", "0115000180", "0100000110"]


# --- through the model of the chips --------------------------------------------------------------------------------


@settings(max_examples=30, deadline=None)
@given(st.lists(chip_configs(), min_size=1, max_size=4), st.data())
def test_chips_hold_what_they_were_sent(chips: list[ChipConfig], data: st.DataObject) -> None:
    registers = ChipRegisters()
    stream = b"".join(shifted(configure_chips(chips)) + shifted(write_tdac_row(chips, 0)))
    # In any pieces: a write may end anywhere.
    cuts = sorted(data.draw(st.lists(st.integers(0, len(stream)), max_size=5)))
    for start, end in zip([0, *cuts], [*cuts, len(stream)], strict=True):
        registers.write(stream[start:end])
    assert registers.chips(len(chips)) == tuple(chip.values for chip in chips)
    assert registers.tdac_row(0, len(chips)) == tuple(chip.tdac_row(0) for chip in chips)
    assert (registers.loads, registers.tdac_loads) == (1, 1)


@given(chip_configs())
def test_bits_there_and_back(chip: ChipConfig) -> None:
    bits = configuration_bits([chip, OFF])
    assert read_configuration_bits(bits, ASTROPIX4, 2) == (chip.values, OFF.values)
    with pytest.raises(ChipConfigError, match="fewer than"):
        read_configuration_bits(bits[1:], ASTROPIX4, 2)


def test_what_is_not_loaded_does_not_count() -> None:
    registers = ChipRegisters()
    (data,) = shifted(configure_chips([OFF]))
    registers.write(data[:-240])
    with pytest.raises(ChipConfigError, match="0 bits are fewer than the 852"):
        registers.chips()
    registers.write(data[-240:])
    assert registers.chips() == (OFF.values,)
    registers.reset()
    assert registers.configuration is None


@settings(max_examples=40)
@given(st.lists(st.floats(0, 1.8), min_size=8, max_size=8), st.integers(1, 8), st.floats(0.9, 1.1), st.floats(2.7, 3.3))
def test_cards_hold_what_they_were_sent(dacs_v: list[float], slot: int, vcal: float, vsupply_v: float) -> None:
    cards = GeccoCards(slot, tuple(dacs_v), vcal=vcal, vsupply_v=vsupply_v)
    registers = CardRegisters()
    for data in writes_of(set_voltages(cards), 0x0C):
        registers.write(data)
    held = registers.cards[slot]
    assert list(registers.cards) == [slot]
    for voltage_v, code in zip(dacs_v, held.codes, strict=True):
        assert 0 <= voltage_v - code * vsupply_v * vcal / 16383 < 1.0001 * vsupply_v * vcal / 16383


@given(st.integers(0, 255), st.integers(0, 65535), st.integers(0, 65535), st.integers(0, 65535), st.integers(0, 255))
def test_injection_holds_what_it_was_told(period: int, divider: int, delay: int, cycle: int, pulses: int) -> None:
    generator = PatternGenerator()

    def tell(steps: Steps) -> None:
        for step in steps:
            assert isinstance(step, WriteRequest)
            generator.write(step.register, step.data)

    tell(stop_injection())
    tell(set_up_injection(Injection(0, 1, 9, 300, "chip", period, divider, delay, cycle, pulses)))
    assert (generator.on_chip, generator.running) == (True, False)
    held = generator.settings
    assert [held[address] for address in range(10)] == [1, 3, 0, 0, 0, 0, 0, pulses, period, 0x14]
    assert [held[address] << 8 | held[address + 1] for address in (10, 12, 14)] == [cycle, delay, divider]
    tell(start_injection())
    assert generator.running
    tell(stop_injection())
    assert not generator.running


@given(st.lists(st.binary(max_size=60), max_size=8))
def test_ports_take_any_bytes(pieces: list[bytes]) -> None:
    whole, parts = ChipRegisters(), ChipRegisters()
    cards, generator = CardRegisters(), PatternGenerator()
    whole.write(b"".join(pieces))
    for piece in pieces:
        parts.write(piece)
        cards.write(piece)
        generator.write(0x04, piece)
    assert (whole.loads, whole.tdac_loads) == (parts.loads, parts.tdac_loads)
    for mine, theirs in ((whole.configuration, parts.configuration), (whole.tdacs, parts.tdacs)):
        assert (mine is None) == (theirs is None)
        assert mine is None or theirs is None or np.array_equal(mine, theirs)
