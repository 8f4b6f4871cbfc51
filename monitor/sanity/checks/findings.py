"""What the checks found: one finding for each thing that is wrong with a run, with how often, not one for each time."""

from collections import Counter, OrderedDict
from collections.abc import Iterator
from dataclasses import dataclass
from enum import StrEnum

from pydantic import BaseModel, ConfigDict


class Level(StrEnum):
    """How bad a finding is. `INFO` is worth knowing and nothing more: it does not change the exit code."""

    INFO = "info"
    WARNING = "warning"
    CRITICAL = "critical"

    @property
    def rank(self) -> int:
        """0, 1, 2: the higher the worse."""
        return list(Level).index(self)


@dataclass(frozen=True, slots=True)
class CheckInfo:
    """What a check looks for (`what`), how bad it is, and what to do about it (`advice`)."""

    name: str
    level: Level
    what: str
    advice: str


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
    """One check's word on one thing. `count`: how many there are, in all so far if `total`, else more of them.

    `level` replaces the check's own. `readout`: the first one concerned. `subject` tells apart what is the same
    check's and yet another matter. `value` against `limit`: how bad it is, where it is not `count` that says it.
    """

    check: CheckInfo
    text: str
    count: int = 1
    total: bool = False
    readout: int | None = None
    level: Level | None = None
    subject: str = ""
    value: float | None = None
    limit: float | None = None


class Finding(BaseModel):
    """Something found, as printed and as JSON. `text` is about all `count` of them if `cumulative`, else the first."""

    model_config = ConfigDict(frozen=True)

    check: str
    level: Level
    text: str
    count: int
    cumulative: bool
    run: int | None
    pass_: int
    file: str | None
    readout: int | None
    advice: str
    first_seen_ns: int

    def line(self) -> str:
        """One line for a person."""
        place = str(Place(self.run, self.pass_, self.file))
        at = f", readout {self.readout}" if self.readout is not None else ""
        times = f" [x {self.count}]" if self.count > 1 and not self.cumulative else ""
        return f"{self.level:<8} {self.check} ({place}{at}): {self.text}{times} → {self.advice}"


_Key = tuple[str, Place, str]


class Findings:
    """All findings so far, at most `limit`; the oldest are forgotten, but not how bad they were.

    `note` says when there is something new to print: the first time, when it got worse, and at each tenfold count.
    """

    SUBJECTS_PER_CHECK = 20

    def __init__(self, limit: int = 1000) -> None:
        self._limit = limit
        self._found: OrderedDict[_Key, Finding] = OrderedDict()
        self._printed: dict[_Key, tuple[Level, int]] = {}
        self._subjects: Counter[tuple[str, Place]] = Counter()
        self._forgotten_worst: Level | None = None
        self.forgotten = 0

    def __iter__(self) -> Iterator[Finding]:
        return iter(list(self._found.values()))

    def __len__(self) -> int:
        return len(self._found)

    def note(self, notice: Notice, place: Place, now_ns: int) -> Finding | None:
        """Take in what a check noticed; returns the finding where it is to be printed now."""
        info = notice.check
        key = self._key(notice, place)
        level = notice.level or info.level
        before = self._found.get(key)
        if before is None:
            finding = Finding(
                check=info.name,
                level=level,
                text=notice.text,
                count=notice.count,
                cumulative=notice.total,
                run=place.run,
                pass_=place.pass_,
                file=place.file,
                readout=notice.readout,
                advice=info.advice,
                first_seen_ns=now_ns,
            )
            self._forget_oldest()
        else:
            replace = notice.total or level.rank > before.level.rank
            finding = before.model_copy(
                update={
                    "count": notice.count if notice.total else before.count + notice.count,
                    "text": notice.text if replace else before.text,
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
        info = notice.check
        key = (info.name, place, notice.subject)
        if key not in self._found:
            if self._subjects[key[:2]] >= self.SUBJECTS_PER_CHECK:
                return (info.name, place, "…")
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
    def worst(self) -> Level | None:
        """The worst level among all findings, those forgotten included; None where there are none."""
        levels = [finding.level for finding in self._found.values()]
        if self._forgotten_worst is not None:
            levels.append(self._forgotten_worst)
        return max(levels, key=lambda level: level.rank, default=None)

    def counts(self) -> dict[Level, int]:
        """Number of findings of each level."""
        found = Counter(finding.level for finding in self._found.values())
        return {level: found[level] for level in Level}
