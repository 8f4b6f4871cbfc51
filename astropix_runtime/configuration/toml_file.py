"""Configuration files, read as TOML, with what is wrong with the file as a whole in one line."""

import tomllib
from pathlib import Path
from typing import Any

from protocol.text import reason_of


def read_toml(path: Path) -> dict[str, Any]:
    """What the file at `path` says; `ValueError` of one line (without the path) where it is no TOML to be read."""
    try:
        return tomllib.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise ValueError(f"cannot be read: {reason_of(error)}") from error
    except UnicodeDecodeError as error:
        raise ValueError(f"is not UTF-8 text: byte {error.start} is wrong") from error
    except tomllib.TOMLDecodeError as error:
        raise ValueError(f"is not valid TOML: {error}") from error
