"""Chips of version 3: their file, their bits, what is said to boards. Worked out by hand from docs/chips.md."""

from pathlib import Path

import pytest

from protocol.chips.astropix_chips import ASTROPIX3
from protocol.chips.chip_config import ChipConfig, ChipConfigError
from protocol.chips.chip_file import usual_chip_file
from protocol.chips.chip_setup import ChipSetup
from protocol.chips.chip_vector import configuration_bits, read_configuration_bits
from protocol.chips.chip_yaml import parse_chip_yaml
from protocol.registers.astep import MAX_LENGTH, RegisterRead, RegisterWrite
from protocol.registers.astep_chip import configure_layer
from protocol.registers.astep_register_map import NEWEST_MAP
from protocol.registers.astep_registers import Register
from protocol.registers.astep_setup import AstepSettings, set_up
from protocol.registers.gecco import ReadRequest, WriteRequest
from protocol.registers.gecco_chip import configure_chips, start_board
from tests.protocol import chip_by_hand as by_hand
from tests.protocol.test_gecco_chip import shifted

OFF = ChipConfig.usual(ASTROPIX3)
OURS = (Path(__file__).parents[2] / "config" / "astropix3.yml").read_text(encoding="utf-8")
ALL_OFF = 0b001_11111_11111_11111_11111_11111_11111_11110


# ---- the file


def test_our_own_file_is_the_usual_configuration() -> None:
    chip_file = parse_chip_yaml(OURS)
    assert chip_file == usual_chip_file(3)
    assert (chip_file.defaulted, chip_file.unused) == ((), ())
    assert chip_file.kind is ASTROPIX3
    assert chip_file.chips[0].pixels_on() == ()
    assert chip_file.cards.dacs_v == (1.1, 0, 1.1, 1, 0, 0, 1, 1.1)


def test_a_file_without_cards_takes_those_of_its_version() -> None:
    chip_file = parse_chip_yaml(OURS.replace("configcards:", "general:"))
    assert chip_file.cards == usual_chip_file(3).cards
    assert len(chip_file.defaulted) == 3
    assert "thpmos 1.1" in chip_file.defaulted[1]


def test_there_are_no_tdacs() -> None:
    chip_file = parse_chip_yaml(OURS + "  tdac_config:\n    row0: [80, 1]\n")
    assert chip_file.unused == ("astropix3.tdac_config: AstroPix 3 has no TDACs: not sent",)
    with pytest.raises(ChipConfigError, match="AstroPix 3 has no TDACs"):
        OFF.tdac_row(0)
    assert set(OFF.describe()) == {"config"}


def test_a_file_of_version_4_is_not_one_of_version_3() -> None:
    four = (Path(__file__).parents[2] / "config" / "astropix4.yml").read_text(encoding="utf-8")
    with pytest.raises(ChipConfigError) as caught:
        parse_chip_yaml(four.replace("astropix4:", "astropix3:"))
    assert "astropix3.config.vdacs.vtest: unknown value" in str(caught.value)
    assert "astropix3.config.recconfig.col34: is missing" in str(caught.value)


def test_pixels_of_all_rows_and_columns() -> None:
    assert len(OFF.with_all_pixels(True).pixels_on()) == 35 * 35
    chip = OFF.with_injection(34, 33).with_analog_output(34)
    # Row 34's switch is bit 0 of column 34's word; its comparator in column 33 is bit 35.
    assert chip.value("recconfig", "col34") == ALL_OFF | 1 | 1 << 37
    assert chip.value("recconfig", "col33") == ALL_OFF & ~(1 << 35) | 1 << 36
    assert chip.injected_pixels() == chip.pixels_on() == ((34, 33),)
    with pytest.raises(ChipConfigError, match="AstroPix 3 has rows 0 to 34 and columns 0 to 34"):
        OFF.with_pixel(35, 0, True)


# ---- the bits


