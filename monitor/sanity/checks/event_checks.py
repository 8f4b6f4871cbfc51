"""The checks that notice events (a message missed, a hit that cannot be), as the engine sees them: look by look."""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace

from monitor.sanity.check import CheckResult, Limit
from monitor.sanity.checks import catalogue
from monitor.sanity.checks.findings import CheckInfo, Level, Notice
from monitor.sanity.checks.limits import Limits
from protocol.wire.alarms import AlarmLevel

IN_A_ROW = 1
GOOD_IN_A_ROW = 10
"""An event is over in a moment, and often not alone: so the alarm lasts ten seconds after the last one."""

_LEVELS = {Level.INFO: AlarmLevel.OK, Level.WARNING: AlarmLevel.WARNING, Level.CRITICAL: AlarmLevel.CRITICAL}


@dataclass(frozen=True, slots=True)
class EventCheck:
    """A check of the catalogue; `limits` by the names of `Limits`' fields. `lasting`: it can say at any time whether
    it is wrong now, and is asked; what others notice has happened."""

    info: CheckInfo
    limits: tuple[tuple[str, Limit], ...] = ()
    lasting: bool = False

    @property
    def level(self) -> AlarmLevel:
        """The worst it usually raises."""
        return alarm_level(self.info.level)


_DEFAULTS = Limits()


def _limit(field: str, name: str, what: str, most: float = float("inf")) -> tuple[str, Limit]:
    return field, Limit(name, getattr(_DEFAULTS, field), what, most=most)


EVENT_CHECKS = (
    EventCheck(catalogue.SEQUENCE_GAP),
    EventCheck(catalogue.MISSED_READOUTS),
    EventCheck(catalogue.RUN_TOTALS),
    EventCheck(catalogue.MALFORMED),
    EventCheck(catalogue.SILENCE, (_limit("stat_silence_s", "max_s", "seconds without a state"),), lasting=True),
    EventCheck(
        catalogue.NO_HITS,
        (
            _limit("hit_silence_s", "max_s", "seconds without hits in a running run; longer where hits are rare"),
            _limit("hit_silence_false_alarms", "false_alarms_per_hour", "most, by chance, per hour of a running run"),
        ),
        lasting=True,
    ),
    EventCheck(catalogue.DAEMON_STATE, lasting=True),
    EventCheck(catalogue.DAEMON_LOG),
    EventCheck(catalogue.RUN_GAPS),
    EventCheck(catalogue.RUN_STATE),
    EventCheck(catalogue.LEDGER_BALANCE),
    EventCheck(
        catalogue.ORPHAN_BYTES,
        (_limit("orphan_fraction", "max_fraction", "of a run's bytes, those outside any hit", 1),),
    ),
    EventCheck(
        catalogue.DROPPED_HITS,
        (_limit("dropped_fraction", "max_fraction", "of a run's hits, those begun and not completed", 1),),
    ),
    EventCheck(
        catalogue.RESTORED_HITS,
        (_limit("restored_fraction", "max_fraction", "of a run's hits, those whose end was taken for padding", 1),),
    ),
    EventCheck(catalogue.IMPOSSIBLE_ADDRESS),
    EventCheck(catalogue.PAYLOAD),
    EventCheck(
        catalogue.TOT_ZERO, (_limit("tot_zero_fraction", "max_fraction", "of a run's hits, those of no duration", 1),)
    ),
    EventCheck(
        catalogue.TOT_RANGE,
        (
            _limit("min_tot_us", "min_us", "shortest time over threshold in µs"),
            _limit("max_tot_us", "max_us", "longest time over threshold in µs"),
        ),
    ),
    EventCheck(catalogue.READOUT_BACK),
    EventCheck(catalogue.TIME_BACK),
    EventCheck(
        catalogue.TIME_STEP,
        (
            _limit("time_step_s", "max_s", "seconds between readouts with hits; longer where hits are rare"),
            _limit("time_step_false_alarms", "false_alarms_per_hour", "most, by chance, per hour of a run"),
        ),
    ),
    EventCheck(catalogue.NO_TIME),
)
"""All that a stream can raise. What is never worse than info (`duplicates`) raises no alarm, and files have none."""


def alarm_level(level: Level) -> AlarmLevel:
    """What is worth knowing and nothing more is no alarm."""
    return _LEVELS[level]


def with_limits(limits: Limits, configured: Mapping[str, Mapping[str, float]]) -> Limits:
    """`limits`, but what is `configured` for event checks: check name → limit name → value."""
    values = {
        field: configured[each.info.name][limit.name]
        for each in EVENT_CHECKS
        for field, limit in each.limits
        if limit.name in configured.get(each.info.name, {})
    }
    return replace(limits, **values)  # type: ignore[arg-type]  # all of them are numbers


class EventLooks:
    """Collects notices until the next look."""

    def __init__(self, checks: Iterable[EventCheck] = EVENT_CHECKS) -> None:
        self._checks = tuple(checks)
        self._noticed: dict[str, dict[str, CheckResult]] = {each.info.name: {} for each in self._checks}
        self._lasting = {each.info.name for each in self._checks if each.lasting}

    def take(self, notice: Notice) -> None:
        """Something happened; of the checks that are asked, nothing is taken."""
        name = notice.check.name
        if name not in self._lasting and name in self._noticed:
            self._noticed[name][notice.subject] = _result(notice)

    def look(self, lasting: Iterable[Notice]) -> Iterator[tuple[str, Sequence[CheckResult]]]:
        """What each check says at this look; `lasting`: what is wrong at the moment."""
        for notice in lasting:
            if notice.check.name in self._lasting:
                self._noticed[notice.check.name][notice.subject] = _result(notice)
        for name, results in self._noticed.items():
            yield name, list(results.values())
            results.clear()


def _result(notice: Notice) -> CheckResult:
    times = f" [x {notice.count}]" if notice.count > 1 and not notice.total else ""
    at = f" (readout {notice.readout})" if notice.readout is not None else ""
    level = alarm_level(notice.level or notice.check.level)
    counted = float(notice.count) if notice.count > 1 or notice.total else None  # else it is a matter of yes or no
    value = counted if notice.limit is None else notice.value
    return CheckResult(notice.subject, f"{notice.text}{times}{at}", value, notice.limit, level)
