"""Sequence numbers and readout ids: every loss counted, every hit out once."""

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from monitor.continuity import HitsStep, Publisher, ReadoutRanges, RunPass, RunTracker, SequenceTracker, inside
from protocol.hit import HIT_DTYPE

A, B = Publisher("bench", 1), Publisher("bench", 2)
RUN = RunPass("bench", 7, 0)


def hits_of(*keys: tuple[int, int]) -> np.ndarray:
    table = np.zeros(len(keys), HIT_DTYPE)
    for index, (readout_id, order) in enumerate(keys):
        table[index]["readout_id"], table[index]["decoding_order"] = readout_id, order
    return table


def keys_of(step: HitsStep) -> list[tuple[int, int]]:
    return [(int(hit["readout_id"]), int(hit["decoding_order"])) for hit in step.hits]


# ---- sequence numbers


def test_joining_late_is_no_gap() -> None:
    tracker = SequenceTracker()
    assert tracker.observe("hits", A, 40).missed == 0
    assert tracker.observe("hits", A, 41).missed == 0
    assert tracker.missed == {}


def test_a_gap_counts_each_message() -> None:
    tracker = SequenceTracker()
    tracker.observe("hits", A, 3)
    assert tracker.observe("hits", A, 7).missed == 3
    assert (tracker.missed, tracker.gaps) == ({"hits": 3}, {"hits": 1})


def test_topics_count_apart() -> None:
    tracker = SequenceTracker()
    tracker.observe("hits", A, 3)
    assert tracker.observe("stat", A, 100).missed == 0
    assert tracker.observe("hits", A, 4).missed == 0


def test_another_publisher_is_a_restart_and_begins_at_zero() -> None:
    tracker = SequenceTracker()
    tracker.observe("hits", A, 30)
    first = tracker.observe("hits", B, 0)
    assert (first.restarted, first.missed, first.repeated) == (True, 0, False)
    assert not tracker.observe("hits", B, 1).restarted
    assert tracker.restarts == 1


def test_messages_sent_before_we_were_connected_again_are_missed() -> None:
    tracker = SequenceTracker()
    tracker.observe("hits", A, 30)
    assert tracker.observe("hits", B, 4).missed == 4


@given(kept=st.sets(st.integers(0, 200), min_size=1), again=st.lists(st.integers(0, 200)))
def test_missed_is_what_was_left_out_whatever_is_repeated(kept: set[int], again: list[int]) -> None:
    tracker = SequenceTracker()
    for seq in sorted(kept):
        tracker.observe("hits", A, seq)
        for repeat in again:
            if repeat <= seq:
                assert tracker.observe("hits", A, repeat).repeated
    left_out = max(kept) - min(kept) + 1 - len(kept)
    assert tracker.missed.get("hits", 0) == left_out


# ---- ranges of readouts


@given(st.lists(st.tuples(st.integers(0, 60), st.integers(0, 8))))
def test_ranges_are_a_set_of_ids(pieces: list[tuple[int, int]]) -> None:
    ranges, model = ReadoutRanges(), set[int]()
    for first, length in pieces:
        ids = set(range(first, first + length + 1))
        new = ranges.add(first, first + length)
        assert {i for start, end in new for i in range(start, end)} == ids - model
        probe = np.arange(0, 80)
        assert set(probe[inside(new, probe)].tolist()) == ids - model
        model |= ids
        assert ranges.last == max(model)
        assert ranges.first is not None
        assert ranges.missing == ranges.last - ranges.first + 1 - sum(i >= ranges.first for i in model)


