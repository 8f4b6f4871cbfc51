"""What the emulated board of a test is to do, as a configuration of the daemon."""

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from daqd.configuration.config import Config, load_config

Settings = Mapping[str, Mapping[str, Any]]
"""Sections of a configuration, `{"emulator": {"tot_mean_us": 100.0}}`; a key with a dot is a section below."""


def write_config(
    path: Path,
    hits: int,
    *,
    chips: int = 1,
    rate_hz: float | str = 1000.0,
    seed: int = 1,
    hot_pixels: Sequence[Sequence[float]] = (),
    dead_pixels: Sequence[Sequence[int]] = (),
    settings: Settings | None = None,
) -> Config:
    """Write a configuration at `path` and read it; `ConfigError` with every mistake.

    `hits`: after so many the board falls silent. `rate_hz`: of the whole board, or "max". `hot_pixels`: [chip, row,
    column, how many times as often as the others]; `dead_pixels`: [chip, row, column]; pixels of other layers than 1
    have the layer in front. `settings`: whatever else the configuration has (config/emulated.toml), and what is to be
    otherwise than all this.
    """
    sections: dict[str, dict[str, Any]] = {
        "board": {"transport": "emulated", "chips": chips},
        "emulator": {
            "hits_limit": hits,
            "rate_hz": rate_hz,
            "seed": seed,
            "hot_pixels": [list(pixel) for pixel in hot_pixels],
            "dead_pixels": [list(pixel) for pixel in dead_pixels],
        },
        "disk": {"warning_mb": 0, "critical_mb": 0},
        "stream": {"bind": "tcp://127.0.0.1:*", "catch_up": "tcp://127.0.0.1:*"},
    }
    for section, values in (settings or {}).items():
        sections.setdefault(section, {}).update(values)
    path.write_text("".join(_table(name, values) for name, values in sections.items()), encoding="utf-8")
    return load_config(path)


def _table(name: str, values: Mapping[str, Any]) -> str:
    # Texts, numbers, truth values and lists of them are written in JSON as in TOML.
    lines = (f"{key} = {json.dumps(value, default=str)}\n" for key, value in values.items())
    return f"[{name}]\n{''.join(lines)}\n"
