"""From the stream to the alarms: what happened and what there is to see, look by look, into the engine. No I/O."""

import time
from collections.abc import Callable, Iterable, Mapping
from dataclasses import replace

from monitor.events import Event
from monitor.receiving.reader import StreamCounters
from monitor.sanity.alarms.engine import AlarmEngine, Transition
from monitor.sanity.alarms.silence_list import SilenceList
from monitor.sanity.check import CheckInput, CheckResult
from monitor.sanity.check_runner import CheckOutcome, CheckRunner
from monitor.sanity.checks.catalogue import CHECK_FAILED, OUTPUT_FAILED
from monitor.sanity.checks.event_checks import EVENT_CHECKS, LASTING
from monitor.sanity.configuration import SanityConfiguration
from monitor.sanity.findings import Notice
from monitor.sanity.snapshots import Snapshots


class AlarmWatch:
    """Both kinds of checks, and the one engine that they feed. Checks of the user's own are not waited for.

    `engine`: the alarms; `seen`: what there was to see at the last look, None before the first. `clock`: monotonic
    seconds, for how long ago something came.
    """

    def __init__(
        self,
        configuration: SanityConfiguration,
        silences: SilenceList,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        checks = configuration.alarming
        self.engine = AlarmEngine(checks, silences, configuration.levels)
        self.seen: CheckInput | None = None
        self._enabled = {check.name for check in checks}
        self._snapshots = Snapshots(configuration.file.geometry, clock)
        self._noticed: dict[str, dict[str, CheckResult]] = {
            check.name: {} for check in EVENT_CHECKS if check.name in self._enabled
        }
        self._runner = CheckRunner(
            configuration.checks, configuration.limits, threaded=configuration.custom_checks, clock=clock
        )
        self._failing: dict[str, CheckOutcome] = {}

    def feed(self, event: Event) -> None:
        """Take in what has come."""
        self._snapshots.feed(event)

    def notice(self, notice: Notice) -> None:
        """Take in what happened; checks that say at each look what is wrong are not taken at their word before."""
        if notice.check not in LASTING:
            self._keep(notice)

    def _keep(self, notice: Notice) -> None:
        if notice.check.name in self._noticed:
            self._noticed[notice.check.name][notice.result.subject] = _for_an_alarm(notice)

    def look(
        self,
        now_ns: int,
        counters: StreamCounters,
        lasting: Iterable[Notice] = (),
        output_failures: Mapping[str, str] | None = None,
    ) -> list[Transition]:
        """Ask all checks; what became of the alarms.

        `lasting`: what checks of events say is wrong at the moment; `output_failures`: which outputs fail, and why.
        """
        seen = self.seen = self._snapshots.take(now_ns, counters)
        done = self.engine.pass_time(now_ns)
        for notice in lasting:
            self._keep(notice)
        for name, noticed in self._noticed.items():
            done += self._take(name, noticed.values(), seen)
            noticed.clear()
        for outcome in self._runner.look(seen):
            name = outcome.check.name
            if outcome.failure:
                self._failing[name] = outcome
                continue
            self._failing.pop(name, None)
            if outcome.results is not None:
                done += self._take(name, outcome.results, seen)
        failing = [CheckResult(name, each.failure, level=each.level) for name, each in self._failing.items()]
        done += self._take(CHECK_FAILED.name, failing, seen)
        failing = [CheckResult(name, text) for name, text in (output_failures or {}).items()]
        done += self._take(OUTPUT_FAILED.name, failing, seen)
        return done

    def _take(self, name: str, results: Iterable[CheckResult], seen: CheckInput) -> list[Transition]:
        return self.engine.look(name, results, seen.now_ns, seen.run) if name in self._enabled else []


def _for_an_alarm(notice: Notice) -> CheckResult:
    """The result, with its count and its readout in the text."""
    result = notice.result
    times = f" [x {result.count}]" if result.count > 1 and not result.cumulative else ""
    at = f" (readout {result.readout})" if result.readout is not None else ""
    counted = float(result.count) if result.count > 1 or result.cumulative else None  # else it is a matter of yes or no
    value = counted if result.limit is None else result.value
    return replace(result, text=f"{result.text}{times}{at}", value=value, level=notice.level)
