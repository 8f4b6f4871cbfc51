"""The client against real sockets."""

import threading

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from monitor.client import StreamClient
from monitor.errors import EndpointError
from monitor.events import HitBatch, LogMessage, RunMessage, StatMessage
from protocol.hit import HIT_DTYPE
from protocol.ledger import Ledger
from protocol.wire.messages import Header, Message, Topic, encode_message
from tests.deadline import DEADLINE_S
from tests.monitor.conftest import Bind
from tests.monitor.publishing import MessageMaker, StreamReader, TestPublisher, make_hits, run_record


def take(client: StreamClient, number: int) -> list[object]:
    """The next `number` events, which must come."""
    events = []
    for event in client.events(DEADLINE_S):
        events.append(event)
        if len(events) == number:
            break
    assert len(events) == number
    return events


def test_everything_published_comes_out_typed_and_in_order(publisher: TestPublisher) -> None:
    messages = publisher.messages
    hits = make_hits([(0, 0), (0, 1), (2, 0)], row=[1, 2, 3], column=9)
    with StreamClient(publisher.endpoint) as client:
        publisher.wait_for_subscription()
        publisher.send(
            messages.run("begin", run_record(1)),
            messages.hits(hits, (0, 2)),
            messages.stat(ledger=Ledger(hits=3)),
            messages.log("warning", "board lost"),
        )
        begin, batch, stat, log = take(client, 4)
        counters = client.counters
    assert isinstance(begin, RunMessage)
    assert (begin.body.event, begin.body.record.run) == ("begin", 1)
    assert isinstance(batch, HitBatch)
    assert batch.hits.dtype == HIT_DTYPE
    np.testing.assert_array_equal(batch.hits, hits)
    assert (batch.run, batch.pass_, batch.readouts, batch.epoch) == (1, 0, (0, 2), begin.epoch)
    assert isinstance(stat, StatMessage)
    assert (stat.stat.state, stat.ledger) == ("running", Ledger(hits=3))
    assert isinstance(log, LogMessage)
    assert log.line.text == "board lost"
    assert (counters.hits, counters.readouts, counters.joined_at) == (3, 3, 0)
    assert dict(counters.messages) == {"run": 1, "hits": 1, "stat": 1, "log": 1}


def test_for_batch_in_client_gives_hits_only_until_interrupted(publisher: TestPublisher) -> None:
    messages = publisher.messages
    batches = []
    with StreamClient(publisher.endpoint) as client:
        publisher.wait_for_subscription()
        publisher.send(
            messages.stat(), messages.hits(make_hits([(0, 0)]), (0, 0)), messages.hits(make_hits([]), (1, 4))
        )
        for batch in client:
            batches.append(batch.readouts)
            if len(batches) == 2:
                client.interrupt()
    assert batches == [(0, 0), (1, 4)]


def test_interrupt_from_another_thread_ends_the_waiting() -> None:
    with StreamClient("tcp://127.0.0.1:1") as client:
        timer = threading.Timer(0.05, client.interrupt)
        timer.start()
        assert list(client) == []
        timer.join()


def test_messages_gather_and_interrupt_does_not_wait_for_them(publisher: TestPublisher) -> None:
    with StreamClient(publisher.endpoint, gather_s=0.05) as client:
        publisher.wait_for_subscription()
        publisher.send(*(publisher.messages.log("info", str(number)) for number in range(10)))
        assert len(take(client, 10)) == 10
    with StreamClient(publisher.endpoint, gather_s=3600.0) as client:
        publisher.wait_for_subscription()
        publisher.send(publisher.messages.stat())
        timer = threading.Timer(0.05, client.interrupt)
        timer.start()
        assert len(list(client.events())) <= 1  # one, if it was there before we began to wait
        timer.join()


def test_nothing_to_receive_ends_after_the_timeout() -> None:
    with StreamClient("tcp://127.0.0.1:1") as client:
        assert list(client.events(timeout_s=0.01)) == []
        assert client.receive(timeout_s=0) is None


