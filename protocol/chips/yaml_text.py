"""YAML text to plain values, with errors that name the line."""

import reprlib
from typing import Any, Final

import yaml

from protocol.chips.chip_config import ChipConfigError
from protocol.text import printable

MAX_SHOWN: Final = 60


class _Loader(yaml.SafeLoader):
    """The safe loader, which also notes keys that are given twice: (key, line from 1)."""

    def __init__(self, text: str) -> None:
        self.twice: list[tuple[str, int]] = []
        super().__init__(text)

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Any, Any]:
        seen = set()
        for key, _ in node.value if isinstance(node, yaml.MappingNode) else ():
            if isinstance(key, yaml.ScalarNode):
                if key.value in seen:
                    self.twice.append((key.value, key.start_mark.line + 1))
                seen.add(key.value)
        return super().construct_mapping(node, deep)


def load_yaml(text: str) -> tuple[Any, list[tuple[str, int]]]:
    """The values of a YAML document, and the keys that it gives twice, each with its line from 1.

    Nothing but numbers, texts, lists and the like is made of it. Raises `ChipConfigError` with one line.
    """
    try:
        loader = _Loader(text)
        try:
            return loader.get_single_data(), loader.twice
        finally:
            loader.dispose()
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        where = f"line {mark.line + 1}: " if mark is not None else ""
        raise ChipConfigError([f"{where}this is not YAML: {error.problem or error.context}"]) from None
    except yaml.YAMLError as error:
        raise ChipConfigError([f"this is not YAML: {' '.join(str(error).split())}"]) from None
    except RecursionError:
        raise ChipConfigError(["this is not a chip configuration: it is nested too deeply"]) from None
    except (ValueError, OverflowError) as error:
        # The loader makes dates and numbers of what looks like them.
        raise ChipConfigError([f"this is not a chip configuration: {shown(str(error))}"]) from None


def shown(value: Any) -> str:
    """A value in an error: one line, not long, nothing of its own that a terminal obeys."""
    if isinstance(value, str):
        text = value or '""'
    else:
        try:
            # Not repr: lists that hold each other many times over can be longer than any memory.
            text = reprlib.repr(value)
        except ValueError:
            text = "a very long number"
    text = printable(text[:MAX_SHOWN], "?")
    return text if len(text) < MAX_SHOWN else text[:-1] + "…"
