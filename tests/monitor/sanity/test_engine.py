"""Alarms come and go as docs/operations.md says: look by look, no clock but the one that is told."""

from collections.abc import Iterator

import pytest
from hypothesis import given
from hypothesis import strategies as st

from monitor.sanity.alarms.engine import MAX_SUBJECTS, OTHERS, AlarmEngine, AlarmTransition
from monitor.sanity.alarms.silence_list import Silenced, SilenceList
from monitor.sanity.check import Check, CheckResult
from protocol.wire.alarms import Alarm, AlarmLevel

OK, WARNING, CRITICAL = AlarmLevel
S = 1_000_000_000


def made_check(name: str, level: AlarmLevel, advice: str = "", **looks: int) -> Check:
    return Check(name, "", level, advice, None, **looks)


HOT = made_check("hot", WARNING, "mask it", in_a_row=3, good_in_a_row=2)


class Looking:
    """An engine that is looked at once a second: `bad` subjects with their levels."""

    def __init__(
        self,
        *checks: Check,
        silences: SilenceList | None = None,
        overrides: dict[str, AlarmLevel] | None = None,
    ) -> None:
        self.engine = AlarmEngine(checks or (HOT,), silences, overrides)
        self.now_ns = 0

    def look(self, *bad: str, level: AlarmLevel | None = None, check: str = "hot") -> list[AlarmTransition]:
        self.now_ns += S
        done = self.engine.pass_time(self.now_ns)
        results = [CheckResult(subject, f"{subject} is hot", 30.0, 4.0, level) for subject in bad]
        return done + self.engine.look(check, results, self.now_ns, 7)

    def kinds(self, *bad: str, level: AlarmLevel | None = None) -> list[str]:
        return [transition.kind for transition in self.look(*bad, level=level)]

    def raised(self, *bad: str) -> None:
        assert [self.kinds(*bad) for _ in range(3)] == [[], [], ["raised"] * len(bad)]

    @property
    def only(self) -> Alarm:
        (alarm,) = self.engine.alarms()
        return alarm


@pytest.fixture
def looking() -> Looking:
    return Looking()


def test_an_alarm_is_raised_after_as_many_bad_looks_in_a_row_and_says_everything(looking: Looking) -> None:
    assert looking.kinds("pixel 5/7") == []
    assert looking.kinds("pixel 5/7") == []
    assert looking.engine.alarms() == ()
    (raised,) = looking.look("pixel 5/7")
    assert raised == AlarmTransition(
        "raised",
        3 * S,
        Alarm(
            id="hot:pixel_5/7",
            check="hot",
            subject="pixel 5/7",
            level=WARNING,
            worst=WARNING,
            text="pixel 5/7 is hot",
            value=30.0,
            limit=4.0,
            since_ns=3 * S,
            last_ns=3 * S,
            advice="mask it",
            run=7,
        ),
    )
    assert looking.only == raised.alarm
    assert looking.kinds("pixel 5/7") == []
    assert (looking.only.since_ns, looking.only.last_ns, looking.only.count) == (3 * S, 4 * S, 2)


def test_a_good_look_between_begins_the_count_anew(looking: Looking) -> None:
    for bad in (["a"], ["a"], [], ["a"], ["a"], []):
        assert looking.kinds(*bad) == []
    assert looking.engine.alarms() == ()


def test_it_is_over_after_as_many_good_looks_and_latched_until_acknowledged(looking: Looking) -> None:
    looking.raised("a")
    assert looking.kinds() == []
    assert looking.kinds("a") == []  # one good look was not enough, and does not count any more
    assert looking.kinds() == []
    assert looking.kinds() == ["over"]
    over = looking.only
    assert (over.level, over.worst, over.latched, over.acknowledged) == (OK, WARNING, True, False)
    assert looking.kinds() == []
    (acknowledged,) = looking.engine.acknowledge(["hot:a"], 99)
    assert (acknowledged.kind, acknowledged.t, acknowledged.alarm.acknowledged) == ("acknowledged", 99, True)
    assert looking.engine.alarms() == ()


