"""The stream's socket: numbered messages, counted subscribers and drops, nobody waits for one who does not read."""

import itertools
import resource
import select
import socket
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest
import zmq

from daqd.publishing.send_budget import SendBudget
from daqd.publishing.stream import Stream, StreamError
from protocol.wire.messages import LogLine, Topic, encode_body
from tests.daqd.listener import Collector, Listener
from tests.daqd.waiting import DEADLINE_S, wait_until

pytestmark = pytest.mark.slow

BODY = encode_body(LogLine(level="info", text="hello"))
TIMES_NS = itertools.count(1000)


@pytest.fixture
def stream() -> Iterator[Stream]:
    with Stream("tcp://127.0.0.1:*", "bench", 1000, clock_ns=lambda: next(TIMES_NS)) as stream:
        yield stream


def wait_for(stream: Stream, subscribers: int) -> None:
    """Until exactly so many are counted."""

    def counted() -> bool:
        stream.take_subscriptions()
        return stream.subscribers == subscribers

    wait_until(f"{subscribers} subscribers", counted)


def test_the_descriptor_tells_that_somebody_came(stream: Stream) -> None:
    stream.take_subscriptions()
    assert not select.select([stream.descriptor], [], [], 0)[0]
    with Listener(stream.endpoint):
        assert select.select([stream.descriptor], [], [], DEADLINE_S)[0]
        wait_for(stream, 1)


def test_who_comes_while_a_message_is_sent_is_counted(stream: Stream) -> None:
    with Listener(stream.endpoint):
        wait_until("the socket has heard of it", lambda: bool(select.select([stream.descriptor], [], [], 0)[0]))
        stream.send(Topic.LOG, BODY)
        wait_for(stream, 1)


def test_messages_are_numbered_by_topic_and_stamped(stream: Stream) -> None:
    with Listener(stream.endpoint) as listener:
        wait_for(stream, 1)
        for topic in (Topic.LOG, Topic.STAT, Topic.LOG, Topic.LOG):
            stream.send(topic, BODY, run=7, pass_=2)
        messages = [listener.next() for _ in range(4)]
    assert [(message.topic, message.header.seq) for message in messages] == [
        ("log", 0),
        ("stat", 0),
        ("log", 1),
        ("log", 2),
    ]
    assert {(message.header.daq, message.header.run, message.header.pass_) for message in messages} == {("bench", 7, 2)}
    times = [message.header.t for message in messages]
    assert times == sorted(set(times))
    assert {message.header.pub for message in messages} == {min(times[0], messages[0].header.pub)}
    assert messages[0].payload == BODY
    assert stream.messages == 4
    assert stream.dropped == 0


def test_numbers_go_on_also_where_nobody_listens(stream: Stream) -> None:
    for _ in range(5):
        stream.send(Topic.LOG, BODY)
    assert (stream.messages, stream.dropped) == (5, 0)
    with Listener(stream.endpoint) as listener:
        wait_for(stream, 1)
        stream.send(Topic.LOG, BODY)
        assert listener.next().header.seq == 5


def test_each_subscriber_gets_its_topics(stream: Stream) -> None:
    with Listener(stream.endpoint, ["hits", "log"]) as one, Listener(stream.endpoint, ["hits", "run"]) as other:
        wait_for(stream, 2)
        for topic in (Topic.LOG, Topic.RUN, Topic.STAT):
            stream.send(topic, BODY)
        assert one.next().topic == "log"
        assert other.next().topic == "run"


def test_who_gets_hits_is_counted(stream: Stream) -> None:
    assert stream.subscribers == 0
    with Listener(stream.endpoint, ["hits"]):
        wait_for(stream, 1)
        with Listener(stream.endpoint, ["hit"]), Listener(stream.endpoint, [""]):
            wait_for(stream, 3)
            with Listener(stream.endpoint, ["log"]) as bystander:
                stream.wait_for_subscribers(4, 0.0)
                assert stream.subscribers == 3
                bystander.socket.subscribe("hits")
                wait_for(stream, 4)
                bystander.socket.unsubscribe("hits")
                wait_for(stream, 3)
        wait_for(stream, 1)
    wait_for(stream, 0)


def test_who_asks_again_counts_once(stream: Stream) -> None:
    with Listener(stream.endpoint, ["hits", "hits", "log"]) as one, Listener(stream.endpoint, ["hits"]) as marker:
        wait_for(stream, 2)
        one.socket.subscribe("hits")
        marker.socket.subscribe("hi")
        wait_for(stream, 3)
        for _ in range(3):
            one.socket.unsubscribe("hits")
        wait_for(stream, 2)
    wait_for(stream, 0)
    for _ in range(3):  # descriptors are given again
        with Listener(stream.endpoint, ["hits", "hits"]), Listener(stream.endpoint, ["hits"]):
            wait_for(stream, 2)
            with Listener(stream.endpoint, ["hits"]):
                wait_for(stream, 3)
            wait_for(stream, 2)
        wait_for(stream, 0)


