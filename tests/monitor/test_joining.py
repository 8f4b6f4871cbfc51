"""The past and the present as one: whatever is missed or comes late, each hit comes once, and in order."""

from collections.abc import Callable
from dataclasses import dataclass, field

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from monitor.events import Event, HitBatch, LogMessage, RunMessage, StatMessage
from monitor.receiving.joining import WAITING_BYTES, HistoryJoin
from monitor.receiving.reader import MessageReader, RunFollower, StreamCounters
from protocol.ledger import Ledger
from protocol.wire.catch_up import HitsArgs, HitsHeader, HitsReply, Refusal
from protocol.wire.packing import HIT_DESCRIPTION
from tests.monitor.publishing import MessageMaker, make_hits, run_record

HITS = [3, 1, 0, 2, 0, 0, 1, 4, 1, 0, 2, 1]
"""Hits in each readout of every run here."""

READOUTS = len(HITS)
ENDPOINT = "tcp://127.0.0.1:1"


def hits_of(first: int, last: int) -> np.ndarray:
    return make_hits([(readout, order) for readout in range(first, last + 1) for order in range(HITS[readout])])


def number(first: int, last: int) -> int:
    return sum(HITS[first : last + 1])


@dataclass
class World:
    """A daemon with its runs, and a client in the middle of it. `on_disk`: readouts of each run, `ended`: which."""

    runs: RunFollower = field(default_factory=RunFollower)
    catch_up: str | None = ENDPOINT
    waiting_bytes: int = WAITING_BYTES
    messages: MessageMaker = field(default_factory=MessageMaker)
    on_disk: dict[int, int] = field(default_factory=dict)
    ended: set[int] = field(default_factory=set)
    most: int = 3
    now: float = 0.0
    came: list[Event] = field(default_factory=list)
    asked: list[HitsArgs] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.reader = MessageReader()
        self.join = HistoryJoin(self.runs, self.catch_up, self.waiting_bytes)

    @property
    def counters(self) -> StreamCounters:
        return StreamCounters.of(self.reader, self.runs)

    def tell(self, frames: list[bytes]) -> None:
        """A message reaches the client."""
        received = self.reader.read(frames)
        assert received is not None, self.reader.last_error
        self.join.take(received, self.now)
        self.look()

    def begin(self, run: int) -> list[bytes]:
        self.on_disk.setdefault(run, 0)
        return self.messages.run("begin", run_record(run))

    def hits(self, run: int, first: int, last: int) -> list[bytes]:
        self.on_disk[run] = max(self.on_disk.get(run, 0), last + 1)
        return self.messages.hits(hits_of(first, last), (first, last), run=run)

    def end(self, run: int) -> list[bytes]:
        self.on_disk[run] = READOUTS
        self.ended.add(run)
        ledger = Ledger(hits=number(0, READOUTS - 1)).to_dict()
        return self.messages.run("end", run_record(run, state="finished", ledger=ledger))

    def stat(self, run: int, upto: int, state: str = "running", **body: object) -> list[bytes]:
        self.on_disk[run] = max(self.on_disk.get(run, 0), upto + 1)
        return self.messages.stat(state, run, Ledger(hits=number(0, upto)), **body)

    def look(self) -> None:
        self.came += self.join.events(self.now)

    def answer(self) -> bool:
        """The server's reply to what is asked for now, if anything is."""
        request = self.join.request(self.now)
        if request is None:
            return False
        request_id, args = request
        self.asked.append(args)
        self.join.take_reply(self.reply(request_id, args), self.now)
        self.look()
        return True

    def reply(self, request_id: str, args: HitsArgs) -> HitsReply | Refusal:
        if args.run not in self.on_disk:
            return Refusal(id=request_id, code="unknown_run", message="there is no such run")
        there = self.on_disk[args.run] - 1
        wanted = there if args.last is None else min(args.last, there)
        last = min(wanted, args.first + self.most - 1)
        covered = last >= args.first
        hits = hits_of(args.first, last) if covered else hits_of(0, -1)
        header = HitsHeader(
            daq="bench",
            run=args.run,
            begin_ns=run_record(args.run).begin_ns,
            readouts=(args.first, last) if covered else None,
            more=last < wanted,
            over=args.run in self.ended and last == there,
            n=len(hits),
            dtype=HIT_DESCRIPTION,
            record=run_record(args.run) if args.record else None,
        )
        return HitsReply.model_construct(id=request_id, header=header, hits=hits)

    def settle(self) -> None:
        """Until nothing more is asked for."""
        for _ in range(1000):
            if not self.answer():
                return
        pytest.fail("it asks without end")

    def got(self, run: int) -> list[tuple[int, int]]:
        """Readout and place of each hit of a run, in the order in which they came."""
        return [
            (int(hit["readout_id"]), int(hit["decoding_order"]))
            for event in self.came
            if isinstance(event, HitBatch) and event.run == run
            for hit in event.hits
        ]

    def check(self, run: int, last: int = READOUTS - 1) -> None:
        expected = [(readout, order) for readout in range(last + 1) for order in range(HITS[readout])]
        assert self.got(run) == expected
        assert self.counters.missed_readouts == 0


