"""docs/architecture.md: its tables are what the imports show, and what it names is there."""

import re
from pathlib import Path

import grimp
import pytest

REPOSITORY = Path(__file__).resolve().parents[1]
DOCUMENT = (REPOSITORY / "docs" / "architecture.md").read_text(encoding="utf-8")
PACKAGES = ("protocol", "astropix_runtime", "apx", "daqd", "monitor", "astropix_pytest")


@pytest.fixture(scope="module")
def imports() -> dict[str, set[str]]:
    """For each package, and for each room `package/room`: the packages and rooms that it imports."""
    graph = grimp.build_graph(*PACKAGES, cache_dir=None)
    found: dict[str, set[str]] = {}
    for module in graph.modules:
        for name in _places(module):
            imported = {place for each in graph.find_modules_directly_imported_by(module) for place in _places(each)}
            found.setdefault(name, set()).update(imported - {name})
    return found


def _places(module: str) -> list[str]:
    package, *rest = module.split(".")
    if rest and (REPOSITORY / package / rest[0]).is_dir():
        return [package, f"{package}/{rest[0]}"]
    return [package]


def _rows(heading: str) -> dict[str, set[str]]:
    """The first two columns of the tables of a section."""
    section = re.search(rf"^## {heading}\n(.*?)(?=^## )", DOCUMENT, re.MULTILINE | re.DOTALL)
    assert section
    rows = re.findall(r"^\| `([\w/]+)` \| (.*?) \|", section[1], re.MULTILINE)
    return {name: set(re.findall(r"`([\w/]+)`", imported)) for name, imported in rows}


def test_packages(imports: dict[str, set[str]]) -> None:
    assert _rows("Packages") == {package: imports.get(package, set()) & set(PACKAGES) for package in PACKAGES}


def test_rooms(imports: dict[str, set[str]]) -> None:
    rooms = {
        name: {each for each in imported if each.startswith(f"{name.partition('/')[0]}/")}
        for name, imported in imports.items()
        if "/" in name
    }
    assert _rows("Rooms") == rooms


def test_what_it_names_is_there() -> None:
    rows = re.findall(r"^\| \d \| (.*?) \|", DOCUMENT, re.MULTILINE)
    assert len(rows) > 15
    for row in rows:
        folder = Path()
        for name in re.findall(r"`([\w/.]+)`", row):
            place = Path(name) if "/" in name else folder / name
            assert (REPOSITORY / place).exists(), name
            folder = place.parent
