"""Publishers and clients that are closed again."""

from collections.abc import Callable, Iterator

import pytest
import zmq

from tests.monitor.publishing import TestPublisher

Bind = Callable[..., TestPublisher]


@pytest.fixture
def bind() -> Iterator[Bind]:
    """Makes publishers: `bind(endpoint=…, pub=…)`; a free port where no endpoint is given."""
    context: zmq.Context[zmq.Socket[bytes]] = zmq.Context()
    made: list[TestPublisher] = []

    def make(endpoint: str = "tcp://127.0.0.1:*", pub: int = 1, high_water: int = 0) -> TestPublisher:
        made.append(TestPublisher(context, endpoint, pub, high_water))
        return made[-1]

    yield make
    for publisher in made:
        publisher.close()
    context.term()


@pytest.fixture
def publisher(bind: Bind) -> TestPublisher:
    """One publisher on a free port."""
    return bind()
