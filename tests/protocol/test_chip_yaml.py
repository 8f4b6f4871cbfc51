"""The collaboration's YAML: complete, as an acquisition wrote it back, wrong in every way."""

from pathlib import Path

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from protocol.chips.astropix_chips import ASTROPIX4
from protocol.chips.chip_config import ChipConfigError
from protocol.chips.chip_file import usual_chip_file
from protocol.chips.chip_vector import configuration_bits
from protocol.chips.chip_yaml import parse_chip_yaml
from tests.protocol.chip_by_hand import values_of

OURS = Path(__file__).parents[2] / "config" / "astropix4.yml"
TEXT = OURS.read_text(encoding="utf-8")
ENLVDS = "      enLVDS:              [1, 0]"
NAMES = st.integers() | st.sampled_from(
    ["config", "config_0", "config_1", "vdacs", "vinj", "geometry", "cols", "configcards", "voltagecard", "dacs"]
)


def mistakes(text: str) -> list[str]:
    with pytest.raises(ChipConfigError) as caught:
        parse_chip_yaml(text)
    assert str(caught.value) == "\n".join(caught.value.mistakes)
    return list(caught.value.mistakes)


def several_chips(chips: int) -> str:
    tree = yaml.safe_load(TEXT)
    root = tree["astropix4"]
    config, tdacs = root.pop("config"), root.pop("tdac_config")
    for chip in range(chips):
        root[f"config_{chip}"] = {**config, "vdacs": {**config["vdacs"], "vinj": [10, chip]}}
        root[f"tdac_config_{chip}"] = {**tdacs, "row0": [80, chip]}
    return yaml.safe_dump(tree, sort_keys=False)


def test_our_own_file_is_the_usual_configuration() -> None:
    chip_file = parse_chip_yaml(TEXT)
    assert chip_file == usual_chip_file(4)
    assert chip_file.kind is ASTROPIX4
    assert chip_file.chips[0].pixels_on() == ()


def test_a_complete_file(recordings: Path) -> None:
    text = (recordings / "config_v4_none.yml").read_text()
    chip_file = parse_chip_yaml(text)
    (chip,) = chip_file.chips
    assert [(value.name, value.bits, value.value) for value in chip.values if value.group != "recconfig"] == [
        value for group in ASTROPIX4.groups[:-1] for value in values_of(text, group)
    ]
    assert chip.value("idacs", "vndel") == 30
    assert chip.value("vdacs", "vinj") == 171
    assert chip.value("recconfig", "col3") == 0b001_11111_11111_11111_11111_11111_11111_11110
    assert chip.tdac_row(12).value == int("00001" * 16, 2)
    assert chip_file.cards.dacs_v == (0, 0, 1.1, 1, 0, 0, 0.8, 1.2)
    assert (chip_file.cards.voltage_slot, chip_file.cards.injection_slot) == (4, 3)
    assert (chip_file.defaulted, chip_file.unused) == ((), ())
    assert sum(value.bits for value in chip.values) == 852


def test_as_an_acquisition_wrote_it_back(recordings: Path) -> None:
    chip_file = parse_chip_yaml((recordings / "config_v4_none_20250723_092534.yml").read_text())
    (chip,) = chip_file.chips
    # That run injected into row 0, column 9, with 250 mV, and had the analogue output of column 9 on.
    assert chip.pixels_on() == chip.injected_pixels() == ((0, 9),)
    assert chip.analog_columns() == (9,)
    assert chip.value("vdacs", "vinj") == 142
    assert chip.tdac_rows == ASTROPIX4.tdac_rows
    assert chip_file.cards == usual_chip_file(4).cards
    assert [line.partition(": ")[0] for line in chip_file.defaulted] == [
        "astropix4.tdac_config",
        "astropix4.configcards.voltagecard.pos",
        "astropix4.configcards.voltagecard.dacs",
        "astropix4.configcards.injectioncard.pos",
    ]
    assert all("not in the file, usual value" in line for line in chip_file.defaulted)


def test_several_chips() -> None:
    chip_file = parse_chip_yaml(several_chips(3))
    assert [chip.value("vdacs", "vinj") for chip in chip_file.chips] == [0, 1, 2]
    assert [chip.tdac_row(0).value for chip in chip_file.chips] == [0, 1, 2]
    assert not chip_file.defaulted


@pytest.mark.parametrize(("section", "key"), [("telescope", "nchips"), ("chain", "length")])
def test_the_number_of_chips_is_compared(section: str, key: str) -> None:
    wrong = several_chips(2).replace("astropix4:", f"astropix4:\n  {section}:\n    {key}: 4")
    assert mistakes(wrong) == [f"astropix4.{section}.{key}: 4, but there are configurations of 2"]


def test_numbers_of_chips_have_no_gap() -> None:
    text = several_chips(2).replace("config_1:", "config_2:")
    assert [line.partition(": ")[0] for line in mistakes(text)] == ["astropix4.config_1"]


def test_one_chip_or_several_but_not_both() -> None:
    assert "astropix4.tdac_config_1: config is there, too" in mistakes(
        TEXT.replace("  tdac_config:", "  tdac_config_1: {}\n  tdac_config:")
    )


