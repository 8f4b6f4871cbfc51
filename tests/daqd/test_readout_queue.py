"""The queue between reader and writer: bounded, in order, nothing dropped."""

import itertools
import math
import threading
import tracemalloc
from collections.abc import Callable

import pytest
from hypothesis import given
from hypothesis import strategies as st

from daqd.acquisition.readout_queue import READOUT_COST_BYTES, ReadoutQueue, cost_bytes
from daqd.boards.board import RawReadout
from tests.daqd.waiting import DEADLINE_S


def raw(size_bytes: int, timestamp_ns: int = 0) -> RawReadout:
    return RawReadout(bytes(size_bytes), timestamp_ns)


def test_everything_comes_out_in_order_at_once() -> None:
    queue = ReadoutQueue(1000)
    readouts = [raw(10, number) for number in range(5)]
    assert all(queue.put(readout) for readout in readouts)
    assert queue.take(0) == readouts
    assert queue.take(0) == []


def test_it_is_full_when_the_limit_is_reached_and_keeps_even_then_what_it_is_given() -> None:
    queue = ReadoutQueue(2 * READOUT_COST_BYTES + 100)
    assert queue.put(raw(60))
    assert not queue.put(raw(40))
    assert not queue.put(raw(70))
    waiting = 3 * READOUT_COST_BYTES + 170
    assert queue.size_bytes == queue.high_water_bytes == waiting
    assert [len(readout.data) for readout in queue.take(0) or []] == [60, 40, 70]
    assert queue.size_bytes == 0
    assert queue.high_water_bytes == waiting
    assert queue.put(raw(99))
    assert queue.high_water_bytes == waiting


def test_one_readout_larger_than_the_limit_is_kept() -> None:
    queue = ReadoutQueue(10)
    assert not queue.put(raw(11))
    assert queue.take(0) == [raw(11)]


@given(st.lists(st.integers(0, 300), max_size=60), st.integers(1, 9000))
def test_there_is_room_as_long_as_less_than_the_limit_waits(sizes: list[int], limit_bytes: int) -> None:
    queue = ReadoutQueue(limit_bytes)
    waiting = 0
    for size in sizes:
        waiting += size + READOUT_COST_BYTES
        assert queue.put(raw(size)) == (waiting < limit_bytes)
        assert queue.size_bytes == waiting
    assert [len(readout.data) for readout in queue.take(0) or []] == sizes


@given(st.lists(st.integers(0, 300), min_size=1, max_size=60), st.integers(0, 3000))
def test_taking_in_portions(sizes: list[int], most_bytes: int) -> None:
    queue = ReadoutQueue(1 << 20)
    for number, size in enumerate(sizes):
        queue.put(raw(size, number))
    queue.close()
    waiting = queue.size_bytes
    portions = []
    while (portion := queue.take(0, most_bytes)) is not None:
        taken = sum(map(cost_bytes, portion))
        assert len(portion) == 1 or taken <= most_bytes
        waiting -= taken
        assert queue.size_bytes == waiting
        portions.append(portion)
    assert waiting == 0
    assert [readout.timestamp_ns for readout in itertools.chain(*portions)] == list(range(len(sizes)))
    for portion, after in itertools.pairwise(portions):
        assert sum(map(cost_bytes, [*portion, after[0]])) > most_bytes, "no smaller than need be"


@pytest.mark.parametrize("size_bytes", [0, 1, 20, 2048])
def test_the_limit_is_of_memory_however_small_the_readouts_are(size_bytes: int) -> None:
    """A board that splits its data into tiny readouts takes no more memory than one with large ones."""
    limit_bytes = 2_000_000
    tracemalloc.start()
    try:
        queue = ReadoutQueue(limit_bytes)
        before, _ = tracemalloc.get_traced_memory()
        number = 1
        while queue.put(raw(size_bytes, 1_750_000_000_000_000_000 + number)):
            number += 1
            assert number * (size_bytes + 1) <= limit_bytes
        after, _ = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert 0.6 * limit_bytes < after - before < 1.02 * limit_bytes