def test_waiting_for_subscribers(stream: Stream) -> None:
    assert stream.wait_for_subscribers(0, 0.0)
    assert not stream.wait_for_subscribers(1, 0.01)
    with Listener(stream.endpoint):
        assert stream.wait_for_subscribers(1, None)
        assert not stream.wait_for_subscribers(2, 0.01)


def test_garbage_from_subscribers_changes_nothing(stream: Stream) -> None:
    with zmq.Context() as context, context.socket(zmq.XSUB) as garbage, Listener(stream.endpoint) as listener:
        garbage.set(zmq.LINGER, 0)
        garbage.connect(stream.endpoint)
        wait_for(stream, 1)
        for frames in (
            [b""], [b"\x02"], [b"hello"], [b"\x01"[:0], b"x"], [b"\x07", b"\x01hits"], [bytes(60_000)],
            [b"\x00hits"], [b"\x00"], [b"\x01" + bytes(1000)], [b"\x01hitsss"], [b"\x01log"],
        ):  # fmt: skip
            garbage.send_multipart(frames)
        garbage.send(b"\x01hits")
        wait_for(stream, 2)
        garbage.send(b"\x00hits")
        wait_for(stream, 1)
        stream.send(Topic.HITS, BODY)
        assert listener.next().payload == BODY
    wait_for(stream, 0)


def test_who_says_too_much_is_cut_off(stream: Stream) -> None:
    with zmq.Context() as context, context.socket(zmq.XSUB) as garbage, Listener(stream.endpoint) as listener:
        garbage.set(zmq.LINGER, 0)
        garbage.set(zmq.RECONNECT_IVL, 600_000)
        garbage.connect(stream.endpoint)
        garbage.send(b"\x01hits")
        wait_for(stream, 2)
        garbage.send(b"x" * (1 << 20))
        wait_for(stream, 1)
        stream.send(Topic.HITS, BODY)
        assert listener.next().payload == BODY


def test_bytes_that_are_no_zeromq(stream: Stream) -> None:
    """Some bytes look like a ZeroMQ so old that it takes everything: it is a subscriber until it goes away."""
    host, port = stream.endpoint.removeprefix("tcp://").split(":")
    with Listener(stream.endpoint) as listener:
        wait_for(stream, 1)
        with socket.create_connection((host, int(port))) as garbage, socket.create_connection((host, int(port))):
            garbage.sendall(b"GET / HTTP/1.0\r\n\r\n" + bytes(range(256)) * 10)
            stream.send(Topic.LOG, BODY)
            assert listener.next().payload == BODY
        wait_for(stream, 1)
        stream.send(Topic.LOG, BODY)
        assert listener.next().header.seq == 1


def test_who_does_not_read_misses_messages_and_nobody_else_does() -> None:
    """Bounded: what waits for the one who does not read is a few messages, however many are sent."""
    payload, number = bytes(200_000), 1500
    with (
        Stream("tcp://127.0.0.1:*", "bench", 20) as stream,
        Listener(stream.endpoint, high_water=1) as stalled,
        Collector(stream.endpoint, keep_payloads=False) as good,
    ):
        wait_for(stream, 2)
        before = _resident_bytes()
        for sent in range(number):
            stream.send(Topic.RAW, payload, n=1, readouts=(sent, sent))
            # The good one is never more than the stream's high water behind.
            wait_until("it is read", lambda sent=sent: good.received > sent - 4)
        good.wait_for(lambda messages: len(messages) == number)
        grown = _resident_bytes() - before
        assert [message.header.seq for message in good.messages] == list(range(number))
        assert 0 < stream.dropped < number
        assert grown < 60 << 20, f"{grown} bytes more for 20 messages of 200 000 bytes each"
        # What the other got is a beginning of the stream, then, as it reads, the newest; its numbers tell the gap.
        first = stalled.next().header.seq
        assert first == 0
        rest = [message.header.seq for message in stalled.rest()]
        assert rest == sorted(rest)
        assert len(rest) < number
        assert stream.messages == number


def _resident_bytes() -> int:
    pages = int(Path("/proc/self/statm").read_text().split()[1])
    return pages * resource.getpagesize()


def test_patience_waits_for_who_reads_slowly() -> None:
    payload, number = bytes(100_000), 200
    with (
        Stream("tcp://127.0.0.1:*", "bench", 2, SendBudget(DEADLINE_S)) as stream,
        Listener(stream.endpoint, high_water=1) as slow,
    ):
        wait_for(stream, 1)
        seen: list[int] = []

        def read() -> None:
            while len(seen) < number:
                seen.append(slow.next().header.seq)

        thread = threading.Thread(target=read)
        thread.start()
        for _ in range(number):
            stream.send(Topic.RAW, payload)
        thread.join(DEADLINE_S)
        assert seen == list(range(number))
        assert stream.dropped == 0


