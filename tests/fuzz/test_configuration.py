"""Configurations as people write them: all mistakes named, each in one line, or a configuration that can be used."""

from contextlib import suppress
from functools import cache
from pathlib import Path
from typing import Any

import yaml
from hypothesis import given
from hypothesis import strategies as st

from daqd.configuration.chip_settings import ChipSettings
from daqd.configuration.chip_setup import build_chip_setup
from daqd.configuration.config import Config, load_config
from daqd.configuration.config_sections import BoardSection
from daqd.errors import ConfigError
from protocol.chips.chip_config import ChipConfigError
from protocol.chips.chip_yaml import parse_chip_yaml
from tests.conftest import REPOSITORY
from tests.fuzz.damage import ODD_VALUES, damaged, damaged_tree, fuzzed

_CONFIGS = [path.read_bytes() for path in sorted((REPOSITORY / "config").glob("*.toml"))]
_ODD_TOML = (
    *("true", "-1", "0", "1e999", "nan", "-inf", '""', '"x"', "[]", "[[1, 2, 3]]", "{}", "99999999999999999999"),
    *('"\\u0000"', '"tcp://0.0.0.0:1"', '"ipc://"', "1979-05-27", '"""', "[", "0x", '["max"]', '"../.."'),
)


@st.composite
def _damaged_toml(draw: st.DrawFn) -> bytes:
    lines = draw(st.sampled_from(_CONFIGS)).decode().splitlines()
    for _ in range(draw(st.integers(0, 5))):
        at = draw(st.integers(0, len(lines) - 1))
        key, equals, _ = lines[at].lstrip("# ").partition("=")
        kind = draw(st.sampled_from(("value", "value", "value", "delete", "twice", "key", "section")))
        if kind == "value" and equals:
            lines[at] = f"{key}= {draw(st.sampled_from(_ODD_TOML))}"
        elif kind == "delete":
            lines[at] = ""
        elif kind == "twice":
            lines.insert(draw(st.integers(0, len(lines))), lines[at])
        elif kind == "key" and equals:
            lines[at] = "x" + lines[at]
        elif kind == "section":
            lines[at] = draw(st.sampled_from(("[x]", "[[board]]", "[emulator.misbehave.x]", "[chip.mask]")))
    return "\n".join(lines).encode()


@fuzzed
@given(_damaged_toml() | damaged(_CONFIGS))
def test_toml(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "fuzzed.toml"
    path.write_bytes(content)
    try:
        config = load_config(path)
    except ConfigError as error:
        assert error.mistakes
        assert all(mistake and "\n" not in mistake for mistake in error.mistakes)
    else:
        Config.model_validate(config.model_dump())


_SMALL = {
    "board": {"transport": "emulated"},
    "emulator": {"hot_pixels": [[0, 1, 2, 3.0]]},
    "chip": {"threshold_mv": 40.0, "inject": [1, 9], "mask": {"enable": [[0, 1, 2]], "all": "off"}},
}


@fuzzed
@given(damaged_tree([_SMALL]))
def test_values_of_any_type(values: Any) -> None:
    with suppress(ValueError):
        Config.model_validate(values)


@cache
def _chip_tree() -> dict[str, Any]:
    tree: dict[str, Any] = yaml.safe_load((REPOSITORY / "config" / "astropix4.yml").read_text())
    return tree


_YAML_WORDS = (
    b"&a [*a]",
    b"*a",
    b"!!python/object:os.system x",
    b"? ",
    b"- ",
    b": ",
    b"{",
    b"\t",
    b"<<: ",
    b"0b2",
    b"\xff",
)


@fuzzed
@given(
    damaged([(REPOSITORY / "config" / "astropix4.yml").read_bytes()], _YAML_WORDS).map(
        lambda data: data.decode(errors="replace")
    )
    | st.deferred(lambda: damaged_tree([_chip_tree()], ODD_VALUES)).map(lambda tree: yaml.safe_dump(tree))
)
def test_chip_yaml(text: str) -> None:
    try:
        chip_file = parse_chip_yaml(text)
    except ChipConfigError as error:
        assert error.mistakes
        assert all(mistake and "\n" not in mistake for mistake in error.mistakes)
        return
    with suppress(ConfigError):
        build_chip_setup(ChipSettings(), chip_file, BoardSection(transport="emulated", chips=len(chip_file.chips)))


_WISHES = {"threshold_mv": 40.0, "inject": [1, 9], "vinj_mv": 300.0, "mask": {"enable": [[0, 1]]}, "analog_column": 3}


@fuzzed
@given(damaged_tree([_WISHES]))
def test_wishes_of_one_run(overrides: Any) -> None:
    if isinstance(overrides, dict):
        with suppress(ConfigError):
            ChipSettings().overridden(overrides)
