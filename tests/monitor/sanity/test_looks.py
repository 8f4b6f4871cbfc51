"""What there is to see once a second, and asking the checks of a table."""

import re
from collections.abc import Mapping
from typing import Any

import numpy as np
import pytest

from monitor.sanity.check import Check, CheckInput, CheckResult, Limit, Limits
from monitor.sanity.check_runner import HITS_KEPT, CheckOutcome, CheckRunner
from monitor.sanity.snapshots import MAX_HITS, Snapshots
from protocol.ledger import Ledger
from protocol.run_record import Gap
from protocol.wire.alarms import AlarmLevel
from tests.monitor.publishing import T0_NS, MessageMaker, StreamReader, make_hits, run_record

S = 1_000_000_000


class Stream:
    """A stream of made messages, and looks at it."""

    def __init__(self) -> None:
        self.made = MessageMaker()
        self.reader = StreamReader()
        self.now = 100.0
        self.looks = Snapshots(clock=lambda: self.now)
        self.readouts = 0

    def feed(self, *messages: list[bytes]) -> None:
        for frames in messages:
            event = self.reader.read(frames)
            assert event is not None
            self.looks.feed(event)

    def hits(self, number: int, run: int = 1, pass_: int = 0, after_s: float = 0.0, **columns: Any) -> None:
        hits = make_hits([(self.readouts, order) for order in range(number)], **columns)
        hits["timestamp"] = T0_NS + int(after_s * S)
        self.feed(self.made.hits(hits, (self.readouts, self.readouts), run=run, pass_=pass_))
        self.readouts += 1

    def look(self) -> CheckInput:
        return self.looks.take(T0_NS, self.reader.counters)


@pytest.fixture
def stream() -> Stream:
    return Stream()


def test_before_anything_came(stream: Stream) -> None:
    seen = stream.look()
    assert (seen.run, seen.pass_, seen.stat, seen.ledger, seen.record, seen.before) == (None, 0, None, None, None, None)
    assert (seen.stat_age_s, seen.hits_age_s, seen.live_s, seen.new_live_s) == (None, None, 0.0, 0.0)
    assert (seen.counts.hits, seen.recent.hits, len(seen.hits), seen.new.hits) == (0, 0, 0, 0)


def test_all_there_is_to_see(stream: Stream) -> None:
    ledger = Ledger(bytes_read=8, hit=8, hits=1)
    stream.feed(stream.made.run("begin", run_record(1, chips=2)))
    stream.hits(3, after_s=2.0, chip_id=1, row=[1, 2, 2], column=9)
    stream.now = 107.0
    stream.feed(stream.made.stat(ledger=ledger, chips=2))
    stream.now = 109.5
    seen = stream.look()
    assert (seen.daq, seen.run, seen.pass_, seen.ended, seen.now_ns) == ("bench", 1, 0, False, T0_NS)
    assert (seen.stat_age_s, seen.hits_age_s) == (2.5, 9.5)
    assert seen.live_s == 2.0
    assert seen.record is not None
    assert seen.stat is not None
    assert seen.ledger == ledger
    assert [str(place) for place in seen.chips] == ["chip 0", "chip 1"]
    assert seen.counts.hit_map[1, :3, 9].tolist() == [0, 1, 2]
    assert seen.recent.chip_hits[1] == seen.counts.chip_hits[1] == 3
    assert seen.hits["row"].tolist() == [1, 2, 2]
    assert seen.counters.hits == 3
    stream.feed(stream.made.run("end", run_record(1, state="finished", end_ns=T0_NS + 5 * S)))
    assert stream.look().ended


def test_counts_stay_as_they_were_and_hits_come_once(stream: Stream) -> None:
    stream.hits(2, after_s=1)
    first = stream.look()
    stream.hits(3, after_s=2, row=5)
    second = stream.look()
    assert (first.counts.hits, second.counts.hits) == (2, 5)
    assert second.counts.since(first.counts).hits == 3
    assert second.counts.since(first.counts).hit_map[0, 5, 0] == 3
    assert second.counts.since(None) is second.counts
    assert len(second.hits) == 3
    assert len(stream.look().hits) == 0


def test_another_run_begins_anew(stream: Stream) -> None:
    stream.feed(stream.made.stat(ledger=Ledger(), run=1))
    stream.hits(2, after_s=3)
    first = stream.look()
    stream.hits(1, run=2, after_s=10)
    seen = stream.look()
    assert (seen.run, seen.counts.hits, len(seen.hits), seen.ledger) == (2, 1, 1, None)
    assert seen.epoch != first.epoch


def test_gaps_are_no_time_of_the_run(stream: Stream) -> None:
    stream.feed(stream.made.run("begin", run_record(1)))
    stream.hits(1, after_s=2)
    gap = Gap(from_ns=T0_NS + 3 * S, to_ns=T0_NS + 7 * S, reason="cable")
    stream.feed(stream.made.run("gap", run_record(1, gaps=(gap,))))
    stream.hits(1, after_s=10)
    assert stream.look().live_s == 6.0


