"""Alarms that nobody is to be called for, for a while."""

from collections.abc import Iterable
from fnmatch import fnmatchcase

from pydantic import BaseModel, ConfigDict, Field


def matches(pattern: str, alarm_id: str) -> bool:
    """Whether `pattern` means that alarm: its id, the name of its check, or either with `*`, `?` and `[…]`."""
    return pattern == alarm_id or fnmatchcase(alarm_id, pattern) or fnmatchcase(alarm_id.split(":", 1)[0], pattern)


class Silenced(BaseModel):
    """Alarms that `pattern` means are silenced until `until_ns` (ns since the epoch), None: until further notice."""

    model_config = ConfigDict(frozen=True)

    pattern: str = Field(min_length=1, max_length=200)
    until_ns: int | None = None
    reason: str = Field("", max_length=200)


class SilenceList:
    """Who is silenced. `fixed`: by the configuration, and so for as long as that says; others come and go."""

    def __init__(self, fixed: Iterable[Silenced] = (), added: Iterable[Silenced] = ()) -> None:
        self._fixed = tuple(fixed)
        self._added = {each.pattern: each for each in added}

    @property
    def added(self) -> tuple[Silenced, ...]:
        """Those that are not the configuration's."""
        return tuple(self._added.values())

    def current(self, now_ns: int) -> tuple[Silenced, ...]:
        """All that are in force."""
        return tuple(each for each in (*self._fixed, *self._added.values()) if _lasts(each, now_ns))

    def add(self, silenced: Silenced) -> None:
        """Silence; an earlier silence of the same pattern is replaced."""
        self._added[silenced.pattern] = silenced

    def remove(self, pattern: str) -> bool:
        """Silence no more; whether there was such a pattern. Those of the configuration stay."""
        return self._added.pop(pattern, None) is not None

    def forget_old(self, now_ns: int) -> bool:
        """Drop those whose time is over; whether there were any."""
        over = [pattern for pattern, each in self._added.items() if not _lasts(each, now_ns)]
        for pattern in over:
            del self._added[pattern]
        return bool(over)

    def covers(self, alarm_id: str, now_ns: int) -> bool:
        """Whether that alarm is silenced."""
        return any(matches(each.pattern, alarm_id) for each in self.current(now_ns))


def _lasts(silenced: Silenced, now_ns: int) -> bool:
    return silenced.until_ns is None or silenced.until_ns > now_ns
