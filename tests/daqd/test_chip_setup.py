"""`[chip]` of the configuration, what a run says otherwise, and what becomes of both with a chip's file."""

from pathlib import Path
from typing import Any

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from daqd.configuration.chip_settings import ChipSettings
from daqd.configuration.chip_setup import build_chip_setup, load_chip_setup
from daqd.configuration.config import load_config
from daqd.configuration.config_sections import BoardSection
from daqd.errors import ConfigError
from protocol.chips.chip_file import ChipFile, usual_chip_file
from protocol.chips.chip_setup import ChipSetup
from protocol.chips.chip_yaml import parse_chip_yaml

OURS = Path(__file__).parents[2] / "config" / "astropix4.yml"
GECCO = {"transport": "emulated"}


def setup(settings: dict[str, Any], chip_file: ChipFile | None = None, **board: Any) -> ChipSetup:
    return build_chip_setup(
        ChipSettings.model_validate(settings),
        chip_file or usual_chip_file(4),
        BoardSection.model_validate({**GECCO, **board}),
    )


def mistakes(settings: dict[str, Any], chip_file: ChipFile | None = None, **board: Any) -> list[str]:
    with pytest.raises(ConfigError) as caught:
        setup(settings, chip_file, **board)
    return list(caught.value.mistakes)


def several(chips: int) -> ChipFile:
    tree = yaml.safe_load(OURS.read_text(encoding="utf-8"))["astropix4"]
    config = tree.pop("config")
    tree.pop("tdac_config")
    tree |= {f"config_{chip}": {**config, "vdacs": {**config["vdacs"], "vinj": [10, chip]}} for chip in range(chips)}
    return parse_chip_yaml(yaml.safe_dump({"astropix4": tree}, sort_keys=False))


def test_nothing_given_is_the_usual() -> None:
    found = setup({})
    assert found.chips == usual_chip_file(4).chips
    assert found.injection is None
    assert found.defaulted == ("chip.file: not given, usual values taken",)


def test_a_file_of_the_collaboration(recordings: Path) -> None:
    settings = ChipSettings(
        file=str(recordings / "config_v4_none_20250723_092534.yml"), threshold_mv=40, vinj_mv=300
    ).overridden({"inject": [1, 9]})
    found = load_chip_setup(settings, BoardSection.model_validate(GECCO))
    (chip,) = found.chips
    # Row 0, column 9 of the file stays on, and is not injected any more.
    assert chip.pixels_on() == ((0, 9), (1, 9))
    assert chip.injected_pixels() == ((1, 9),)
    assert chip.value("vdacs", "vinj") == 170
    assert found.cards is not None
    assert found.cards.dacs_v[7] == 1.04
    assert found.injection is not None
    assert (found.injection.row, found.injection.column, found.injection.amplitude_mv) == (1, 9, 300)
    assert len(found.defaulted) == 4


def test_amplitude_of_the_file_where_none_is_given() -> None:
    found = setup({"inject": [1, 9]})
    assert found.chips[0].value("vdacs", "vinj") == 171
    assert found.injection is not None
    assert found.injection.amplitude_mv == pytest.approx(171 * 1800 / 1024)


def test_the_injection_card_leaves_the_amplitude_of_the_chip() -> None:
    found = setup({"inject": [1, 9], "vinj_mv": 500, "inject_output": "card", "inject_period": 7, "inject_cycle": 9})
    assert found.chips[0].value("vdacs", "vinj") == 171
    assert found.injection is not None
    assert (found.injection.output, found.injection.amplitude_mv) == ("card", 500)
    assert (found.injection.period, found.injection.cycle, found.injection.divider) == (7, 9, 300)


def test_mask_in_its_order() -> None:
    mask = {"all": "on", "enable": [[0, 0]], "disable": [[0, 0], [1, 2, 3]]}
    first, second = setup({"mask": mask}, chips=2).chips
    everywhere = {(row, column) for row in range(13) for column in range(16)}
    assert set(first.pixels_on()) == everywhere - {(0, 0)}
    assert set(second.pixels_on()) == everywhere - {(0, 0), (2, 3)}