def test_only_so_many_hits_are_kept(stream: Stream) -> None:
    for number in range(4):
        stream.hits(MAX_HITS // 2 - 1, row=number)
    hits = stream.look().hits
    assert len(hits) == MAX_HITS
    assert set(np.unique(hits["row"])) == {1, 2, 3}
    assert hits["row"][-1] == 3


# ---- the table


def check(name: str = "any", **values: Any) -> Check:
    function = values.pop("function", lambda seen, limits: [CheckResult(name, "wrong")])
    return Check(name, "what", AlarmLevel.WARNING, "advice", function, **values)


def asked(said: list[CheckOutcome]) -> list[str]:
    return [each.check.name for each in said]


def test_a_check_is_asked_when_there_is_enough_that_is_new_to_it(stream: Stream) -> None:
    seen_hits: list[int] = []

    def function(seen: CheckInput, limits: Mapping[str, float]) -> None:
        seen_hits.append(seen.new.hits)

    table = CheckRunner(
        [check("hits", minimum_hits=4, function=function), check("time", minimum_live_s=3), check("all")]
    )
    rounds = []
    for second in range(7):
        stream.hits(2, after_s=second)
        rounds.append(asked(list(table.look(stream.look()))))
    assert ["hits" in names for names in rounds] == [False, True, False, True, False, True, False]
    assert ["time" in names for names in rounds] == [False, False, False, True, False, False, True]
    assert all("all" in names for names in rounds)
    assert seen_hits == [4, 4, 4]


def test_another_run_is_begun_with_nothing_before(stream: Stream) -> None:
    before: list[CheckInput | None] = []

    def function(seen: CheckInput, limits: Mapping[str, float]) -> list[CheckResult]:
        before.append(seen.before)
        return []

    table = CheckRunner([check(function=function)])
    for run in (1, 1, 2):
        stream.hits(500, run=run)
        list(table.look(stream.look()))
    assert [each is None for each in before] == [True, False, True]
    assert before[1] is not None
    assert before[1].before is None
    assert len(before[1].hits) == HITS_KEPT


def test_limits_are_the_tables_or_the_configured(stream: Stream) -> None:
    got: list[Mapping[str, float]] = []

    def function(seen: CheckInput, limits: Mapping[str, float]) -> None:
        got.append(limits)

    limits = (Limit("least", 1.0, "x"), Limit("most", 2.0, "x"))
    for configured in (None, Limits(configured={"any": {"most": 7.0}})):
        list(CheckRunner([check(limits=limits, function=function)], configured).look(stream.look()))
    assert got == [{"least": 1.0, "most": 2.0}, {"least": 1.0, "most": 7.0}]


def test_replays_are_not_for_all(stream: Stream) -> None:
    table = CheckRunner([check("live", live_only=True), check("both")])
    stream.hits(1, pass_=1)
    assert asked(list(table.look(stream.look()))) == ["both"]


def _raises(seen: CheckInput, limits: Mapping[str, float]) -> list[CheckResult]:
    return [CheckResult("", str(limits["missing"]))]


@pytest.mark.parametrize(
    ("function", "said"),
    [
        (_raises, r"KeyError: 'missing' \(test_looks\.py:\d+\)"),
        (lambda seen, limits: 3, r"TypeError: 'int' object is not iterable \(check_runner\.py:\d+\)"),
        (lambda seen, limits: ["x"], r"TypeError: a check returns a list of CheckResult, this one has str in it .*"),
        (lambda seen, limits: [CheckResult("", "x", level="bad")], r"ValueError: 'bad' is not a valid AlarmLevel .*"),
        (lambda seen, limits: [CheckResult(3, "x")], r"TypeError: subject and text of a CheckResult are texts .*"),
        (lambda seen, limits: [CheckResult("", "x", "many")], r"TypeError: .*"),
    ],
)
def test_a_check_that_fails_says_so_and_stops_no_other(stream: Stream, function: Any, said: str) -> None:
    first, second = CheckRunner([check("bad", function=function), check("good")]).look(stream.look())
    assert first.results is None
    assert re.fullmatch(said, first.failure), first.failure
    assert second.results == [CheckResult("good", "wrong")]


def test_numbers_that_are_none_are_left_out(stream: Stream) -> None:
    results = [CheckResult("", "x", float("nan"), np.float32(4), AlarmLevel.CRITICAL)]
    (said,) = CheckRunner([check(function=lambda seen, limits: results)]).look(stream.look())
    assert said.results == [CheckResult("", "x", None, 4.0, AlarmLevel.CRITICAL)]
    assert said.results is not None
    assert type(said.results[0].limit) is float