@pytest.mark.parametrize(
    ("old", "new", "expected"),
    [
        ("[10, 568]", "[10, 1024]", "astropix4.config.vdacs.blpix: 1024 does not fit into 10 bits: 0 to 1023"),
        ("[6, 30]", "[6, 64]", "astropix4.config.idacs.vndel: 64 does not fit into 6 bits: 0 to 63"),
        ("[6, 30]", "[7, 30]", "astropix4.config.idacs.vndel: has 6 bits, not 7"),
        ("[6, 30]", "[6, -1]", "astropix4.config.idacs.vndel: should be [bits, value], whole numbers ≥ 0, not [6, -1]"),
        ("[6, 30]", "[6, 3.0]", "…vndel: should be [bits, value], whole numbers ≥ 0, not [6, 3.0]"),
        ("[6, 30]", "[6, true]", "…vndel: should be [bits, value], whole numbers ≥ 0, not [6, True]"),
        ("[6, 30]", "[6, '30']", "…vndel: should be [bits, value], whole numbers ≥ 0, not [6, '30']"),
        ("[6, 30]", "30", "…vndel: should be [bits, value], whole numbers ≥ 0, not 30"),
        ("[6, 30]", "", "…vndel: should be [bits, value], whole numbers ≥ 0, not None"),
        ("      vndel: ", "      vndl: ", "astropix4.config.idacs.vndel: is missing"),
        ("      vndel: ", "      vndl: ", "astropix4.config.idacs.vndl: unknown value: is vndel meant?"),
        ("    biasconfig:", "    biascnfg:", "astropix4.config.biasconfig: is missing"),
        ("    biasconfig:", "    biascnfg:", "astropix4.config.biascnfg: unknown group: is biasconfig meant?"),
        ("      qon1: ", "      qon0: ", "line 57: qon0 is given twice"),
        ("dacs: [0, 0,", "dacs: [0, 1.9,", "….dacs[1] (cardConf2): 1.9 V is not within 0 to 1.8 V"),
        ("dacs: [0, 0,", "dacs: [0,", "….voltagecard.dacs: 7 values, not 8"),
        ("dacs: [0, 0,", "dacs: [0, no,", "….voltagecard.dacs: should be a list of voltages in V, not [0, False, 1.1"),
        ("dacs: [0, 0,", "dacs: [0, .nan,", "….dacs[1] (cardConf2): nan V is not within 0 to 1.8 V"),
        ("pos: 4", "pos: 9", "….voltagecard.pos: 9 is no slot: 1 to 8"),
        ("pos: 3", "pos: three", "….injectioncard.pos: should be a slot number, not three"),
        ("  row12: ", "  rw12: ", "astropix4.tdac_config.rw12: unknown row: is row12 meant?"),
        ("cols: 16", "cols: 8", "astropix4.geometry.cols: 8, but AstroPix 4 has 16"),
        ("rows: 35", "rows: many", "astropix4.geometry.rows: many is not a whole number"),
        ("astropix4:", "astropix2:", "astropix2: not known: known: astropix3, astropix4"),
        (
            "astropix4:",
            f"? astropix{'9' * 5000}\n:",  # Python makes no number of so many digits
            "file: should have one key astropixN at its top, with N the version: has none",
        ),
        ("astropix4:", "astropix:", "file: should have one key astropixN at its top, with N the version: has none"),
        ("  config:\n", "  config: 5\n  other:\n", "astropix4.config: should have groups below it, not 5"),
        ("  config:\n", "  confg:\n", "astropix4.config: is missing"),
        (
            "    biasconfig:\n",
            "    biasconfig: []\n    b:\n",
            "….biasconfig: should have names with [bits, value] below it",
        ),
        ("  tdac_config:\n", "  tdac_config: 1\n  b:\n", "….tdac_config: should have row0, row1, … below it, not 1"),
        ("    pos: 4", "    pos: 4\n   - x", "line 25: this is not YAML: "),
    ],
)
def test_mistakes_name_their_place(old: str, new: str, expected: str) -> None:
    assert old in TEXT
    found = mistakes(TEXT.replace(old, new, 1))
    assert any(expected.removeprefix("…") in line for line in found), found
    assert not any("\n" in line for line in found)


def test_all_mistakes_at_once() -> None:
    text = TEXT.replace("[10, 568]", "[10, 1024]").replace("[6, 30]", "[6, 64]").replace("pos: 4", "pos: 0")
    assert [line.partition(": ")[0] for line in mistakes(text)] == [
        "astropix4.config.idacs.vndel",
        "astropix4.config.vdacs.blpix",
        "astropix4.configcards.voltagecard.pos",
    ]


def test_a_file_that_was_sorted_is_refused() -> None:
    found = mistakes(yaml.safe_dump(yaml.safe_load(TEXT)))
    assert any(line.startswith("astropix4.config.idacs.") for line in found)
    assert all("the order must be that of the chip" in line for line in found)