def test_threshold_on_the_chip() -> None:
    found = setup({"threshold_mv": 100, "threshold_output": "chip"}, chips=2)
    assert [chip.value("vdacs", "thpix") for chip in found.chips] == [624, 624]
    assert found.cards is not None
    assert found.cards.dacs_v[7] == 1.2


def test_a_threshold_of_an_astep_board_waits_for_what_the_board_has() -> None:
    found = setup({"threshold_mv": 100}, kind="astep")
    assert (found.threshold_mv, found.threshold_output) == (100, "auto")
    on_card = setup({"threshold_mv": 100, "threshold_output": "card"}, kind="astep")
    assert on_card.cards is not None
    assert (on_card.cards.dacs_v[7], on_card.threshold_output) == (1.1, "card")
    assert setup({"threshold_output": "card"}, kind="astep").threshold_output == "auto"  # nothing is set


def test_analogue_output_of_every_chip() -> None:
    assert [chip.analog_columns() for chip in setup({"analog_column": 3}, chips=2).chips] == [(3,), (3,)]


def test_one_chip_of_several_is_injected() -> None:
    found = setup({"inject": [1, 1, 9]}, chips=2)
    assert [chip.injected_pixels() for chip in found.chips] == [(), ((1, 9),)]


def test_one_file_for_all_chips_or_for_each() -> None:
    assert len(setup({}, chips=3).chips) == 3
    amplitudes = [chip.value("vdacs", "vinj") for chip in setup({}, several(2), chips=2).chips]
    assert amplitudes == [0, 1]
    assert mistakes({}, several(2), chips=3) == ["chip.file: describes 2 chips, but board.chips = 3"]
    layers: dict[str, Any] = {"kind": "astep", "layers": 3, "chips": 2}
    amplitudes = [chip.value("vdacs", "vinj") for chip in setup({}, several(2), **layers).chips]
    assert amplitudes == [0, 1, 0, 1, 0, 1]
    found = setup({"inject": [3, 0, 1, 9]}, several(6), **layers)
    assert [chip.value("vdacs", "vinj") for chip in found.layer(2)] == [4, 5]
    assert [chip.injected_pixels() for chip in found.layer(2)] == [((1, 9),), ()]


LAYERS: dict[str, Any] = {"kind": "astep", "layers": 3, "chips": 2}


def test_a_pixel_names_its_layer_from_1_and_its_chip_along_the_chain() -> None:
    mask = {"all": "off", "enable": [[1, 1], [2, 1, 5, 5], [1, 6, 6]]}
    found = setup({"mask": mask, "inject": [2, 1, 1, 9]}, **LAYERS)
    on = [set(chip.pixels_on()) - {(1, 1)} for chip in found.chips]
    assert on == [set(), {(6, 6)}, set(), {(5, 5), (1, 9)}, set(), set()]
    assert all((1, 1) in chip.pixels_on() for chip in found.chips)
    assert [chip.injected_pixels() for chip in found.layer(1)] == [(), ((1, 9),)]
    told = found.describe()["injection"]
    assert (told["layer"], told["chip"]) == (2, 1)
    assert [found.name(number) for number in (0, 3)] == ["layer 1 chip 0", "layer 2 chip 1"]
    one_chain = setup({"inject": [1, 1, 9]}, chips=2)
    assert one_chain.describe()["injection"] == {**told, "layer": 1, "chip": 1}
    assert one_chain.name(1) == "chip 1"


