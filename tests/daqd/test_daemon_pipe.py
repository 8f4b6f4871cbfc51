"""The pipe from the daemon: lines in any pieces, and its end."""

import os
import select
from collections.abc import Iterator
from contextlib import suppress

import pytest

from daqd.children.child_end import DaemonPipe
from daqd.children.messages import MoreData, PublishLog, Ready, ToChild, decode_from_child
from protocol.wire.messages import LogLine


class Pipe:
    """A pipe with its reading end in a `DaemonPipe`."""

    def __init__(self) -> None:
        self.reading, self.writing = os.pipe()
        self.daemon = DaemonPipe(self.reading, self.writing)

    def say(self, data: bytes) -> list[ToChild]:
        os.write(self.writing, data)
        return self.daemon.receive()

    @property
    def readable(self) -> bool:
        return bool(select.select([self.daemon.source], [], [], 0)[0])


@pytest.fixture
def pipe() -> Iterator[Pipe]:
    pipe = Pipe()
    yield pipe
    pipe.daemon.close()
    for end in (pipe.reading, pipe.writing):
        with suppress(OSError):
            os.close(end)


def test_lines_in_any_pieces(pipe: Pipe) -> None:
    assert pipe.say(b'\n\nnonsense\n{"kind": "log", "line": {"level": "info", ') == [MoreData(), MoreData()]
    assert pipe.say(b'"text": "a"}}') == []
    assert pipe.say(b"\n\n{}") == [PublishLog(line=LogLine(level="info", text="a")), MoreData()]
    assert not pipe.daemon.ended


def test_it_can_be_waited_for(pipe: Pipe) -> None:
    assert not pipe.readable
    os.write(pipe.writing, b"\n")
    assert pipe.readable
    assert pipe.daemon.receive() == [MoreData()]
    assert not pipe.readable


def test_its_end_stays_its_end(pipe: Pipe) -> None:
    os.write(pipe.writing, b"\n{}")
    os.close(pipe.writing)
    assert pipe.daemon.receive() == [MoreData()]
    for _ in range(2):
        assert pipe.readable
        assert pipe.daemon.receive() == []
        assert pipe.daemon.ended


def test_messages_to_the_daemon(pipe: Pipe) -> None:
    """Here both ends are of one pipe."""
    assert pipe.daemon.send(Ready(endpoint="x"))
    assert decode_from_child(os.read(pipe.reading, 1000)) == Ready(endpoint="x")


def test_a_daemon_that_is_gone(pipe: Pipe) -> None:
    os.close(pipe.reading)
    assert not pipe.daemon.send(Ready(endpoint="x"))
