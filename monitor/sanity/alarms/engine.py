"""From what checks say, look by look, to alarms: raised, worse, over, acknowledged. No clock and no I/O of its own."""

from collections import deque
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Literal

from monitor.sanity.alarms.silence_list import Silenced, SilenceList, matches
from monitor.sanity.check import Check, CheckResult
from protocol.text import printable
from protocol.wire.alarms import Alarm, AlarmLevel, alarm_id

MAX_SUBJECTS = 50
"""Of one check: a thousand noisy pixels are one matter. What is beyond becomes one alarm, with the subject `others`."""

OTHERS = "others"

MAX_GOOD_LOOKS = 600
_MAX_LETTERS = 500

TransitionKind = Literal["raised", "worse", "again", "over", "acknowledged", "silenced", "unsilenced"]


@dataclass(frozen=True, slots=True)
class AlarmTransition:
    """What became of an alarm: `alarm` is as it is now. `t`: when, ns since the epoch."""

    kind: TransitionKind
    t: int
    alarm: Alarm

    @property
    def calls(self) -> bool:
        """Whether somebody is called: it is not silenced, or no longer so though it is still wrong."""
        if self.kind in ("acknowledged", "silenced"):
            return False
        if self.kind == "unsilenced":
            return self.alarm.level is not AlarmLevel.OK and not self.alarm.acknowledged
        return not self.alarm.silenced


@dataclass(slots=True)
class _Subject:
    """One subject of a check. `levels`: of the looks at which it was wrong, in a row, the last `in_a_row` of them."""

    levels: deque[AlarmLevel]
    good: int = 0
    alarm: Alarm | None = None


@dataclass(slots=True)
class _Watched:
    check: Check
    override: AlarmLevel | None
    subjects: dict[str, _Subject] = field(default_factory=dict)