@pytest.mark.parametrize(
    ("settings", "expected"),
    [
        (
            {"inject": [2, 1, 9]},
            "chip.inject: there is no chip 2: 0 to 1; [layer, chip, row, column] names another layer's",
        ),
        (
            {"mask": {"disable": [[2, 2, 1, 9]]}},
            "chip.mask.disable[0]: there is no chip 2: 0 to 1; [layer, chip, row, column] names another layer's",
        ),
        (
            {"inject": [3, 0, 1, 9], "mask": {"disable": [[0, 1, 9], [3, 0, 1, 9]]}},
            "chip.inject: the pixel is switched off by chip.mask.disable[1]: an injected pixel must be on",
        ),
    ],
)
def test_mistakes_of_layers(settings: dict[str, Any], expected: str) -> None:
    assert mistakes(settings, **LAYERS) == [expected]


def test_layers_that_are_not_there() -> None:
    assert mistakes({"inject": [3, 0, 1, 9]}, **LAYERS | {"layers": 2}) == ["chip.inject: there is no layer 3: 1 to 2"]
    assert mistakes({"inject": [2, 0, 1, 9]}) == ["chip.inject: there is no layer 2: this board has 1"]
    with pytest.raises(ConfigError, match=r"inject\.layer: 0 is not allowed: it must be 1 to 3"):
        ChipSettings().overridden({"inject": [0, 0, 1, 9]})
    with pytest.raises(ConfigError, match="names layer 2 and no chip"):
        ChipSettings().overridden({"inject": {"layer": 2, "row": 1, "column": 9}})


def test_supply_and_calibration_of_the_card() -> None:
    cards = setup({"vcal": 1.0, "vsupply": 3.3}).cards
    assert cards is not None
    assert (cards.vcal, cards.vsupply_v, cards.dac_code(1.0)) == (1.0, 3.3, 4964)


@pytest.mark.parametrize(
    ("settings", "expected"),
    [
        (
            {"threshold_mv": 501},
            "chip.threshold_mv: a threshold of 501 mV above BL = 1 V makes thpix 1.501 V: 0 to 1.5 V",
        ),
        ({"inject": [1, 1, 9]}, "chip.inject: there is no chip 1: 0 to 0"),
        ({"mask": {"enable": [[1, 2], [3, 1, 2]]}}, "chip.mask.enable[1]: there is no chip 3: 0 to 0"),
        (
            {"inject": [1, 9], "inject_output": "card"},
            "chip.vinj_mv: is missing: the injection card needs an amplitude",
        ),
        (
            {"inject": [1, 9], "mask": {"disable": [[1, 9]]}},
            "chip.inject: the pixel is switched off by chip.mask.disable[0]: an injected pixel must be on",
        ),
        ({"method": "spi"}, "chip.method: the GECCO firmware configures chips by shift register only"),
    ],
)
def test_mistakes_name_their_key(settings: dict[str, Any], expected: str) -> None:
    assert mistakes(settings) == [expected]


def test_all_mistakes_at_once() -> None:
    assert len(mistakes({"threshold_mv": 501, "inject": [1, 1, 9], "mask": {"disable": [[7, 0, 0]]}})) == 3


def test_two_analogue_columns_in_the_file_are_a_mistake() -> None:
    text = OURS.read_text(encoding="utf-8")
    for column in (3, 4):
        text = text.replace(f"col{column}:                [38, 0b0", f"col{column}:                [38, 0b1")
    chip_file = parse_chip_yaml(text)
    assert mistakes({}, chip_file) == ["chip.file: chip 0 has the analogue output of columns 3, 4 on: one column only"]
    assert setup({"analog_column": 5}, chip_file).chips[0].analog_columns() == (5,)


def test_rows_that_are_not_sent_are_told() -> None:
    text = OURS.read_text(encoding="utf-8").replace("row3:   [80, 0b00001", "row3:   [80, 0b00011")
    assert setup({}, parse_chip_yaml(text)).notes == ("tdac_config: rows differ, and only row0 is sent to the chips",)
    assert setup({}).notes == ()