def test_first_and_last_bits_of_the_vector() -> None:
    bits = "".join(map(str, configuration_bits([OFF])))
    assert len(bits) == 1545 == 35 + 6 + 114 + 60 + 35 * 38
    assert bits[: 35 * 38] == 35 * ("0" + 35 * "1" + "00")
    # Most significant bit first: vinj 171, thpmos 682, nu1 512, vcasc2 625, thpix 682, blpix 568.
    assert bits[1330:1390] == "0010101011" + "1010101010" + "1000000000" + "1001110001" + "1010101010" + "1000111000"
    # Least significant bit first: vnrec 30, vprec 60, nu16 0, vpfoll 60, vncomp 2, nu13 60, vpload 5.
    assert bits[1390:1432] == "011110" + "001111" + "000000" + "001111" + "010000" + "001111" + "101000"
    # biasconfig 0 0 0 1 0 1, backwards; then extrabits, reset, en_inj, and interrupt_pushpull last.
    assert bits[1504:1510] == "101000"
    assert bits[1510:] == 34 * "0" + "1"


def test_shift_register_every_byte() -> None:
    chip = parse_chip_yaml(OURS).chips[0].with_injection(1, 9).with_injection_mv(300)
    replaced = {
        "vdacs.vinj": 170,
        "recconfig.col1": ALL_OFF | 1,
        "recconfig.col9": ALL_OFF & ~0b100 | 1 << 36,
    }
    expected = by_hand.chip_port(by_hand.chip_bits(OURS, replaced), load=8)
    assert len(expected) == 62_040 == (1545 * 5 + 30) * 8
    assert shifted(configure_chips([chip])) == [expected]


def test_two_chips_and_back() -> None:
    other = OFF.with_all_pixels(True)
    bits = configuration_bits([OFF, other])
    assert len(bits) == 2 * 1545
    assert bits[:1545].tolist() == configuration_bits([other]).tolist()
    assert read_configuration_bits(bits, ASTROPIX3, 2) == (OFF.values, other.values)


# ---- what is said to boards


def test_a_gecco_board_gets_no_tdacs_and_a_slow_clock() -> None:
    steps, written = start_board(ChipSetup((OFF,)), 255), []
    step = next(steps)
    try:
        while True:
            if isinstance(step, WriteRequest):
                written.append((step.register, step.data))
            # Bit 1 of what is read: the SPI write FIFO is empty.
            step = steps.send(b"\x02" * step.length if isinstance(step, ReadRequest) else b"")
    except StopIteration:
        pass
    assert (0x16, b"\xff") in written
    assert [len(data) for register, data in written if register == 0x00 and len(data) > 1] == [62_040]


def requests_of(method: str, layer: int) -> list[RegisterWrite]:
    steps = configure_layer((OFF, OFF), layer, method, tdacs_by_port=False)
    found, step = [], next(steps)
    try:
        while True:
            if isinstance(step, RegisterWrite):
                found.append(step)
            step = steps.send(bytes(step.length) if isinstance(step, RegisterRead) else b"")
    except StopIteration:
        return found


@pytest.mark.parametrize("layer", [0, 2])
def test_an_astep_board_gets_no_tdacs(layer: int) -> None:
    by_port = requests_of("shift-register", layer)
    (shift,) = [step for step in by_port if step.register == Register.SHIFT_REGISTER]
    assert len(shift.data) == (2 * 1545 * 5 + 2) * 8 > MAX_LENGTH
    by_spi = b"".join(step.data for step in requests_of("spi", layer) if len(step.data) > 1)
    frames = [bytes((0x60 | chip,)) + configuration_bits([OFF]).tobytes() + 10 * b"\x03" for chip in (0, 1)]
    assert by_spi == b"\x40" + bytes(4) + frames[0] + bytes(2) + frames[1] + bytes(2)


def test_an_astep_board_is_told_the_version() -> None:
    steps = set_up(AstepSettings(chip_version=3), NEWEST_MAP)
    assert next(steps) == RegisterWrite(Register.CHIP_VERSION, b"\x03", False)