class AlarmEngine:
    """All alarms.

    An alarm is raised when a subject was wrong at `in_a_row` looks of its check in a row, as bad as the least bad of
    these; in the same way it gets worse, and comes back. It is over after `good_in_a_row` good looks; each time that it
    comes back before somebody has acknowledged it, it takes twice as many, up to 600 (if not more are asked for): what
    comes and goes is one alarm, not a hundred. What is over stays, latched, until it is acknowledged; what is
    acknowledged goes when it is over.

    `checks`: what else is looked at is an error of the program; `overrides`: by name of a check, the level that all its
    results have. `silences`: who is not called for.
    Times are ns since the epoch, and only recorded: none is compared but the end of a silence. `revision` grows with
    every transition and every change of the silences. Not thread-safe.
    """

    def __init__(
        self,
        checks: Iterable[Check],
        silences: SilenceList | None = None,
        overrides: Mapping[str, AlarmLevel] | None = None,
    ) -> None:
        levels = overrides or {}
        self._watched = {check.name: _Watched(check, levels.get(check.name)) for check in checks}
        self.silences = silences or SilenceList()
        self.revision = 0

    def restore(self, alarms: Iterable[Alarm]) -> None:
        """Take over alarms from before a restart; of checks that are no longer there, they are dropped."""
        for alarm in alarms:
            watched = self._watched.get(alarm.check)
            if watched is not None:
                levels = deque([] if alarm.latched else [alarm.level], watched.check.in_a_row)
                watched.subjects[alarm.subject] = _Subject(levels, alarm=alarm)

    def alarms(self) -> tuple[Alarm, ...]:
        """All there are, the worst first, of these the newest."""
        found = [subject.alarm for watched in self._watched.values() for subject in watched.subjects.values()]
        return tuple(
            sorted(
                (alarm for alarm in found if alarm is not None),
                key=lambda alarm: (-alarm.level.rank, alarm.acknowledged, -alarm.worst.rank, -alarm.since_ns, alarm.id),
            )
        )

    def look(self, check: str, results: Iterable[CheckResult], now_ns: int, run: int | None) -> list[AlarmTransition]:
        """Take in the results of a check at one look: all that is wrong; what they do not name is well."""
        return list(self._look(check, results, now_ns, run))

    def _look(
        self, check: str, results: Iterable[CheckResult], now_ns: int, run: int | None
    ) -> Iterator[AlarmTransition]:
        watched = self._watched[check]
        wrong = _by_subject(results, watched)
        for name in [*watched.subjects, *(name for name in wrong if name not in watched.subjects)]:
            subject = watched.subjects.setdefault(name, _Subject(deque(maxlen=watched.check.in_a_row)))
            result = wrong.get(name)
            if result is None:
                yield from self._good(watched, name, subject, now_ns)
            else:
                yield from self._wrong(watched.check, name, subject, result, now_ns, run)

    def _wrong(
        self, check: Check, name: str, subject: _Subject, result: CheckResult, now_ns: int, run: int | None
    ) -> Iterator[AlarmTransition]:
        subject.good = 0
        subject.levels.append(result.level or check.level)
        sure = len(subject.levels) == check.in_a_row
        level = min(subject.levels, key=lambda each: each.rank)
        before = subject.alarm
        if before is None:
            if sure:
                subject.alarm = self._raised(check, name, level, result, now_ns, run)
                yield self._transition("raised", subject.alarm, now_ns)
            return
        if before.latched and not sure:
            return
        news: dict[str, object] = {
            "text": printable_line(result.text),
            "value": result.value,
            "limit": result.limit,
            "level": level if sure else before.level,
            "last_ns": now_ns,
            "count": before.count + 1,
            "run": run,
            "latched": False,
            "returns": before.returns + before.latched,
            "advice": check.advice,
        }
        worse = sure and level.rank > before.worst.rank
        if worse:
            news |= {"worst": level, "acknowledged": False}
        subject.alarm = before.model_copy(update=news)
        if worse or before.latched:
            yield self._transition("worse" if worse else "again", subject.alarm, now_ns)

    def _raised(
        self, check: Check, subject: str, level: AlarmLevel, result: CheckResult, now_ns: int, run: int | None
    ) -> Alarm:
        name = alarm_id(check.name, subject)
        return Alarm(
            id=name,
            check=check.name,
            subject=subject,
            level=level,
            worst=level,
            text=printable_line(result.text),
            value=result.value,
            limit=result.limit,
            since_ns=now_ns,
            last_ns=now_ns,
            silenced=self.silences.covers(name, now_ns),
            advice=check.advice,
            run=run,
        )

    def _good(self, watched: _Watched, name: str, subject: _Subject, now_ns: int) -> Iterator[AlarmTransition]:
        subject.levels.clear()
        alarm = subject.alarm
        if alarm is None:
            del watched.subjects[name]
            return
        if alarm.latched:
            return
        subject.good += 1
        asked = watched.check.good_in_a_row
        if subject.good < max(asked, min(asked << min(alarm.returns, 16), MAX_GOOD_LOOKS)):
            return
        over = alarm.model_copy(update={"level": AlarmLevel.OK, "latched": not alarm.acknowledged})
        if alarm.acknowledged:
            del watched.subjects[name]
        else:
            subject.alarm = over
        yield self._transition("over", over, now_ns)

    def unknown(self, patterns: Sequence[str]) -> list[str]:
        """Those of the `patterns` that mean no alarm."""
        known = self.alarms()
        return [each for each in patterns if not any(matches(each, alarm.id) for alarm in known)]

    def acknowledge(self, patterns: Sequence[str], now_ns: int) -> list[AlarmTransition]:
        """Somebody has seen the alarms that `patterns` mean; what became of them."""
        done: list[AlarmTransition] = []
        for watched in self._watched.values():
            for name, subject in list(watched.subjects.items()):
                alarm = subject.alarm
                if alarm is None or alarm.acknowledged or not any(matches(each, alarm.id) for each in patterns):
                    continue
                seen = alarm.model_copy(update={"acknowledged": True, "latched": False})
                # What is over and seen is gone; if it is about to come back, that is a new alarm.
                subject.alarm = None if alarm.latched else seen
                if alarm.latched and not subject.levels:
                    del watched.subjects[name]
                done.append(self._transition("acknowledged", seen, now_ns))
        return done

    def silence(self, silenced: Silenced, now_ns: int) -> list[AlarmTransition]:
        """Call nobody for what that means."""
        self.silences.add(silenced)
        self.revision += 1
        return self.pass_time(now_ns)

    def unsilence(self, pattern: str, now_ns: int) -> list[AlarmTransition] | None:
        """Call again; None where no such pattern was silenced."""
        if not self.silences.remove(pattern):
            return None
        self.revision += 1
        return self.pass_time(now_ns)

    def pass_time(self, now_ns: int) -> list[AlarmTransition]:
        """What became of the alarms because time has passed: silences begin and end."""
        if self.silences.forget_old(now_ns):
            self.revision += 1
        done: list[AlarmTransition] = []
        for watched in self._watched.values():
            for subject in watched.subjects.values():
                alarm = subject.alarm
                if alarm is None or alarm.silenced == (silenced := self.silences.covers(alarm.id, now_ns)):
                    continue
                subject.alarm = alarm.model_copy(update={"silenced": silenced})
                done.append(self._transition("silenced" if silenced else "unsilenced", subject.alarm, now_ns))
        return done

    def _transition(self, kind: TransitionKind, alarm: Alarm, now_ns: int) -> AlarmTransition:
        self.revision += 1
        return AlarmTransition(kind, now_ns, alarm)


def _by_subject(results: Iterable[CheckResult], watched: _Watched) -> dict[str, CheckResult]:
    """What is wrong, the worst of each subject, with its level; not more than `MAX_SUBJECTS`."""
    check = watched.check
    wrong: dict[str, CheckResult] = {}
    for result in results:
        level = result.level or check.level
        if level is AlarmLevel.OK:
            continue
        level = watched.override or level
        subject = printable_line(result.subject)
        before = wrong.get(subject)
        if before is None or level.rank > (before.level or level).rank:
            wrong[subject] = replace(result, subject=subject, level=level)
    new = sorted(
        wrong.keys() - watched.subjects.keys(), key=lambda name: (-(wrong[name].level or check.level).rank, name)
    )
    room = max(MAX_SUBJECTS - len(watched.subjects.keys() - {OTHERS}), 0)
    beyond = [wrong.pop(name) for name in new[room:]]
    if beyond:
        worst = max((result.level or check.level for result in beyond), key=lambda level: level.rank)
        text = f"{len(beyond)} more, one of them {beyond[0].subject}: {beyond[0].text}"
        wrong[OTHERS] = CheckResult(OTHERS, text, level=worst)
    return wrong


def printable_line(text: str) -> str:
    """One line, not endless, that anything can carry and print."""
    return printable(text[:_MAX_LETTERS], " ")
