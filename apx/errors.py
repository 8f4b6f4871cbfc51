"""What ends a subcommand early, as the person at the terminal gets to read it."""

from importlib import import_module
from typing import Any


class ToolError(Exception):
    """The command cannot be carried out: exit code 1, one line on stderr."""


class MisuseError(ToolError):
    """The command cannot be meant so: exit code 2, one line on stderr."""


def optional_package(module: str, what: str) -> Any:
    """A module that only `what` needs; `ToolError` where it is not installed."""
    try:
        return import_module(module)
    except ImportError as error:
        package = module.partition(".")[0]
        raise ToolError(f"{what} needs the package {package}: pip install {package}") from error
