"""Fixtures for tests that start the real programs."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.leaks import nothing_left_behind
from tests.system.laboratory import Laboratory


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    if Path("/proc/self/stat").exists():
        return
    here = Path(__file__).parent
    for item in items:
        if here in item.path.parents:
            item.add_marker(pytest.mark.skip(reason="no /proc here to look at processes with"))


@pytest.fixture(autouse=True)
def _no_leaks(tmp_path: Path) -> Iterator[None]:
    with nothing_left_behind(tmp_path):
        yield


@pytest.fixture
def laboratory(tmp_path: Path) -> Iterator[Laboratory]:
    """Where the programs of this test run; all of them have ended when the test has."""
    laboratory = Laboratory(tmp_path)
    yield laboratory
    laboratory.close()
