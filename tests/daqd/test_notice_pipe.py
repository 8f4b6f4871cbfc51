"""The pipe from the daemon: lines in any pieces, and its end."""

import os
import select
from collections.abc import Iterator
from contextlib import suppress

import pytest

from daqd.children.notice_pipe import NoticePipe
from daqd.children.notices import Notice
from protocol.wire.messages import LogLine


class Pipe:
    """A pipe with its reading end in a `NoticePipe`."""

    def __init__(self) -> None:
        self.reading, self.writing = os.pipe()
        self.notices = NoticePipe(self.reading)

    def say(self, data: bytes) -> list[Notice]:
        os.write(self.writing, data)
        return self.notices.take()

    @property
    def readable(self) -> bool:
        return bool(select.select([self.notices.source], [], [], 0)[0])


@pytest.fixture
def pipe() -> Iterator[Pipe]:
    pipe = Pipe()
    yield pipe
    pipe.notices.close()
    for end in (pipe.reading, pipe.writing):
        with suppress(OSError):
            os.close(end)


def test_lines_in_any_pieces(pipe: Pipe) -> None:
    assert pipe.say(b'{}\n\nnonsense\n{"log": {"level": "info", ') == [Notice(), Notice()]
    assert pipe.say(b'"text": "a"}}') == []
    assert pipe.say(b"\n\n{}") == [Notice(log=LogLine(level="info", text="a")), Notice()]
    assert not pipe.notices.ended


def test_it_can_be_waited_for(pipe: Pipe) -> None:
    assert not pipe.readable
    os.write(pipe.writing, b"\n")
    assert pipe.readable
    assert pipe.notices.take() == [Notice()]
    assert not pipe.readable


def test_its_end_stays_its_end(pipe: Pipe) -> None:
    os.write(pipe.writing, b"\n{}")
    os.close(pipe.writing)
    assert pipe.notices.take() == [Notice()]
    for _ in range(2):
        assert pipe.readable
        assert pipe.notices.take() == []
        assert pipe.notices.ended
