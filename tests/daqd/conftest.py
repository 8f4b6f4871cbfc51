"""What the daemon's tests share: nothing is left behind, and a place for runs."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from daqd.run_store import RunStore
from tests.leaks import nothing_left_behind


@pytest.fixture(autouse=True)
def _no_leaks(tmp_path: Path) -> Iterator[None]:
    with nothing_left_behind(tmp_path):
        yield


@pytest.fixture
def store(tmp_path: Path) -> RunStore:
    """An empty data directory."""
    store = RunStore(tmp_path / "data")
    store.prepare()
    return store
