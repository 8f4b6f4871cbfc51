"""From readouts to messages: the same hits whatever the batches, no readout left out, the ledger at the end."""

import itertools
import random
from collections.abc import Sequence
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from daqd.following.feed import Complaint, ReadoutsRead, RunBegan, RunEnded
from daqd.publishing.run_publisher import RunPublisher
from protocol.block import ReadoutBlock
from protocol.decode import StreamDecoder
from protocol.hit import HitTable
from protocol.ledger import Ledger
from protocol.readout import AstroPix4Readout
from protocol.run_record import RunRecord
from protocol.wire.messages import Message, Topic
from tests.daqd.emulated_bench import HandClock
from tests.daqd.file_bytes import record_bytes
from tests.daqd.made_readouts import CHIPS, make_readouts
from tests.daqd.published import Published, Sent
from tests.daqd.run_on_disk import Readout, number_readouts

HIT = bytes.fromhex("e05042030620d701")


def record(run: int = 1, **values: Any) -> RunRecord:
    known = {"daq": "test", "run": run, "state": "running", "begin_ns": 1, "software": {}, "readout_uid": 4000}
    return RunRecord.model_validate({**known, "chips": CHIPS, "configuration": {}, **values})


def block(readouts: Sequence[Readout]) -> ReadoutBlock:
    return ReadoutBlock.from_readouts(AstroPix4Readout(data, number, time) for number, time, data in readouts)


def decode(readouts: Sequence[Readout]) -> tuple[HitTable, Ledger]:
    decoder = StreamDecoder(CHIPS)
    hits = np.concatenate([decoder.decode(block(readouts)), decoder.flush()])
    return hits, decoder.ledger


def publish(readouts: Sequence[Readout], cuts: Sequence[int], **options: Any) -> Published:
    """A whole run, its readouts given in blocks cut at `cuts`."""
    stream = Sent()
    publisher = RunPublisher(stream, **{"max_hits": 1000, **options})
    publisher.handle(RunBegan(record()))
    bounds = [0, *sorted(set(cuts) & set(range(1, len(readouts)))), len(readouts)]
    for start, stop in itertools.pairwise(bounds):
        if stop > start:
            publisher.handle(ReadoutsRead(block(readouts[start:stop])))
    publisher.handle(RunEnded(record(state="finished")))
    return Published(stream.sent)


def check_ranges(published: Published, first: int, max_hits: int) -> None:
    """Ranges go on one after the other, hold the hits of their messages, and no readout is in two messages."""
    expected = first
    for message in published.of(Topic.HITS):
        hits = message.hits()
        begin, end = message.header.readouts or (-1, -1)
        assert message.header.n == len(hits) > 0
        if begin < expected:  # the end of the run settled one more hit, of a readout that was covered
            assert message is published.of(Topic.HITS)[-1]
            assert (begin, len(hits)) == (end, 1)
        else:
            assert begin == expected
        assert begin <= hits["readout_id"][0]
        assert hits["readout_id"][-1] <= end
        assert len(hits) <= max_hits or len(set(hits["readout_id"])) == 1
        expected = end + 1


@settings(deadline=None, max_examples=60)
@given(
    seed=st.integers(0, 1 << 32),
    number=st.integers(1, 60),
    hits_each=st.sampled_from([0.05, 0.5, 3.0, 20.0]),
    max_hits=st.sampled_from([1, 2, 7, 50, 8192]),
    blocks=st.integers(1, 12),
    first=st.sampled_from([0, 17]),
)
def test_the_same_hits_in_any_batches(
    seed: int, number: int, hits_each: float, max_hits: int, blocks: int, first: int
) -> None:
    readouts = number_readouts(make_readouts(number, seed, hits_each), first)
    cuts = [random.Random(seed).randrange(number) for _ in range(blocks)]
    hits, ledger = decode(readouts)
    published = publish(readouts, cuts, max_hits=max_hits)
    np.testing.assert_array_equal(published.hits, hits)
    check_ranges(published, first, max_hits)
    assert published.ledger == ledger.to_dict()
    assert ledger.balanced
    assert [message.topic for message in published.messages][:1] == [Topic.RUN]
    assert [message.topic for message in published.messages][-1:] == [Topic.RUN]
    assert {(message.header.run, message.header.pass_) for message in published.messages} == {(1, 0)}


def test_a_crowded_readout_does_not_take_the_others_into_its_message() -> None:
    crowd, one = HIT * 20, b"\xbc" + HIT
    readouts = number_readouts([crowd, *[one] * 9])
    published = publish(readouts, [], max_hits=4)
    assert [message.header.n for message in published.of(Topic.HITS)] == [20, 4, 4, 1]
    assert published.ranges == [(0, 0), (1, 4), (5, 8), (9, 9)]


def test_readouts_without_hits_are_covered_by_the_next_message() -> None:
    idle, one = b"\xbc", b"\xbc" + HIT
    published = publish(number_readouts([idle, idle, one, idle, idle, idle, one, one, idle]), [1, 4, 5, 7])
    assert published.ranges == [(0, 3), (4, 6), (7, 8)]


def test_the_hit_that_the_end_of_the_run_settles() -> None:
    readouts = number_readouts([HIT, b"\xbc" + HIT[:5], b"", b""])
    assert decode(readouts)[0]["readout_id"].tolist() == [0, 1]
    assert publish(readouts, [1]).ranges == [(0, 0), (1, 1)]
    assert publish(readouts, []).ranges == [(0, 3), (1, 1)]


