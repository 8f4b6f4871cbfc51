"""Findings: one for each thing that is wrong with a run, with how often, not one for each time."""

from collections import Counter, OrderedDict
from collections.abc import Iterator
from dataclasses import dataclass

from pydantic import BaseModel, ConfigDict, field_serializer

from monitor.sanity.check import Check, CheckResult
from protocol.wire.alarms import AlarmLevel


@dataclass(frozen=True, slots=True)
class Place:
    """Where something was found: a file, or a run on the stream (`pass_` 0 live, from 1 in a replay), or neither."""

    run: int | None = None
    pass_: int = 0
    file: str | None = None

    def __str__(self) -> str:
        parts = [self.file] if self.file else []
        if self.run is not None:
            parts.append(f"run {self.run}" + (f" pass {self.pass_}" if self.pass_ else ""))
        return ", ".join(parts) or "stream"


@dataclass(frozen=True, slots=True)
class Notice:
    """One thing that `check` found, once: `Findings` sums up what is the same."""

    check: Check
    result: CheckResult

    @property
    def level(self) -> AlarmLevel:
        """How bad it is."""
        return self.result.level or self.check.level


def severity(level: AlarmLevel) -> str:
    """The level of a finding: what is well and still worth knowing is `info`."""
    return "info" if level is AlarmLevel.OK else str(level)


class Finding(BaseModel):
    """Something found, as printed and as JSON. `text` is about all `count` of them if `cumulative`, else the first."""

    model_config = ConfigDict(frozen=True)

    check: str
    level: AlarmLevel
    text: str
    count: int
    cumulative: bool
    run: int | None
    pass_: int
    file: str | None
    readout: int | None
    advice: str
    first_seen_ns: int

    @field_serializer("level")
    def _severity(self, level: AlarmLevel) -> str:
        return severity(level)

    def line(self) -> str:
        """One line for a person."""
        place = str(Place(self.run, self.pass_, self.file))
        at = f", readout {self.readout}" if self.readout is not None else ""
        times = f" [x {self.count}]" if self.count > 1 and not self.cumulative else ""
        return f"{severity(self.level):<8} {self.check} ({place}{at}): {self.text}{times} → {self.advice}"


_Key = tuple[str, Place, str]


class Findings:
    """All findings so far, at most `limit`; the oldest are forgotten, but not how bad they were.

    `note` says when there is something new to print: the first time, when it got worse, and at each tenfold count.
    """

    SUBJECTS_PER_CHECK = 20

    def __init__(self, limit: int = 1000) -> None:
        self._limit = limit
        self._found: OrderedDict[_Key, Finding] = OrderedDict()
        self._printed: dict[_Key, tuple[AlarmLevel, int]] = {}
        self._subjects: Counter[tuple[str, Place]] = Counter()
        self._forgotten_worst: AlarmLevel | None = None
        self.forgotten = 0

    def __iter__(self) -> Iterator[Finding]:
        return iter(list(self._found.values()))

    def __len__(self) -> int:
        return len(self._found)

    def note(self, notice: Notice, place: Place, now_ns: int) -> Finding | None:
        """Take in what a check noticed; returns the finding where it is to be printed now."""
        check, result, level = notice.check, notice.result, notice.level
        key = self._key(notice, place)
        before = self._found.get(key)
        if before is None:
            finding = Finding(
                check=check.name,
                level=level,
                text=result.text,
                count=result.count,
                cumulative=result.cumulative,
                run=place.run,
                pass_=place.pass_,
                file=place.file,
                readout=result.readout,
                advice=check.advice,
                first_seen_ns=now_ns,
            )
            self._forget_oldest()
        else:
            replace = result.cumulative or level.rank > before.level.rank
            finding = before.model_copy(
                update={
                    "count": result.count if result.cumulative else before.count + result.count,
                    "text": result.text if replace else before.text,
                    "level": level if replace else before.level,
                }
            )
        self._found[key] = finding
        printed = self._printed.get(key)
        if printed is not None and finding.level.rank <= printed[0].rank and finding.count < 10 * printed[1]:
            return None
        self._printed[key] = finding.level, max(finding.count, 1)
        return finding

    def _key(self, notice: Notice, place: Place) -> _Key:
        name = notice.check.name
        key = (name, place, notice.result.subject)
        if key not in self._found:
            if self._subjects[key[:2]] >= self.SUBJECTS_PER_CHECK:
                return (name, place, "…")
            self._subjects[key[:2]] += 1
        return key

    def _forget_oldest(self) -> None:
        if len(self._found) < self._limit:
            return
        key, finding = self._found.popitem(last=False)
        self._printed.pop(key, None)
        self._subjects.pop(key[:2], None)
        self.forgotten += 1
        if self._forgotten_worst is None or finding.level.rank > self._forgotten_worst.rank:
            self._forgotten_worst = finding.level

    @property
    def worst(self) -> AlarmLevel | None:
        """The worst level among all findings, those forgotten included; None where there are none."""
        levels = [finding.level for finding in self._found.values()]
        if self._forgotten_worst is not None:
            levels.append(self._forgotten_worst)
        return max(levels, key=lambda level: level.rank, default=None)

    def counts(self) -> dict[AlarmLevel, int]:
        """Number of findings of each level."""
        found = Counter(finding.level for finding in self._found.values())
        return {level: found[level] for level in AlarmLevel}