def test_ranges_stay_bounded_and_give_up_the_oldest_hole() -> None:
    ranges = ReadoutRanges(limit=10)
    for first in range(0, 1000, 3):
        ranges.add(first, first)
    assert len(ranges) == 10
    assert ranges.missing == 2 * (1000 // 3)


# ---- runs


def test_consecutive_messages_come_out_as_they_are() -> None:
    tracker = RunTracker()
    first, second = hits_of((0, 0), (1, 0)), hits_of((2, 0), (2, 1))
    step = tracker.hits(RUN, 0, 1, first)
    assert step.hits is first
    assert (step.epoch, step.joined_at, step.new_readouts) == (1, 0, 2)
    assert tracker.hits(RUN, 2, 3, second).hits is second
    assert tracker.missed_readouts == 0


def test_a_message_lost_leaves_its_readouts_missing() -> None:
    tracker = RunTracker()
    tracker.hits(RUN, 0, 9, hits_of())
    assert tracker.hits(RUN, 15, 19, hits_of()).missed_readouts == 5
    assert tracker.missed_readouts == 5


def test_a_run_joined_late_says_where_and_misses_nothing() -> None:
    tracker = RunTracker()
    assert tracker.hits(RUN, 500, 510, hits_of()).joined_at == 500
    assert (tracker.joined_at, tracker.missed_readouts) == (500, 0)


def test_the_first_message_of_a_run_lost_is_seen_from_its_begin() -> None:
    tracker = RunTracker()
    tracker.run_event(RUN, 1000, begins=True)
    assert tracker.hits(RUN, 12, 20, hits_of(), gap=True).missed_readouts == 12
    assert tracker.missed_readouts == 12


def test_a_flush_adds_hits_to_the_last_readout_once() -> None:
    tracker = RunTracker()
    tracker.hits(RUN, 0, 9, hits_of((9, 0), (9, 1)))
    step = tracker.hits(RUN, 9, 9, hits_of((9, 2)))
    assert (keys_of(step), step.new_readouts, step.duplicates) == ([(9, 2)], 0, 0)
    assert keys_of(tracker.hits(RUN, 9, 9, hits_of((9, 2)))) == []
    assert keys_of(tracker.hits(RUN, 5, 9, hits_of((8, 0), (9, 0), (9, 1)))) == []
    assert tracker.duplicates == 4


def test_a_flush_may_add_a_hit_to_an_earlier_readout_where_the_last_ones_were_empty() -> None:
    tracker = RunTracker()
    tracker.hits(RUN, 0, 9, hits_of((5, 0)))
    assert keys_of(tracker.hits(RUN, 9, 9, hits_of((7, 0)))) == [(7, 0)]
    assert keys_of(tracker.hits(RUN, 0, 9, hits_of((5, 0)))) == []
    assert keys_of(tracker.hits(RUN, 9, 9, hits_of((7, 0)))) == []


def test_what_was_lost_and_published_again_comes_out() -> None:
    tracker = RunTracker()
    tracker.hits(RUN, 0, 4, hits_of((4, 0)))
    tracker.hits(RUN, 8, 9, hits_of((8, 0)))
    step = tracker.hits(RUN, 2, 9, hits_of((4, 0), (5, 0), (7, 1), (8, 0)))
    assert keys_of(step) == [(5, 0), (7, 1)]
    assert (step.recovered_readouts, tracker.missed_readouts) == (3, 0)


def test_a_restart_from_the_begin_gives_a_late_joiner_what_it_had_missed() -> None:
    tracker = RunTracker()
    tracker.hits(RUN, 100, 109, hits_of((100, 0)))
    step = tracker.hits(RUN, 0, 49, hits_of((3, 0)))
    assert (keys_of(step), step.missed_readouts, tracker.missed_readouts) == ([(3, 0)], 0, 0)
    step = tracker.hits(RUN, 50, 119, hits_of((100, 0), (112, 0)))
    assert (keys_of(step), step.joined_at) == ([(112, 0)], 0)


def test_another_run_or_pass_starts_anew_and_keeps_the_losses() -> None:
    tracker = RunTracker()
    tracker.hits(RUN, 0, 0, hits_of((0, 0)))
    tracker.hits(RUN, 5, 5, hits_of((5, 0)))
    step = tracker.hits(RunPass("bench", 8, 0), 0, 0, hits_of((0, 0)))
    assert (step.epoch, keys_of(step)) == (2, [(0, 0)])
    assert tracker.hits(RunPass("bench", 8, 1), 0, 0, hits_of((0, 0))).epoch == 3
    assert tracker.missed_readouts == 4


def test_a_begin_said_again_by_a_restarted_publisher_is_the_same_run() -> None:
    tracker = RunTracker()
    assert tracker.run_event(RUN, 1000, begins=True) == 1
    tracker.hits(RUN, 0, 5, hits_of((5, 0)))
    assert tracker.run_event(RUN, 1000, begins=False) == 1
    assert tracker.run_event(RUN, 1000, begins=True) == 1
    assert keys_of(tracker.hits(RUN, 0, 6, hits_of((5, 0), (6, 0)))) == [(6, 0)]


def test_the_same_run_number_at_another_time_is_another_run() -> None:
    tracker = RunTracker()
    assert tracker.run_event(RUN, 1000, begins=True) == 1
    assert tracker.run_event(RUN, 1100, begins=True) == 2


def test_a_run_goes_on_under_another_publisher_and_a_replay_begins_anew() -> None:
    assert RunPass.of(A, 7, 0) == RunPass.of(B, 7, 0)
    assert RunPass.of(A, 7, 1) != RunPass.of(B, 7, 1)


@st.composite
def published(draw: st.DrawFn) -> tuple[list[int], list[list[tuple[int, int]]]]:
    """Hits per readout of a run; for each publisher that came and went, the messages (first, last) it sent."""
    counts = draw(st.lists(st.integers(0, 3), min_size=1, max_size=30))
    publishers = []
    for _ in range(draw(st.integers(1, 4))):
        cursor = draw(st.integers(0, len(counts) - 1))
        messages = []
        while cursor < len(counts):
            last = draw(st.integers(cursor, len(counts) - 1))
            messages.append((cursor, last))
            cursor = last + 1
        kept = draw(st.lists(st.booleans(), min_size=len(messages), max_size=len(messages)))
        publishers.append([message for message, keep in zip(messages, kept, strict=True) if keep])
    return counts, publishers


@given(published(), st.booleans())
def test_each_hit_comes_out_once_whatever_is_lost_and_sent_again(
    stream: tuple[list[int], list[list[tuple[int, int]]]], flush: bool
) -> None:
    counts, publishers = stream
    cut_in = max((readout for readout, count in enumerate(counts) if count), default=0)
    tracker = RunTracker()
    received: list[tuple[int, int]] = []
    sent, offered, covered = set[tuple[int, int]](), 0, set[int]()
    last_readout = len(counts) - 1
    for messages in publishers:
        tail = [(last_readout, last_readout, True)] if flush else []
        for first, last, is_flush in [(*message, False) for message in messages] + tail:
            keys = [(r, order) for r in range(first, last + 1) for order in range(counts[r])]
            if is_flush:
                keys = [(cut_in, counts[cut_in])]
            offered += len(keys)
            sent |= set(keys)
            covered |= set(range(first, last + 1))
            received += keys_of(tracker.hits(RUN, first, last, hits_of(*keys)))
    assert len(received) == len(set(received))
    assert set(received) == sent
    assert tracker.duplicates == offered - len(received)
    assert tracker.readouts == len(covered)
    if covered:
        assert tracker.joined_at is not None
        expected = set(range(tracker.joined_at, max(covered) + 1))
        assert tracker.missed_readouts == len(expected - covered)