def test_the_hit_that_the_end_settles_in_a_readout_that_was_covered() -> None:
    readouts = number_readouts([HIT, b"\xbc" + HIT + HIT[:5], b""])
    published = publish(readouts, [])
    assert published.ranges == [(0, 2), (1, 1)]
    assert published.hits["decoding_order"].tolist() == [0, 0, 1]


def test_a_run_without_readouts() -> None:
    published = publish([], [])
    assert [event.event for event in published.events] == ["begin", "end"]
    assert published.ledger == Ledger().to_dict()
    assert len(published.hits) == 0


def test_the_records_are_published_as_they_are_where_asked_for() -> None:
    readouts = number_readouts(make_readouts(30))
    published = publish(readouts, [3, 4, 20], raw=True)
    raw = published.of(Topic.RAW)
    assert b"".join(message.payload for message in raw) == b"".join(record_bytes(*readout) for readout in readouts)
    assert [message.header.readouts for message in raw] == [(0, 2), (3, 3), (4, 19), (20, 29)]
    assert [message.header.n for message in raw] == [3, 1, 16, 10]
    assert publish(readouts, []).of(Topic.RAW) == []


def test_one_run_after_the_other_begins_anew() -> None:
    stream = Sent()
    publisher = RunPublisher(stream, max_hits=100)
    readouts = number_readouts([HIT[:5]])
    for run in (1, 2):
        publisher.handle(RunBegan(record(run)))
        assert publisher.run == run
        publisher.handle(ReadoutsRead(block(readouts)))
        publisher.handle(RunEnded(record(run)))
        assert publisher.run is None
    published = Published(stream.sent)
    assert published.ranges == [(0, 0), (0, 0)]
    assert [message.header.run for message in published.messages] == [1, 1, 1, 2, 2, 2]
    assert published.ledger["hits"] == 1


def test_passes_of_a_replay_are_told() -> None:
    stream = Sent()
    publisher = RunPublisher(stream, max_hits=100)
    for number in (1, 2):
        publisher.handle(RunBegan(record(), pass_=number))
        publisher.handle(ReadoutsRead(block(number_readouts([HIT]))))
        publisher.handle(RunEnded(record()))
    assert [message.header.pass_ for message in stream.sent] == [1, 1, 1, 2, 2, 2]


def test_complaints_are_log_lines_of_their_run() -> None:
    stream = Sent()
    publisher = RunPublisher(stream, max_hits=100)
    publisher.handle(RunBegan(record()))
    publisher.handle(Complaint("a file is damaged"))
    publisher.handle(RunEnded(record()))
    publisher.log("info", "over")
    assert [(message.header.run, message.log()) for message in Published(stream.sent).of(Topic.LOG)] == [
        (1, Message.model_validate(stream.sent[1]).log()),
        (None, stream.sent[3].log()),
    ]
    assert [line.level for line in (stream.sent[1].log(), stream.sent[3].log())] == ["error", "info"]


@pytest.mark.parametrize("taken", [0, 1, 7, 29, 30])
def test_going_on_in_the_middle_of_a_run(taken: int) -> None:
    """As after a crash: another publisher with the decoder's state of the first sends the rest."""
    readouts = number_readouts(make_readouts(30, seed=4))
    hits, ledger = decode(readouts)
    before, after = Sent(), Sent()
    first = RunPublisher(before, max_hits=5)
    first.handle(RunBegan(record()))
    if taken:
        first.handle(ReadoutsRead(block(readouts[:taken])))
    second = RunPublisher(after, max_hits=5)
    second.resume(StreamDecoder.from_state(first.decoder.state()), first.next_readout)
    second.handle(RunBegan(record(), resumed=True))
    if taken < 30:
        second.handle(ReadoutsRead(block(readouts[taken:])))
    second.handle(RunEnded(record()))
    both = Published([*before.sent, *after.sent])
    np.testing.assert_array_equal(both.hits, hits)
    check_ranges(both, 0, 5)
    assert both.ledger == ledger.to_dict()
    assert [event.event for event in both.events] == ["begin", "begin", "end"]


def test_rate_of_the_last_two_seconds() -> None:
    clock = HandClock()
    publisher = RunPublisher(Sent(), max_hits=100, clock=clock)
    publisher.handle(RunBegan(record()))
    assert publisher.hits_hz == 0.0
    for number in range(10):
        publisher.handle(ReadoutsRead(block(number_readouts([HIT * 3], number))))
        clock.sleep(0.1)
    assert publisher.hits_hz == 15.0
    clock.sleep(1.05)
    assert publisher.hits_hz == 13.5
    clock.sleep(10.0)
    assert publisher.hits_hz == 0.0


def test_ids_that_jump_or_go_back_do_not_stop_it() -> None:
    """Files of other programs: the hits are sent whatever the ids are."""
    stream = Sent()
    publisher = RunPublisher(stream, max_hits=2)
    publisher.handle(RunBegan(record()))
    for number in (5, 900, 3, 3, 0, (1 << 32) - 1, 0):
        publisher.handle(ReadoutsRead(block([(number, 0, HIT)])))
    publisher.handle(RunEnded(record()))
    assert Published(stream.sent).hits["readout_id"].tolist() == [5, 900, 3, 3, 0, (1 << 32) - 1, 0]
