"""Pixels, injection, thresholds and DACs of one chip: bits against the facts."""

import json

import msgpack
import pytest
from hypothesis import given
from hypothesis import strategies as st

from protocol.chips.astropix_chips import ASTROPIX4
from protocol.chips.chip_config import ChipConfig, ChipConfigError, dac_code, dac_mv
from protocol.chips.chip_setup import ChipSetup, Injection
from protocol.chips.gecco_cards import GeccoCards

OFF = ChipConfig.usual(ASTROPIX4)
ROWS, COLUMNS = st.integers(0, 12), st.integers(0, 15)


def column(chip: ChipConfig, number: int) -> int:
    return chip.value("recconfig", f"col{number}")


def test_what_a_threshold_scan_wrote_into_its_file_header() -> None:
    """20250722-094253: injection into row 1, column 9, 300 mV; analogue output of column 0; threshold 40 mV."""
    chip = OFF.with_injection(1, 9).with_injection_mv(300).with_analog_output(0)
    assert [column(chip, number) for number in range(16)] == [
        *(206158430206, 68719476735),
        *(68719476734,) * 7,
        137438953466,
        *(68719476734,) * 6,
    ]
    assert chip.value("vdacs", "vinj") == 170
    assert GeccoCards().with_threshold_mv(40).dacs_v == (0, 0, 1.1, 1, 0, 0, 0.8, 1.04)


def test_what_an_injection_run_wrote_into_its_file_header() -> None:
    """20250723_092534: injection into row 0, column 9, 250 mV; analogue output of column 9; threshold 100 mV."""
    chip = OFF.with_injection(0, 9).with_injection_mv(250).with_analog_output(9)
    assert column(chip, 0) == 68719476735
    assert column(chip, 9) == 274877906940
    assert chip.value("vdacs", "vinj") == 142
    assert GeccoCards().with_threshold_mv(100).dacs_v[7] == 1.1


def test_the_bits_of_a_column() -> None:
    assert column(OFF, 5) == 0b0_0_11111_11111_11111_11111_11111_11111_11111_0
    assert column(OFF.with_pixel(0, 5, True), 5) == 0b0_0_11111_11111_11111_11111_11111_11111_11110_0
    assert column(OFF.with_pixel(12, 5, True), 5) == 0b0_0_11111_11111_11111_11111_11011_11111_11111_0
    assert column(OFF.with_all_pixels(True), 5) == 0b0_0_11111_11111_11111_11111_11000_00000_00000_0
    assert column(OFF.with_injection(3, 5), 5) == 0b0_1_11111_11111_11111_11111_11111_11111_10111_0
    assert column(OFF.with_injection(3, 5), 3) == 0b0_0_11111_11111_11111_11111_11111_11111_11111_1
    assert column(OFF.with_analog_output(5), 5) == 0b1_0_11111_11111_11111_11111_11111_11111_11111_0


def test_a_row_and_a_column_of_the_same_number() -> None:
    assert column(OFF.with_injection(5, 5), 5) == 0b0_1_11111_11111_11111_11111_11111_11110_11111_1


@given(st.lists(st.tuples(ROWS, COLUMNS, st.booleans())))
def test_the_mask_is_the_last_word_for_each_pixel(changes: list[tuple[int, int, bool]]) -> None:
    chip, on = OFF, set()
    for row, col, state in changes:
        chip = chip.with_pixel(row, col, state)
        (on.add if state else on.discard)((row, col))
    assert set(chip.pixels_on()) == on
    assert OFF.pixels_on() == ()


@given(ROWS, COLUMNS, ROWS, COLUMNS)
def test_one_pixel_is_injected(row: int, col: int, other_row: int, other_col: int) -> None:
    chip = OFF.with_injection(other_row, other_col).with_injection(row, col)
    assert chip.injected_pixels() == ((row, col),)
    assert (row, col) in chip.pixels_on()
    assert chip.without_injection().injected_pixels() == ()


@given(COLUMNS, COLUMNS)
def test_one_analogue_output(first: int, second: int) -> None:
    chip = OFF.with_analog_output(first).with_analog_output(second)
    assert chip.analog_columns() == (second,)
    assert chip.with_analog_output(None) == OFF


