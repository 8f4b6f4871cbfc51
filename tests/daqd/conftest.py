"""What the daemon's tests share: nothing is left behind, and a place for runs."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from daqd.runs.run_store import RunStore
from tests.daqd.waiting import DEADLINE_S
from tests.daqd.writing import Write, Writing
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


@pytest.fixture
def write(store: RunStore) -> Iterator[Write]:
    """Starts writers, which are ended in any case."""
    started: list[Writing] = []

    def start(**options: Any) -> Writing:
        started.append(Writing(store, **options))
        return started[-1]

    yield start
    for writing in started:
        writing.queue.close()
        assert writing.writer.join(DEADLINE_S)