def test_who_is_acknowledged_while_it_lasts_goes_when_it_is_over(looking: Looking) -> None:
    looking.raised("a")
    looking.engine.acknowledge(["hot"], looking.now_ns)
    assert (looking.only.acknowledged, looking.only.level) == (True, WARNING)
    assert looking.engine.acknowledge(["hot"], looking.now_ns) == []
    looking.look("a")
    assert looking.only.acknowledged
    looking.look()
    (over,) = looking.look()
    assert (over.kind, over.alarm.level, over.alarm.latched) == ("over", OK, False)
    assert looking.engine.alarms() == ()
    looking.raised("a")
    assert not looking.only.acknowledged


def test_what_is_about_to_come_back_when_it_is_acknowledged_is_a_new_alarm(looking: Looking) -> None:
    looking.raised("a")
    looking.look()
    looking.look()
    looking.look("a")
    looking.look("a")
    looking.engine.acknowledge(["hot"], looking.now_ns)
    assert looking.engine.alarms() == ()
    assert looking.kinds("a") == ["raised"]


def test_it_gets_worse_only_when_it_was_so_bad_in_a_row_and_has_to_be_acknowledged_again(looking: Looking) -> None:
    looking.raised("a")
    looking.engine.acknowledge(["hot:a"], looking.now_ns)
    assert looking.kinds("a", level=CRITICAL) == []
    assert looking.kinds("a", level=CRITICAL) == []
    assert looking.only.level is WARNING
    assert looking.kinds("a", level=CRITICAL) == ["worse"]
    assert (looking.only.level, looking.only.worst, looking.only.acknowledged) == (CRITICAL, CRITICAL, False)
    assert looking.kinds("a") == []
    assert (looking.only.level, looking.only.worst) == (WARNING, CRITICAL)
    assert [looking.kinds("a", level=CRITICAL) for _ in range(3)] == [[], [], []]  # it was as bad before
    assert looking.only.level is CRITICAL


def test_what_comes_back_is_the_same_alarm_and_takes_longer_to_be_over(looking: Looking) -> None:
    looking.raised("a")
    needed = []
    for _ in range(3):
        needed.append(_looks_until_over(looking))
        assert [looking.kinds("a") for _ in range(3)] == [[], [], ["again"]]
    assert needed == [2, 4, 8]
    assert (looking.only.returns, looking.only.since_ns, looking.only.latched) == (3, 3 * S, False)
    looking.engine.acknowledge(["hot"], looking.now_ns)
    assert _looks_until_over(looking) == 16
    looking.raised("a")
    assert looking.only.returns == 0


def test_it_takes_never_longer_than_ten_minutes(looking: Looking) -> None:
    looking.engine.restore([_alarm(returns=60)])
    assert _looks_until_over(looking) == 600


def _looks_until_over(looking: Looking) -> int:
    for number in range(1, 1000):
        if looking.kinds() == ["over"]:
            return number
    raise AssertionError("never over")


def _alarm(**values: object) -> Alarm:
    return Alarm.model_validate(
        {
            "id": "hot:a",
            "check": "hot",
            "subject": "a",
            "level": "warning",
            "worst": "warning",
            "text": "x",
            "since_ns": 5,
            "last_ns": 6,
        }
        | values
    )


def test_a_look_that_says_nothing_changes_nothing(looking: Looking) -> None:
    looking.raised("a")
    looking.look()
    before = looking.engine.alarms()
    looking.engine.pass_time(10**18)  # an hour in which the check was not asked
    assert looking.engine.alarms() == before
    assert looking.kinds() == ["over"]


def test_subjects_come_and_go_on_their_own(looking: Looking) -> None:
    looking.raised("a", "b")
    looking.look("b")
    assert [(each.kind, each.alarm.subject) for each in looking.look("b")] == [("over", "a")]
    assert [(alarm.subject, alarm.level) for alarm in looking.engine.alarms()] == [("b", WARNING), ("a", OK)]


def test_of_the_same_subject_twice_the_worse_counts() -> None:
    looking = Looking(made_check("hot", WARNING, in_a_row=1))
    results = [CheckResult("a", "bad"), CheckResult("a", "very bad", level=CRITICAL), CheckResult("a", "bad")]
    (raised,) = looking.engine.look("hot", results, 1, None)
    assert (raised.alarm.level, raised.alarm.text) == (CRITICAL, "very bad")