def test_taking_waits_for_putting() -> None:
    queue = ReadoutQueue(1000)
    taken: list[list[RawReadout] | None] = []
    thread = threading.Thread(target=lambda: taken.append(queue.take(DEADLINE_S)))
    thread.start()
    queue.put(raw(1))
    thread.join(DEADLINE_S)
    assert taken == [[raw(1)]]


def test_taking_gives_up_after_its_time() -> None:
    assert ReadoutQueue(1000).take(0.001) == []


def test_waking_ends_one_wait_only() -> None:
    queue = ReadoutQueue(1000)
    queue.wake()
    assert queue.take(DEADLINE_S) == []
    assert not queue.gather(0.001, 1), "it is still awake"
    queue.put(raw(1))
    assert queue.take(DEADLINE_S) == [raw(1)]


@pytest.mark.parametrize("end", [ReadoutQueue.wake, ReadoutQueue.close])
def test_who_was_woken_or_closed_before_does_not_gather(end: Callable[[ReadoutQueue], None]) -> None:
    queue = ReadoutQueue(1000)
    end(queue)
    assert queue.gather(DEADLINE_S, 1000)


def test_what_waits_when_it_is_closed_comes_out_first() -> None:
    queue = ReadoutQueue(1000)
    queue.put(raw(1))
    queue.close()
    assert queue.take(DEADLINE_S) == [raw(1)]
    assert queue.take(DEADLINE_S) is None
    assert queue.take(DEADLINE_S) is None


def test_closing_ends_a_wait() -> None:
    queue = ReadoutQueue(1000)
    taken: list[list[RawReadout] | None] = []
    thread = threading.Thread(target=lambda: taken.append(queue.take(DEADLINE_S)))
    thread.start()
    queue.close()
    thread.join(DEADLINE_S)
    assert taken == [None]


def test_refusing_says_there_is_no_room_and_drops_nothing() -> None:
    queue = ReadoutQueue(1000)
    assert not queue.refusing
    queue.refuse()
    assert queue.refusing
    assert not queue.put(raw(1))
    assert queue.take(0) == [raw(1)]


def test_nothing_is_lost_between_two_threads() -> None:
    queue = ReadoutQueue(1 << 30)
    number = 20_000
    taken: list[RawReadout] = []

    def take() -> None:
        while (readouts := queue.take(DEADLINE_S)) is not None:
            taken.extend(readouts)

    thread = threading.Thread(target=take)
    thread.start()
    for index in range(number):
        queue.put(raw(1, index))
        if index % 1000 == 0:
            queue.wake()
    queue.close()
    thread.join(DEADLINE_S)
    assert [readout.timestamp_ns for readout in taken] == list(range(number))
    assert queue.size_bytes == 0


def test_gathering_ends_with_the_time_or_when_there_is_enough_or_no_more() -> None:
    queue = ReadoutQueue(1 << 20)
    assert not queue.gather(0.001, 1 << 20)
    queue.put(RawReadout(b"x" * 100, 1))
    assert not queue.gather(0.001, 1 << 20)
    assert queue.gather(DEADLINE_S, 100)
    assert len(queue.take(0) or []) == 1

    for end in (lambda: queue.put(RawReadout(b"x" * 1000, 1)), queue.wake, queue.close):
        gathered: list[bool] = []
        thread = threading.Thread(target=lambda: gathered.append(queue.gather(DEADLINE_S, 1000)))  # noqa: B023 - it ends below
        thread.start()
        end()
        thread.join(DEADLINE_S)
        assert gathered == [True]
        queue.take(0)


def test_gathering_ends_with_the_first_readout_that_comes_when_it_is_time() -> None:
    queue = ReadoutQueue(1 << 20)
    queue.put(raw(1))
    assert not queue.gather(0.001, 1 << 20, ripe_at=0.0)  # none has come since
    for ripe_at, seconds, ended in ((0.0, DEADLINE_S, True), (math.inf, 0.05, False)):
        gathered: list[bool] = []
        thread = threading.Thread(target=lambda: gathered.append(queue.gather(seconds, 1 << 20, ripe_at)))  # noqa: B023 - it ends below
        thread.start()
        while thread.is_alive():
            queue.put(raw(1))
            thread.join(0.001)
        assert gathered == [ended]
        queue.take(0)