def test_what_a_run_says_otherwise() -> None:
    settings = ChipSettings.model_validate({"threshold_mv": 40, "mask": {"all": "on", "disable": [[0, 0]]}})
    changed = settings.overridden({"threshold_mv": 50, "inject": [1, 9], "mask": {"disable": [[0, 1]]}})
    assert (changed.threshold_mv, changed.mask.all) == (50, "on")
    assert [(pixel.row, pixel.column) for pixel in changed.mask.disable] == [(0, 1)]
    assert changed.overridden({"inject": None}).inject is None
    assert settings.overridden({}) == settings


@pytest.mark.parametrize(
    ("overrides", "expected"),
    [
        ({"file": "other.yml"}, "file: cannot be changed for a run"),
        ({"treshold_mv": 4}, "treshold_mv: unknown key: is threshold_mv meant?"),
        ({"inject": [35, 9]}, "inject.row: 35 is not allowed: it must be 0 to 34"),
        ({"inject": [1]}, "inject: [1] should be [row, column], [chip, row, column] or [layer, chip, row, column]"),
        ({"inject": "1,9"}, "inject: '1,9' should be [row, column], [chip, row, column] or [layer, chip, row, column]"),
        ({"vinj_mv": 1801}, "vinj_mv: 1801 is not allowed: it must be 0 to 1800"),
        ({"threshold_mv": "40"}, 'threshold_mv: "40" is not a number'),
        ({"mask": {"enable": [[1, 35]]}}, "mask.enable[0].column: 35 is not allowed: it must be 0 to 34"),
    ],
)
def test_a_run_that_wants_the_impossible(overrides: dict[str, Any], expected: str) -> None:
    with pytest.raises(ConfigError) as caught:
        ChipSettings().overridden(overrides)
    assert caught.value.mistakes == (expected,)


@pytest.mark.parametrize(
    ("content", "expected"),
    [
        (b"astropix4: {}", "chip.yml: astropix4.config: is missing: groups digitalconfig"),
        (b"astropix4: [", "chip.yml: line 1: this is not YAML"),
        (b"\xff", "chip.yml: is not UTF-8 text: byte 0 is wrong"),
    ],
)
def test_a_file_that_cannot_be_used(tmp_path: Path, content: bytes, expected: str) -> None:
    path = tmp_path / "chip.yml"
    path.write_bytes(content)
    with pytest.raises(ConfigError) as caught:
        load_chip_setup(ChipSettings(file=str(path)), BoardSection.model_validate(GECCO))
    assert expected in str(caught.value)


def test_a_file_that_has_gone(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="cannot be read: No such file"):
        load_chip_setup(ChipSettings(file=str(tmp_path / "chip.yml")), BoardSection.model_validate(GECCO))


def test_the_file_is_relative_to_the_configuration(tmp_path: Path) -> None:
    config = tmp_path / "daqd.toml"
    config.write_text('[board]\ntransport = "emulated"\n[chip]\nfile = "chip.yml"\n')
    with pytest.raises(ConfigError, match=r"chip\.file: there is no file .*/chip\.yml"):
        load_config(config)
    (tmp_path / "chip.yml").write_text(OURS.read_text(encoding="utf-8"))
    loaded = load_config(config)
    assert load_chip_setup(loaded.chip, loaded.board).defaulted == ()


_KEYS = st.sampled_from([*ChipSettings.model_fields, "all", "enable", "disable", "chip", "row", "column"])
_ANYTHING = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5) | _KEYS, inner, max_size=3),
    max_leaves=10,
)


@given(st.dictionaries(st.text(max_size=5) | _KEYS, _ANYTHING, max_size=4))
def test_any_wish_of_a_run_is_taken_or_refused_in_lines(overrides: dict[str, Any]) -> None:
    try:
        settings = ChipSettings().overridden(overrides)
        found = build_chip_setup(settings, usual_chip_file(4), BoardSection.model_validate(GECCO))
    except ConfigError as error:
        assert error.mistakes
    else:
        assert found.chips[0].kind.number == 4