def test_joining_in_the_middle() -> None:
    world = World()
    world.tell(world.hits(1, 6, 7))
    assert not world.came
    world.tell(world.hits(1, 8, 9))
    world.settle()
    world.check(1, 9)
    assert [(args.first, args.last) for args in world.asked] == [(0, 5), (3, 5)]
    begin, *others = world.came
    assert isinstance(begin, RunMessage)
    assert begin.body.event == "begin"
    assert [event.past for event in others if isinstance(event, HitBatch)] == [True, True, False, False]
    counters = world.counters
    assert (counters.past_hits, counters.past_readouts, counters.joined_at) == (number(0, 5), 6, 0)
    assert counters.hits == number(0, 9)


def test_from_the_begin_nothing_is_asked_for() -> None:
    world = World()
    world.tell(world.begin(1))
    world.tell(world.hits(1, 0, 5))
    world.tell(world.stat(1, 5))
    world.tell(world.hits(1, 6, READOUTS - 1))
    world.tell(world.end(1))
    assert not world.asked
    world.check(1)


def test_missed_messages_come_in_their_place() -> None:
    world = World()
    world.tell(world.begin(1))
    world.tell(world.hits(1, 0, 2))
    world.hits(1, 3, 5)  # lost
    world.tell(world.hits(1, 6, 7))
    world.tell(world.messages.log("info", "not held up"))
    assert isinstance(world.came[-1], LogMessage)
    world.settle()
    world.check(1, 7)
    assert world.counters.missed_messages == {"hits": 1}


def test_the_last_messages_of_a_run_are_missed() -> None:
    world = World()
    world.tell(world.begin(1))
    world.tell(world.hits(1, 0, 7))
    world.hits(1, 8, READOUTS - 1)
    world.tell(world.end(1))
    assert not any(isinstance(event, RunMessage) and event.body.event == "end" for event in world.came)
    world.settle()
    world.check(1)
    assert isinstance(world.came[-1], RunMessage)


def test_the_end_is_missed_too() -> None:
    """The next run tells."""
    world = World()
    world.tell(world.begin(1))
    world.tell(world.hits(1, 0, 3))
    world.hits(1, 4, READOUTS - 1)
    world.end(1)
    world.tell(world.begin(2))
    world.tell(world.hits(2, 0, 4))
    world.settle()
    world.check(1)
    world.check(2, 4)
    runs = [event.run for event in world.came if isinstance(event, HitBatch)]
    assert runs == sorted(runs)


def test_a_new_run_while_the_past_of_the_old_one_is_fetched() -> None:
    world = World(most=1)
    world.tell(world.hits(1, 8, 9))
    world.answer()
    world.tell(world.hits(1, 10, READOUTS - 1))
    world.tell(world.end(1))
    world.tell(world.begin(2))
    world.tell(world.hits(2, 0, 4))
    assert not world.got(2)
    world.settle()
    world.check(1)
    world.check(2, 4)


def test_joining_in_silence() -> None:
    """No hits come any more; the state says that there were some."""
    world = World()
    world.tell(world.stat(1, 7))
    assert isinstance(world.came[0], StatMessage)
    world.settle()
    world.check(1, 7)
    asked = len(world.asked)
    world.tell(world.stat(1, 7))
    world.settle()
    assert len(world.asked) == asked


def test_joining_between_runs() -> None:
    world = World()
    world.tell(world.stat(1, READOUTS - 1, state="configured"))
    assert not world.answer()
    world.tell(world.begin(2))
    world.tell(world.hits(2, 0, READOUTS - 1))
    world.check(2)