def test_all_on_and_all_off() -> None:
    on = OFF.with_all_pixels(True)
    assert len(on.pixels_on()) == 13 * 16
    assert on.with_all_pixels(False) == OFF


@pytest.mark.parametrize(("row", "col"), [(13, 0), (0, 16), (-1, 0), (0, -1), (34, 3)])
def test_unknown_pixels(row: int, col: int) -> None:
    said = f"there is no pixel in row {row}, column {col}: AstroPix 4 has rows 0 to 12 and columns 0 to 15"
    for refused in (
        lambda: OFF.with_pixel(row, col, True),
        lambda: OFF.with_injection(row, col),
    ):
        with pytest.raises(ChipConfigError) as caught:
            refused()
        assert str(caught.value) == said
    with pytest.raises(ChipConfigError, match="column 16"):
        OFF.with_analog_output(16)
    with pytest.raises(ChipConfigError, match="no TDAC row 13"):
        OFF.tdac_row(13)


@pytest.mark.parametrize(
    ("voltage_mv", "code"), [(0, 0), (1.7, 0), (1.8, 1), (250, 142), (300, 170), (900, 512), (1799, 1023), (1800, 1023)]
)
def test_dac_codes(voltage_mv: float, code: int) -> None:
    assert dac_code(voltage_mv) == code


def test_dac_codes_are_those_of_the_formula() -> None:
    voltages_mv = range(1800)
    assert [dac_code(voltage_mv) for voltage_mv in voltages_mv] == [
        int(voltage_mv / 1000 / 1.8 * 1024) for voltage_mv in voltages_mv
    ]


@given(st.integers(0, 1023))
def test_dac_codes_there_and_back(code: int) -> None:
    assert dac_code(dac_mv(code)) == code


@pytest.mark.parametrize("voltage_mv", [-0.1, 1800.1, float("nan"), float("inf")])
def test_dacs_out_of_range(voltage_mv: float) -> None:
    with pytest.raises(ChipConfigError, match="not within 0 to 1800 mV"):
        OFF.with_injection_mv(voltage_mv)


def test_threshold_on_the_chip() -> None:
    # blpix 568 is 998.4375 mV; 100 mV above it: 1098.4375 mV / 1800 mV · 1024 = 624.9.
    assert OFF.with_threshold_mv(100).value("vdacs", "thpix") == 624
    assert OFF.with_threshold_mv(0).value("vdacs", "thpix") == 568
    with pytest.raises(ChipConfigError, match="not within 0 to 1500 mV"):
        OFF.with_threshold_mv(1501)
    assert OFF.with_threshold_mv(799.9).value("vdacs", "thpix") == 1023
    with pytest.raises(ChipConfigError, match="above blpix = 568 makes thpix 1024: 0 to 1023, so at most 799 mV"):
        OFF.with_threshold_mv(801.6)


@given(st.integers(0, 1023), st.floats(0, 1500))
def test_the_code_of_a_threshold_on_the_chip(baseline: int, threshold_mv: float) -> None:
    chip = OFF.with_value("vdacs", "blpix", baseline)
    code = int(baseline + threshold_mv * 1024 / 1800)
    if code > 1023:
        with pytest.raises(ChipConfigError, match="0 to 1023"):
            chip.with_threshold_mv(threshold_mv)
    else:
        assert chip.with_threshold_mv(threshold_mv).value("vdacs", "thpix") == pytest.approx(code, abs=1)


def test_a_threshold_goes_to_the_card_where_there_is_one_and_to_every_chip_otherwise() -> None:
    wanted = ChipSetup((OFF, OFF), threshold_mv=100)
    on_card = wanted.for_board(has_cards=True)
    assert on_card.cards is not None
    assert on_card.cards.threshold_mv == pytest.approx(100)
    assert on_card.chips == wanted.chips
    in_chips = wanted.for_board(has_cards=False)
    assert [chip.value("vdacs", "thpix") for chip in in_chips.chips] == [624, 624]
    told = in_chips.describe()
    assert told["configcards"] is None
    assert told["threshold_mv"] == {"card": None, "chips": [pytest.approx(98.4375)] * 2}
    for adapted in (on_card, in_chips):
        assert adapted.for_board(adapted is on_card) == adapted


