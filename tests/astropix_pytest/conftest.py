"""Nothing is left behind when a test with the fixtures has ended."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.leaks import nothing_left_behind


@pytest.fixture(autouse=True)
def _no_leaks(tmp_path: Path) -> Iterator[None]:
    with nothing_left_behind(tmp_path):
        yield