def test_columns_that_the_chip_does_not_have_are_not_sent() -> None:
    extra = "".join(f"      col{column}: [38, 0]\n" for column in (16, 17, 17))
    text = TEXT.replace("\n  # Threshold trims", f"{extra}\n  # Threshold trims")
    chip_file = parse_chip_yaml(text)
    assert chip_file.chips == usual_chip_file(4).chips
    assert chip_file.unused == ("astropix4.config.recconfig: AstroPix 4 has 16 columns: col16, col17 not sent",)


def test_sections_that_nobody_knows_are_told() -> None:
    chip_file = parse_chip_yaml(TEXT.replace("  tdac_config:", "  tdac_confg:"))
    assert chip_file.unused == ("astropix4.tdac_confg: not known: is tdac_config meant?",)
    assert chip_file.defaulted == ("astropix4.tdac_config: not in the file, usual values taken: 1 in every pixel",)


@pytest.mark.parametrize(
    "text",
    [
        "",
        "- 1",
        "{",
        "[" * 20_000,
        "a: 2020-99-99",
        "&a [*a]",
        "astropix4: &x\n  config: *x",
        "astropix4: &x\n  config: {idacs: {vn1: &y [6, *y]}}",
        "\x00",
        "!!python/object/apply:os.system [x]",
        "? [a]\n: b",
        "<<: 3",
        "a: !!binary é",
        "astropix4: {config: {idacs: {vn1: [6, 0x" + "f" * 9999 + "]}}}",
        "a: " + "9" * 9999,
        "a: &a [x, x]\nb: &b [*a, *a]\nc: &c [*b, *b]\nastropix4: {config: {idacs: {vn1: *c}}}",
        "astropix4: 1\nastropix5: 2",
        "astropix99999999999999999999: {}",
    ],
)
def test_nonsense_is_one_line_each(text: str) -> None:
    for line in mistakes(text):
        assert line.isprintable()
        assert len(line) < 300


@given(st.text(max_size=60))
def test_any_text(text: str) -> None:
    mistakes(text)


@given(
    st.recursive(
        st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5),
        lambda inner: st.lists(inner, max_size=3) | st.dictionaries(NAMES, inner, max_size=4),
        max_leaves=12,
    )
)
def test_any_tree(tree: object) -> None:
    mistakes(yaml.safe_dump({"astropix4": tree}))


def test_an_unknown_value_in_the_place_of_a_missing_one_is_sent_there() -> None:
    (usual,) = parse_chip_yaml(TEXT).chips
    found = parse_chip_yaml(TEXT.replace(ENLVDS, "      DisLVDS: [1, 1]"))
    (chip,) = found.chips
    assert found.unused == ("astropix4.config.digitalconfig.DisLVDS: unknown value, sent in the place of enLVDS",)
    assert chip.value("digitalconfig", "DisLVDS") == 1
    assert chip.describe()["config"]["digitalconfig"]["DisLVDS"] == [1, 1]
    assert (
        configuration_bits([chip]).tolist()
        == configuration_bits([usual.with_value("digitalconfig", "enLVDS", 1)]).tolist()
    )


def test_a_further_unknown_value_is_sent_in_the_order_of_the_file() -> None:
    (usual,) = parse_chip_yaml(TEXT).chips
    found = parse_chip_yaml(TEXT.replace(ENLVDS, f"{ENLVDS}\n      DisLVDS: [2, 0b10]"))
    (chip,) = found.chips
    (line,) = found.unused
    assert line.startswith("astropix4.config.digitalconfig.DisLVDS: unknown value, sent as it is")
    assert (usual.bits, chip.bits) == (852, 854)
    sent, as_usual = configuration_bits([chip])[::-1].tolist(), configuration_bits([usual])[::-1].tolist()
    place = sum(value.bits for value in chip.values[: [value.name for value in chip.values].index("DisLVDS")])
    assert sent[place : place + 2] == [1, 0]
    assert sent[:place] + sent[place + 2 :] == as_usual
    assert chip.with_pixel(1, 9, on=True).pixels_on() == ((1, 9),)


def test_tdac_rows_beyond_the_chip_are_not_sent() -> None:
    rows = "".join(f"    row{row}: [80, 0]\n" for row in range(13, 35))
    found = parse_chip_yaml(TEXT.replace("  tdac_config:\n", "  tdac_config:\n" + rows))
    (line,) = found.unused
    assert line.startswith("astropix4.tdac_config: AstroPix 4 has 13 rows: row13, row14")
    assert found.chips == parse_chip_yaml(TEXT).chips


@pytest.mark.parametrize("given", ["DisLVDS: 1", "DisLVDS: [0, 0]", "DisLVDS: [129, 0]", "DisLVDS: [1, 2]"])
def test_an_unknown_value_must_be_one(given: str) -> None:
    with pytest.raises(ChipConfigError, match=r"digitalconfig\.DisLVDS: "):
        parse_chip_yaml(TEXT.replace(ENLVDS, f"{ENLVDS}\n      {given}"))


def test_unknown_version() -> None:
    with pytest.raises(ChipConfigError, match="AstroPix 7 is not known: known: astropix3, astropix4"):
        usual_chip_file(7)