def test_after_the_end_of_a_run_nothing_of_it_is_asked_for_again() -> None:
    world = World()
    world.tell(world.begin(1))
    world.tell(world.hits(1, 0, READOUTS - 1))
    world.tell(world.end(1))
    world.tell(world.stat(1, READOUTS - 1, state="configured"))
    world.tell(world.begin(2))
    assert not world.asked


def test_what_waits_is_bounded() -> None:
    """Hits that cannot be kept are let go, and come from the past as well."""
    world = World(waiting_bytes=100, most=2)
    world.tell(world.hits(1, 4, 4 + 1))
    for first in range(6, READOUTS, 2):
        world.tell(world.hits(1, first, first + 1))
        assert world.join._waiting_bytes <= 100
    world.tell(world.end(1))
    world.settle()
    world.check(1)


def test_a_restarted_publisher_sends_a_stretch_again() -> None:
    world = World()
    world.tell(world.begin(1))
    world.tell(world.hits(1, 0, 7))
    world.messages = MessageMaker(pub=2)
    world.tell(world.begin(1))
    world.tell(world.hits(1, 4, 9))
    assert not world.asked
    world.hits(1, 10, 10)
    world.messages = MessageMaker(pub=3)
    world.tell(world.hits(1, 11, 11))
    world.settle()
    world.check(1)
    assert world.counters.duplicate_hits == number(4, 7)


def test_nobody_answers() -> None:
    """After some seconds the stream goes on, with its gap, and does not wait for every other gap as long."""
    world = World()
    world.tell(world.hits(1, 6, 7))
    asked = 0
    while not world.came:
        asked += world.join.request(world.now) is not None
        wait_s = world.join.wait_s(world.now)
        world.look()
        if wait_s is None:
            break
        world.now += wait_s + 0.01
    assert 3 < asked < 10
    assert world.now < 15
    assert world.got(1) == [(6, 0), *[(7, order) for order in range(4)]]
    assert world.join.failures == 1
    assert "nobody answers at tcp://127.0.0.1:1" in world.join.last_failure
    world.hits(1, 8, 8)
    world.tell(world.hits(1, 9, 10))
    assert len(world.got(1)) == number(6, 7) + number(9, 10)
    assert world.counters.missed_readouts == 1
    world.now += 60  # now it may be back
    world.tell(world.hits(1, 11, 11))
    world.tell(world.end(1))
    world.settle()
    assert world.join.failures == 1


def test_nobody_could_be_asked() -> None:
    world = World()
    world.tell(world.hits(1, 6, 7))
    assert world.join.request(0.0) is not None
    world.join.not_sent(0.0)
    assert world.join.request(0.01) is None
    world.now = 0.1
    world.settle()
    world.check(1, 7)


@pytest.mark.parametrize("announced", ["", None])
def test_no_past_is_announced(announced: str | None) -> None:
    world = World(catch_up=None)
    world.tell(world.hits(1, 6, 7))
    assert not world.came
    assert world.join.wait_s(0.0) == 2.5
    if announced is None:
        world.now = 3.0
        world.look()
        assert "no state of the daemon tells" in world.join.last_failure
    else:
        world.tell(world.stat(1, 7, catch_up=""))
        assert world.join.failures == 0
    assert len(world.got(1)) == number(6, 7)


def test_the_state_tells_where_to_ask() -> None:
    world = World(catch_up=None)
    world.tell(world.hits(1, 6, 7))
    assert world.join.request(0.0) is None
    world.tell(world.stat(1, 7, catch_up=ENDPOINT))
    assert world.join.announced == ENDPOINT
    world.settle()
    world.check(1, 7)


def test_the_server_loses_requests() -> None:
    world = World(most=1)
    world.tell(world.hits(1, 6, 7))
    while (wait_s := world.join.wait_s(world.now)) is not None:
        world.now += wait_s + 0.001
        world.join.request(world.now)  # lost
        world.now += 2.0
        world.answer()
    world.check(1, 7)


def test_a_busy_server_is_asked_again() -> None:
    world = World()
    world.tell(world.hits(1, 6, 7))
    request = world.join.request(0.0)
    assert request is not None
    world.join.take_reply(Refusal(id=request[0], code="busy", message=""), 0.0)
    assert world.join.request(0.0) is None
    world.now = 0.5
    world.settle()
    world.check(1, 7)