def test_close_twice_and_interrupt_after_close_are_harmless() -> None:
    client = StreamClient("tcp://127.0.0.1:1")
    client.close()
    client.close()
    client.interrupt()
    assert list(client.events(1.0)) == []


@pytest.mark.parametrize("endpoint", ["", "somewhere", "tcp://", "tcp://127.0.0.1:notaport", "gopher://x:1"])
def test_an_address_that_is_none_is_refused_in_one_line(endpoint: str) -> None:
    with pytest.raises(EndpointError) as caught:
        StreamClient(endpoint)
    assert "\n" not in str(caught.value)
    assert "tcp://host:port" in str(caught.value)


def test_a_publisher_that_starts_later_is_found(bind: Bind) -> None:
    first = bind()
    endpoint = first.endpoint
    first.close()
    with StreamClient(endpoint) as client:
        assert client.receive(timeout_s=0.01) is None
        publisher = bind(endpoint)
        publisher.wait_for_subscription(reconnecting=lambda: client.receive(timeout_s=0.01))
        publisher.send(publisher.messages.hits(make_hits([(0, 0)]), (0, 0)))
        assert isinstance(client.receive(DEADLINE_S), HitBatch)


def test_a_publisher_that_died_and_publishes_a_stretch_again_gives_each_hit_once(bind: Bind) -> None:
    first = bind(pub=1)
    received: list[tuple[int, int]] = []
    with StreamClient(first.endpoint) as client:

        def collect(number: int) -> None:
            for event in take(client, number):
                if isinstance(event, HitBatch):
                    received.extend(event.hits[["readout_id", "decoding_order"]].tolist())

        first.wait_for_subscription()
        first.send(
            first.messages.run("begin", run_record(1)),
            first.messages.hits(make_hits([(0, 0), (4, 0)]), (0, 4)),
            first.messages.hits(make_hits([(5, 0), (5, 1)]), (5, 9)),
        )
        collect(3)
        first.close()
        second = bind(first.endpoint, pub=2)
        second.wait_for_subscription(reconnecting=lambda: client.receive(timeout_s=0.01))
        second.send(
            second.messages.run("begin", run_record(1)),
            second.messages.hits(make_hits([(4, 0), (5, 0), (5, 1)]), (3, 7)),
            second.messages.hits(make_hits([(12, 0)]), (8, 12)),
            second.messages.hits(make_hits([(12, 1)]), (12, 12)),
        )
        collect(4)
        counters = client.counters
    assert received == [(0, 0), (4, 0), (5, 0), (5, 1), (12, 0), (12, 1)]
    assert (counters.restarts, counters.duplicate_hits, counters.missed_readouts) == (1, 3, 0)
    assert (counters.hits, counters.readouts) == (6, 13)
    assert dict(counters.missed_messages) == {}


def test_lost_messages_are_counted(publisher: TestPublisher) -> None:
    messages = publisher.messages
    with StreamClient(publisher.endpoint) as client:
        publisher.wait_for_subscription()
        publisher.send(messages.hits(make_hits([]), (0, 9)))
        messages.hits(make_hits([]), (10, 14))
        messages.hits(make_hits([]), (15, 19))
        publisher.send(messages.hits(make_hits([]), (20, 29)))
        take(client, 2)
        counters = client.counters
    assert dict(counters.missed_messages) == {"hits": 2}
    assert dict(counters.gaps) == {"hits": 1}
    assert counters.missed_readouts == 10


def test_a_client_too_slow_learns_what_it_lost_with_the_next_message(bind: Bind) -> None:
    publisher = bind(high_water=10)
    messages = publisher.messages
    with StreamClient(publisher.endpoint, high_water=10) as client:
        publisher.wait_for_subscription()
        table = make_hits([(0, order) for order in range(500)])
        total = 3000  # 60 MB: more than the buffers of any connection
        for readout in range(total):
            table["readout_id"] = readout
            publisher.send(messages.hits(table, (readout, readout)))
        received = sum(isinstance(event, HitBatch) for event in client.events(0.5))
        publisher.send(messages.hits(make_hits([]), (total, total)))
        take(client, 1)
        counters = client.counters
    assert received < total
    assert counters.missed_readouts == counters.missed_messages["hits"] == total - received