class NotedBudget(SendBudget):
    """Remembers how long each message waited, of those that did not go at once."""

    def __init__(self, longest_s: float) -> None:
        super().__init__(longest_s)
        self.waits_s: list[float] = []

    def use(self, waited_s: float) -> None:
        self.waits_s.append(waited_s)
        super().use(waited_s)


def test_patience_has_an_end_and_nobody_waits_from_then_on(monkeypatch: pytest.MonkeyPatch) -> None:
    """Who takes nothing is waited for once; after that the others are not to wait for it."""
    payload = bytes(1_000_000)
    patience = NotedBudget(1.0)
    with (
        Stream("tcp://127.0.0.1:*", "bench", 1, patience) as stream,
        Listener(stream.endpoint, high_water=1),
    ):
        assert stream.wait_for_subscribers(1, DEADLINE_S)
        ticks = itertools.count()
        went_at_once = 0
        with monkeypatch.context() as patch:
            patch.setattr("daqd.publishing.stream.time.monotonic", lambda: next(ticks) / 1024)
            patch.setattr("daqd.publishing.stream.time.sleep", lambda _: None)
            # Until all buffers on the way are full, which take some messages more for a while.
            while not stream.dropped or went_at_once < 100:
                before = len(patience.waits_s)
                stream.send(Topic.RAW, payload)
                went_at_once = went_at_once + 1 if len(patience.waits_s) == before else 0
                assert stream.messages < 10_000
        # One that goes at the last try has waited a second by this clock, one that was given up for a tick more.
        assert stream.dropped == sum(wait_s > 1.0 for wait_s in patience.waits_s)
        assert max(patience.waits_s) == 1.0 + 1 / 1024


def test_who_reads_gets_everything_beside_one_who_does_not() -> None:
    """Small messages as fast as can be: the good ones are full now and then, and are waited for; the stalled one once.

    ZeroMQ says only that somebody is full. It never says it again of the one that has missed a message and does not
    read: so it is a good one that is full then.
    """
    number, high_water = 30_000, 100
    with (
        Stream("tcp://127.0.0.1:*", "bench", high_water, SendBudget(DEADLINE_S)) as stream,
        Listener(stream.endpoint, high_water=1),
        Collector(stream.endpoint) as one,
        Collector(stream.endpoint) as other,
    ):
        wait_for(stream, 3)
        stream.send_budget = SendBudget(1.0)
        while not stream.dropped:
            stream.send(Topic.LOG, bytes(2000))
        before = stream.messages
        stream.send_budget = SendBudget(DEADLINE_S)  # the stalled one would be waited for so long, if it were
        for _ in range(number):
            stream.send(Topic.LOG, BODY)
        for good in (one, other):
            messages = good.wait_for(lambda messages: len(messages) >= before + number)
            assert [message.header.seq for message in messages] == list(range(before + number))
        assert stream.dropped == 1


def test_an_address_that_is_taken(stream: Stream) -> None:
    with pytest.raises(
        StreamError, match=r"^cannot publish at tcp://127.0.0.1:\d+: Address already in use by .*process"
    ):
        Stream(stream.endpoint, "bench", 1000)


def test_an_address_that_is_none() -> None:
    with pytest.raises(StreamError, match=r"^cannot publish at nonsense: "):
        Stream("nonsense", "bench", 1000)


def test_closing_lets_go_of_what_is_sent_and_may_come_twice(tmp_path: Path) -> None:
    stream = Stream(f"ipc://{tmp_path}/s", "bench", 1000)
    with Listener(stream.endpoint) as listener:
        assert stream.wait_for_subscribers(1, DEADLINE_S)
        for _ in range(100):
            stream.send(Topic.LOG, BODY)
        stream.close(linger_s=DEADLINE_S)
        stream.close()
        assert [listener.next().header.seq for _ in range(100)] == list(range(100))


def test_a_restarted_stream_is_another_publisher_at_the_same_address() -> None:
    with Stream("tcp://127.0.0.1:*", "bench", 1000) as first, Collector(first.endpoint) as collector:
        assert first.wait_for_subscribers(1, DEADLINE_S)
        first.send(Topic.LOG, BODY)
        collector.wait_for(lambda messages: len(messages) == 1)
        first.close()
        with Stream(first.endpoint, "bench", 1000) as second:
            assert second.wait_for_subscribers(1, DEADLINE_S)
            second.send(Topic.LOG, BODY)
            before, after = collector.wait_for(lambda messages: len(messages) == 2)
    assert (before.header.seq, after.header.seq) == (0, 0)
    assert before.header.pub < after.header.pub