def test_a_result_of_level_ok_is_none(looking: Looking) -> None:
    assert [looking.kinds("a", level=OK) for _ in range(4)] == [[]] * 4


def test_the_level_of_the_configuration_is_taken_whatever_the_check_says() -> None:
    looking = Looking(
        made_check("hot", WARNING, in_a_row=1),
        made_check("cold", WARNING),
        overrides={"hot": WARNING, "cold": CRITICAL},
    )
    (raised,) = looking.look("a", level=CRITICAL)
    assert raised.alarm.level is WARNING
    for _ in range(3):
        looking.look("a", check="cold")
    assert looking.engine.alarms()[0].level is CRITICAL
    assert looking.look("a", level=OK, check="hot") == []


def test_too_many_subjects_are_one_matter() -> None:
    looking = Looking(made_check("hot", WARNING, in_a_row=1, good_in_a_row=1))
    pixels = [f"pixel {number}" for number in range(MAX_SUBJECTS)]
    looking.look(*pixels)
    raised = looking.look(*pixels, *(f"more {number}" for number in range(900)))
    assert [(each.alarm.subject, each.alarm.text) for each in raised] == [
        (OTHERS, "900 more, one of them more 0: more 0 is hot")
    ]
    # Latched ones take room, too: what is new all the time does not fill the memory.
    for number in range(100):
        looking.look(f"new {number}")
    assert len(looking.engine.alarms()) == MAX_SUBJECTS + 1


def test_the_worst_subjects_have_alarms_of_their_own() -> None:
    looking = Looking(made_check("hot", WARNING, in_a_row=1))
    results = [CheckResult(f"pixel {number}", "x") for number in range(100)] + [CheckResult("a", "x", level=CRITICAL)]
    looking.engine.look("hot", results, 1, None)
    assert looking.engine.alarms()[0].subject == "a"


def test_the_list_begins_with_the_worst() -> None:
    looking = Looking(made_check("hot", WARNING, in_a_row=1, good_in_a_row=1), made_check("cold", CRITICAL, in_a_row=1))
    looking.look("over")
    looking.look("old", "seen")
    looking.look("old", "seen", "new")
    looking.look("x", check="cold")
    looking.engine.acknowledge(["hot:seen"], 1)
    assert [alarm.subject for alarm in looking.engine.alarms()] == ["x", "new", "old", "seen", "over"]


@pytest.mark.parametrize(
    ("patterns", "meant"),
    [
        (["hot:a"], {"a"}),
        (["hot"], {"a", "b[1]"}),
        (["ho*"], {"a", "b[1]"}),
        (["hot:b[1]"], {"b[1]"}),
        (["hot:?"], {"a"}),
        (["cold"], set()),
    ],
)
def test_who_is_meant(patterns: list[str], meant: set[str]) -> None:
    looking = Looking(made_check("hot", WARNING, in_a_row=1))
    looking.look("a", "b[1]")
    assert looking.engine.unknown(patterns) == ([] if meant else patterns)
    assert {each.alarm.subject for each in looking.engine.acknowledge(patterns, 1)} == meant


def test_silenced_alarms_are_there_and_nobody_is_called_until_it_ends() -> None:
    looking = Looking()
    assert looking.engine.silence(Silenced(pattern="hot:a", until_ns=6 * S), 0) == []
    looking.look("a", "b")
    looking.look("a", "b")
    assert {each.alarm.subject: each.calls for each in looking.look("a", "b")} == {"a": False, "b": True}
    assert {alarm.subject: alarm.silenced for alarm in looking.engine.alarms()} == {"a": True, "b": False}
    assert looking.kinds("a", "b") == []
    assert looking.kinds("a", "b") == []
    (ended,) = looking.look("a", "b")
    assert (ended.kind, ended.alarm.subject, ended.alarm.silenced, ended.calls) == ("unsilenced", "a", False, True)
    assert looking.engine.silences.added == ()


def test_a_silence_that_is_taken_back_calls_only_for_what_is_still_wrong_and_not_acknowledged() -> None:
    looking = Looking(made_check("hot", WARNING, in_a_row=1, good_in_a_row=1))
    looking.look("on", "seen", "over")
    looking.look("on", "seen")
    looking.engine.acknowledge(["hot:seen"], 1)
    assert {each.kind for each in looking.engine.silence(Silenced(pattern="hot*", until_ns=None), 1)} == {"silenced"}
    back = looking.engine.unsilence("hot*", 2)
    assert back is not None
    assert {each.alarm.subject: each.calls for each in back} == {"on": True, "seen": False, "over": False}
    assert looking.engine.unsilence("hot*", 2) is None