NONSENSE: list[list[bytes]] = [
    [],
    [b"hits"],
    [b"hits", b"", b""],
    [b"hits", b"\xc1", b""],
    [b"weather", b"\x80", b"sunny"],
    [b"hits", b"\x80", b""],
    [b"stat", b"\x80" * 1000, b"x"],
]


def test_nonsense_is_counted_and_the_rest_still_comes(publisher: TestPublisher) -> None:
    good = publisher.messages
    with StreamClient(publisher.endpoint, topics=[Topic.HITS, Topic.STAT]) as client:
        publisher.wait_for_subscription("hits", "stat")
        publisher.send(good.stat())
        publisher.send(*(frames for frames in NONSENSE if frames and frames[0] in (b"hits", b"stat")))
        truncated = good.hits(make_hits([(0, 0)]), (0, 0))
        truncated[2] = truncated[2][:-1]
        publisher.send(truncated, good.hits(make_hits([(1, 0)]), (1, 1)))
        stat, batch = take(client, 2)
        assert isinstance(stat, StatMessage)
        assert isinstance(batch, HitBatch)
        assert client.counters.malformed == 6
        assert client.last_error


def test_a_stream_of_nonsense_only_still_ends_after_the_timeout(publisher: TestPublisher) -> None:
    with StreamClient(publisher.endpoint) as client:
        publisher.wait_for_subscription()
        publisher.send(*[[b"hits", b"x", b"y"]] * 5000)
        assert client.receive(timeout_s=0.02) is None


@pytest.mark.parametrize(
    ("readouts", "hits"),
    [
        ((0, 3), make_hits([(4, 0)])),
        ((3, 2), make_hits([])),
        ((-1, 2), make_hits([])),
        ((0, 1 << 33), make_hits([])),
    ],
)
def test_hits_that_contradict_their_header_are_malformed(readouts: tuple[int, int], hits: np.ndarray) -> None:
    reader = StreamReader()
    assert reader.read(MessageMaker().hits(hits, readouts)) is None
    assert reader.counters.malformed == 1


def test_more_columns_are_passed_on_and_missing_ones_refused() -> None:
    def message(dtype: np.dtype) -> list[bytes]:
        header = Header(
            daq="d", pub=1, seq=0, t=1, n=1, readouts=(0, 0), dtype=tuple((n, dtype[n].str) for n in dtype.names)
        )
        return encode_message(Message(topic=Topic.HITS, header=header, payload=np.zeros(1, dtype).tobytes()))

    description = [(name, HIT_DTYPE[name].str) for name in HIT_DTYPE.names or ()]
    wider = StreamReader().read(message(np.dtype([*description, ("layer", "u1")])))
    assert isinstance(wider, HitBatch)
    assert "layer" in (wider.hits.dtype.names or ())
    assert StreamReader().read(message(np.dtype(description[1:]))) is None
    python_objects = message(np.dtype([*description, ("x", "u8")]))
    python_objects[1] = python_objects[1].replace(b"\xa1x\xa3<u8", b"\xa1x\xa3|O8")
    assert b"|O8" in python_objects[1]
    assert StreamReader().read(python_objects) is None
    assert StreamReader().read(message(np.dtype([("chip_id", "f8"), *description[1:]]))) is None


@settings(suppress_health_check=[HealthCheck.too_slow], max_examples=200)
@given(st.lists(st.binary(max_size=40), max_size=4), st.sampled_from(list(Topic)), st.data())
def test_no_bytes_make_the_reader_raise(frames: list[bytes], topic: Topic, data: st.DataObject) -> None:
    reader = StreamReader()
    reader.read(frames)
    reader.read([topic.value.encode(), *frames])
    whole = MessageMaker().hits(make_hits([(0, 0)]), (0, 0))
    which = data.draw(st.integers(1, 2))
    place = data.draw(st.integers(0, len(whole[which]) - 1))
    whole[which] = whole[which][:place] + data.draw(st.binary(max_size=3)) + whole[which][place + 1 :]
    whole[0] = topic.value.encode()
    reader.read(whole)
