"""docs/invariants.md: the tests that it names are there, and each invariant has some."""

import ast
import re
from pathlib import Path

import pytest

REPOSITORY = Path(__file__).parents[2]
DOCUMENT = (REPOSITORY / "docs" / "invariants.md").read_text(encoding="utf-8")
SECTIONS = re.split(r"^## ", DOCUMENT, flags=re.MULTILINE)[1:]


def functions_of(path: Path) -> set[str]:
    """The names of all functions of a module."""
    tree = ast.parse(path.read_text(encoding="utf-8"))
    return {node.name for node in ast.walk(tree) if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)}


def test_all_ten_are_there() -> None:
    assert [int(section.split(".")[0]) for section in SECTIONS] == list(range(1, 11))


@pytest.mark.parametrize("section", SECTIONS, ids=[section.split(".")[0] for section in SECTIONS])
def test_each_has_tests_that_are_there(section: str) -> None:
    named = re.findall(r"`(tests/[\w/]+\.py)(?:::(\w+))?`", section)
    assert named
    for module, function in named:
        assert not function or function in functions_of(REPOSITORY / module), f"{module}::{function}"
        assert (REPOSITORY / module).is_file(), module