@pytest.mark.parametrize(
    "change",
    [
        lambda reply: Refusal(id=reply.id, code="unknown_run", message="no"),
        lambda reply: reply.model_copy(update={"header": reply.header.model_copy(update={"daq": "other"})}),
        lambda reply: reply.model_copy(update={"header": reply.header.model_copy(update={"run": 7})}),
        lambda reply: reply.model_copy(update={"header": reply.header.model_copy(update={"readouts": (0, 0)})}),
    ],
)
def test_an_answer_that_is_of_no_use(change: Callable[[HitsReply], HitsReply | Refusal]) -> None:
    world = World()
    world.tell(world.hits(1, 6, 7))
    request = world.join.request(0.0)
    assert request is not None
    reply = world.reply(*request)
    assert isinstance(reply, HitsReply)
    world.join.take_reply(change(reply), 0.0)
    world.look()
    assert world.join.failures == 1
    assert world.got(1) == [(6, 0), *[(7, order) for order in range(4)]]
    world.hits(1, 8, 8)  # but others are asked for
    world.tell(world.hits(1, 9, 10))
    world.settle()
    assert len(world.got(1)) == number(6, 10)


def test_a_replay_is_asked_for_its_pass() -> None:
    """And only for that of the publisher that is there: another one begins with the same numbers."""
    world = World()
    before = world.messages.pub
    world.tell(world.messages.hits(hits_of(6, 7), (6, 7), run=1, pass_=2))
    request = world.join.request(0.0)
    assert request is not None
    asked = request[1]
    assert (asked.run, asked.first, asked.last, asked.pub, asked.pass_) == (1, 0, 5, before, 2)
    assert not world.came


def test_a_replay_that_is_gone_is_not_asked_for() -> None:
    world = World()
    world.tell(world.messages.run("begin", run_record(1), pass_=1))
    world.tell(world.messages.hits(hits_of(0, 3), (0, 3), run=1, pass_=1))
    assert len(world.came) == 2
    world.messages = MessageMaker(pub=world.messages.pub + 1)
    world.tell(world.messages.run("begin", run_record(1), pass_=1))
    world.tell(world.messages.hits(hits_of(0, 3), (0, 3), run=1, pass_=1))
    assert world.join.request(0.0) is None
    assert world.join.failures == 0
    assert len(world.came) == 4


def all_of(world: World, run: int, data: st.DataObject) -> list[list[bytes]]:
    """What is published of a run, by one publisher after the other."""
    sent = [world.begin(run)]
    first = 0
    while first < READOUTS:
        last = data.draw(st.integers(first, READOUTS - 1))
        if data.draw(st.integers(0, 9)) == 0:
            world.messages = MessageMaker(pub=world.messages.pub + 1)
            sent.append(world.begin(run))
            first = data.draw(st.integers(max(first - 3, 0), first))
        sent.append(world.hits(run, first, last))
        if data.draw(st.booleans()):
            sent.append(world.stat(run, last))
        first = last + 1
    return [*sent, world.end(run)]


def answer_all(world: World) -> None:
    """Until nothing is asked for any more, however long that takes."""
    while (wait_s := world.join.wait_s(world.now)) is not None:
        world.now += wait_s + 0.001
        world.answer()


@settings(max_examples=200, deadline=None)
@given(data=st.data())
def test_whatever_is_lost_everything_comes(data: st.DataObject) -> None:
    """Messages are lost, publishers die, the server is slow or forgets: all hits of all runs that were heard of."""
    limit = data.draw(st.sampled_from([50, 200, 1 << 20]))
    world = World(waiting_bytes=limit, most=data.draw(st.integers(1, 5)))
    runs = data.draw(st.integers(1, 3))
    for run in range(1, runs + 1):
        for frames in all_of(world, run, data):
            if data.draw(st.booleans(), label="arrives"):
                world.tell(frames)
            for _ in range(data.draw(st.integers(0, 2))):
                world.answer()
            if data.draw(st.integers(0, 9)) == 0:
                world.join.request(world.now)  # lost
                world.now += 2.0
                world.answer()
    world.tell(world.begin(runs + 1))
    answer_all(world)
    for run in {event.run for event in world.came if isinstance(event, HitBatch)} - {None}:
        assert run is not None
        assert world.got(run) == sorted(set(world.got(run)))
        assert len(world.got(run)) == number(0, READOUTS - 1)
    assert world.join.failures == 0
    assert world.counters.missed_readouts == 0