def test_silences_of_the_configuration_cannot_be_taken_back() -> None:
    looking = Looking(silences=SilenceList([Silenced(pattern="hot")]))
    assert looking.engine.unsilence("hot", 1) is None
    looking.look("a")
    looking.look("a")
    (raised,) = looking.look("a")
    assert raised.alarm.silenced


def test_a_restart_changes_nothing() -> None:
    before = Looking()
    before.raised("on", "seen", "over")
    before.look("on", "seen")
    before.look("on", "seen")
    before.engine.acknowledge(["hot:seen"], 1)
    before.engine.silence(Silenced(pattern="hot:on", until_ns=10**18), 1)
    after = Looking(silences=SilenceList(added=before.engine.silences.added))
    after.engine.restore(before.engine.alarms())
    assert after.engine.alarms() == before.engine.alarms()
    assert after.kinds("on", "seen") == []  # nobody is called again
    assert after.engine.acknowledge(["hot:over"], 1)[0].kind == "acknowledged"
    after.look()
    assert sorted(after.kinds()) == ["over", "over"]
    assert [alarm.subject for alarm in after.engine.alarms()] == ["on"]


def test_alarms_of_checks_that_are_gone_are_dropped_at_a_restart() -> None:
    looking = Looking()
    looking.engine.restore([_alarm(check="gone", id="gone:a"), _alarm()])
    assert [alarm.check for alarm in looking.engine.alarms()] == ["hot"]


def test_the_revision_grows_with_what_is_to_be_kept(looking: Looking) -> None:
    looking.look("a")
    assert looking.engine.revision == 0
    looking.look("a")
    looking.look("a")
    raised = looking.engine.revision
    assert raised > 0
    looking.look("a")
    assert looking.engine.revision == raised
    looking.engine.silence(Silenced(pattern="x", until_ns=9 * S), 1)
    silenced = looking.engine.revision
    assert silenced > raised
    looking.engine.pass_time(9 * S)
    assert looking.engine.revision > silenced


LOOKS = st.lists(st.sampled_from(["good", "bad", "worse", "acknowledge", "restart"]), max_size=60)


@given(LOOKS, st.integers(1, 4), st.integers(1, 4))
def test_whatever_comes_nothing_is_lost_and_nobody_is_called_twice(
    looks: list[str], in_a_row: int, good_in_a_row: int
) -> None:
    check = made_check("hot", WARNING, in_a_row=in_a_row, good_in_a_row=good_in_a_row)
    looking, story = Looking(check), list[str]()
    bad = 0
    for look in looks:
        if look == "restart":
            engine = AlarmEngine([check])
            engine.restore(looking.engine.alarms())
            looking.engine = engine
            bad = 0  # how many there were in a row is forgotten, alarms are not
            continue
        if look == "acknowledge":
            story += [each.kind for each in looking.engine.acknowledge(["hot"], 1)]
        else:
            level = CRITICAL if look == "worse" else None
            story += looking.kinds(*([] if look == "good" else ["a"]), level=level)
            bad = 0 if look == "good" else bad + 1
        alarms = looking.engine.alarms()
        assert bool(alarms) or bad < in_a_row
        assert all(alarm.latched == (alarm.level is OK) for alarm in alarms)
        assert not any(alarm.latched and alarm.acknowledged for alarm in alarms)
    assert list(_illegal(story)) == []


_BEFORE = {
    "raised": {"", "gone"},
    "worse": {"on", "seen", "over"},
    "again": {"over"},
    "over": {"on", "seen"},
    "acknowledged": {"on", "over"},
}


def _illegal(story: list[str]) -> Iterator[tuple[str, str]]:
    state = ""
    for kind in story:
        if state not in _BEFORE[kind]:
            yield state, kind
        if kind == "over":
            state = "gone" if state == "seen" else "over"
        elif kind == "acknowledged":
            state = "gone" if state == "over" else "seen"
        else:
            state = "on"