def test_what_needs_a_card_is_refused_by_name_where_there_is_none() -> None:
    setup = ChipSetup((OFF,), injection=Injection(0, 1, 9, 300.0, output="card"), threshold_output="card")
    with pytest.raises(ChipConfigError) as caught:
        setup.for_board(has_cards=False)
    assert [each.partition(" = ")[0] for each in caught.value.mistakes] == [
        "chip.threshold_output",
        "chip.inject_output",
    ]
    assert setup.for_board(has_cards=True) == setup


@pytest.mark.parametrize("threshold_mv", [-1, 500.1, 1501, float("nan")])
def test_thresholds_out_of_range_on_the_card(threshold_mv: float) -> None:
    with pytest.raises(ChipConfigError, match="threshold"):
        GeccoCards().with_threshold_mv(threshold_mv)


def test_highest_threshold_on_the_card() -> None:
    assert GeccoCards().with_threshold_mv(500).dacs_v[7] == 1.5
    assert GeccoCards().with_threshold_mv(500).threshold_mv == pytest.approx(500)


def test_values_by_name() -> None:
    assert OFF.with_value("idacs", "vn1", 63).value("idacs", "vn1") == 63
    assert OFF.value("idacs", "vn1") == 20
    with pytest.raises(ChipConfigError, match=r"idacs\.vn1: 64 does not fit into 6 bits"):
        OFF.with_value("idacs", "vn1", 64)
    with pytest.raises(ChipConfigError, match=r"AstroPix 4 has no idacs\.vn3"):
        OFF.value("idacs", "vn3")
    with pytest.raises(ChipConfigError, match="not the values of AstroPix 4"):
        ChipConfig(ASTROPIX4, ASTROPIX4.values[1:], ASTROPIX4.tdac_rows)


def test_cards_out_of_range_are_told_together() -> None:
    with pytest.raises(ChipConfigError) as caught:
        GeccoCards(voltage_slot=0, dacs_v=(0, 0, 0, 0, 0, 0, 0, -0.1), vcal=0.8, vsupply_v=5)
    assert [line.partition(": ")[0] for line in caught.value.mistakes] == [
        "voltagecard.pos",
        "voltagecard.dacs[7] (thpix)",
        "vcal",
        "vsupply",
    ]


def test_injection_out_of_range_is_told_together() -> None:
    with pytest.raises(ChipConfigError) as caught:
        Injection(0, 1, 9, amplitude_mv=1801, period=256, divider=65536)
    assert [line.partition(":")[0] for line in caught.value.mistakes] == [
        "injection amplitude",
        "injection period",
        "injection divider",
    ]


def test_a_setup_describes_all_of_itself() -> None:
    chips = (OFF, OFF.with_injection(1, 9).with_analog_output(3))
    setup = ChipSetup(chips, GeccoCards().with_threshold_mv(40), Injection(1, 1, 9, 300.0), defaulted=("this",))
    told = setup.describe()
    assert json.loads(json.dumps(told)) == msgpack.unpackb(msgpack.packb(told)) == told
    assert told["chips"][1]["config"]["vdacs"]["vinj"] == [10, 171]
    assert told["chips"][1]["tdac_config"]["row0"] == [80, "0b" + "00001" * 16]
    assert told["chips"][1]["injected_pixels"] == [[1, 9]]
    assert told["configcards"]["voltagecard"]["dacs"][7] == 1.04
    assert told["threshold_mv"]["card"] == 40
    assert told["injection"]["amplitude_mv"] == 300
    assert told["defaulted"] == ["this"]


def test_layers() -> None:
    setup = ChipSetup(tuple(OFF.with_injection_mv(mv) for mv in range(0, 60, 10)), layers=3)
    assert setup.chain_length == 2
    assert [setup.layer(layer) for layer in range(3)] == [setup.chips[:2], setup.chips[2:4], setup.chips[4:]]
    with pytest.raises(ChipConfigError, match="6 chips cannot be 4 layers"):
        ChipSetup(setup.chips, layers=4)
    with pytest.raises(ChipConfigError, match="no chip 6: 0 to 5"):
        ChipSetup(setup.chips, injection=Injection(6, 0, 0, 0), layers=3)
