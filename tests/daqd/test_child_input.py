"""Lines to a child: whole or not at all, from any thread, and nobody waits."""

import os
import threading
from collections.abc import Iterator

import pytest

from daqd.children.child_process import ChildInput
from tests.daqd.waiting import DEADLINE_S


class Reading:
    """An input with a test in the place of the child."""

    def __init__(self) -> None:
        self.input = ChildInput()
        self.end = os.dup(self.input.reading)
        self.input.close_reading()

    def read(self) -> bytes:
        return os.read(self.end, 1 << 20)

    def read_all(self) -> bytes:
        return b"".join(iter(self.read, b""))


@pytest.fixture
def reading() -> Iterator[Reading]:
    reading = Reading()
    yield reading
    reading.input.close()
    os.close(reading.end)


def test_lines_and_the_end(reading: Reading) -> None:
    reading.input.send(b"\n")
    reading.input.send(b"a\n")
    assert reading.read() == b"\na\n"
    reading.input.close()
    reading.input.close()
    reading.input.send(b"b\n")
    assert reading.read() == b""


def test_a_child_that_does_not_read_misses_whole_lines(reading: Reading) -> None:
    lines = [f"{number} {'x' * 1000}\n".encode() for number in range(300)]
    for line in lines:
        reading.input.send(line)
    came = reading.read()
    reading.input.send(b"after\n")
    reading.input.close()
    got = (came + reading.read_all()).splitlines(keepends=True)
    assert got[-1] == b"after\n"
    assert set(got[:-1]) <= set(lines)
    assert 10 < len(got) < len(lines)
    assert got[:-1] == lines[: len(got) - 1]


def test_a_line_is_longer_than_the_pipe(reading: Reading) -> None:
    long = b"x" * 300_000 + b"\n"
    reading.input.send(long)
    came = b""
    while not came.endswith(b"\n"):
        came += reading.read()
        reading.input.send(b"")  # which gives the rest a chance
    assert came == long


def test_from_many_threads(reading: Reading) -> None:
    lines = [bytes((97 + thread,)) * (100 * thread + 1) + b"\n" for thread in range(8)]
    threads = [
        threading.Thread(target=lambda line=line: [reading.input.send(line) for _ in range(200)]) for line in lines
    ]
    everything: list[bytes] = []
    reader = threading.Thread(target=lambda: everything.append(reading.read_all()))
    for thread in (reader, *threads):
        thread.start()
    for thread in threads:
        thread.join(DEADLINE_S)
    reading.input.close()
    reader.join(DEADLINE_S)
    assert set(everything[0].splitlines(keepends=True)) <= set(lines)


def test_a_child_that_is_gone() -> None:
    orphan = ChildInput()
    orphan.close_reading()
    orphan.send(b"a\n")
    orphan.send(b"b\n")
    orphan.close()
