"""A pytest plugin: streams for testing whatever reads the stream of an AstroPix detector (docs/testing.md).

pytest finds it by itself where astropix-daq is installed. It imports nothing that takes time before a test asks for it.
"""

from collections.abc import Callable, Iterator
from contextlib import ExitStack
from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    from pathlib import Path

    from astropix_pytest.daemon import DaemonSource
    from astropix_pytest.recording import Recording
    from astropix_pytest.replay import ReplaySource


@pytest.fixture
def astropix_generate(tmp_path_factory: pytest.TempPathFactory) -> "Callable[..., Recording]":
    """Generates recorded runs out of a seed, at once; arguments as `astropix_pytest.generating.generate`."""
    from astropix_pytest.generating import generate

    def make(hits: int = 1000, **options: Any) -> "Recording":
        return generate(tmp_path_factory.mktemp("astropix-generated"), hits, **options)

    return make


@pytest.fixture
def astropix_replay(tmp_path_factory: pytest.TempPathFactory) -> "Iterator[Callable[..., ReplaySource]]":
    """Replays a recording, or `.apx` files, on a free port until the test ends; arguments as `ReplaySource`."""
    from astropix_pytest.recording import Recording
    from astropix_pytest.replay import ReplaySource

    with ExitStack() as started:

        def start(recorded: "Recording | Path | str", *more: "Path | str", **options: Any) -> ReplaySource:
            recording = recorded if isinstance(recorded, Recording) else Recording.of(recorded, *more)
            folder = tmp_path_factory.mktemp("astropix-replay")
            return started.enter_context(ReplaySource(folder, recording, **options))

        yield start


@pytest.fixture
def astropix_daemon(tmp_path_factory: pytest.TempPathFactory) -> "Iterator[Callable[..., DaemonSource]]":
    """Starts daemons with an emulated board on free ports until the test ends; arguments as `DaemonSource`."""
    from astropix_pytest.daemon import DaemonSource

    with ExitStack() as started:

        def start(hits: int = 1000, **options: Any) -> DaemonSource:
            return started.enter_context(DaemonSource(tmp_path_factory.mktemp("astropix-daemon"), hits, **options))

        yield start
