"""From the stream to the alarms: what happened and what there is to see, look by look, into the engine. No I/O."""

import time
from collections.abc import Callable, Iterable, Mapping

from monitor.events import Event
from monitor.receiving.reader import StreamCounters
from monitor.sanity.alarms.engine import AlarmEngine, Transition
from monitor.sanity.alarms.silence_list import SilenceList
from monitor.sanity.check import CheckInput, CheckResult
from monitor.sanity.check_asking import CheckSaid
from monitor.sanity.checks.check_table import CHECK_FAILED, OUTPUT_FAILED
from monitor.sanity.checks.event_checks import EventLooks
from monitor.sanity.checks.findings import Notice
from monitor.sanity.configuration import SanityConfiguration
from monitor.sanity.looks import StreamLooks, TableLooks


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
        rules = configuration.rules
        self.engine = AlarmEngine(rules, silences)
        self.seen: CheckInput | None = None
        self._enabled = {rule.name for rule in rules}
        self._stream = StreamLooks(configuration.file.geometry, clock)
        self._events = EventLooks()
        self._table = TableLooks(
            configuration.checks, configuration.limits, apart=configuration.own_checks, clock=clock
        )
        self._failing: dict[str, CheckSaid] = {}

    def feed(self, event: Event) -> None:
        """Take in what has come."""
        self._stream.feed(event)

    def notice(self, notice: Notice) -> None:
        """Take in what a check of events noticed."""
        self._events.take(notice)

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
        seen = self.seen = self._stream.look(now_ns, counters)
        done = self.engine.pass_time(now_ns)
        for name, results in self._events.look(lasting):
            done += self._take(name, results, seen)
        for said in self._table.look(seen):
            name = said.check.name
            if said.failure:
                self._failing[name] = said
                continue
            self._failing.pop(name, None)
            if said.results is not None:
                done += self._take(name, said.results, seen)
        failing = [CheckResult(name, said.failure, level=said.level) for name, said in self._failing.items()]
        done += self._take(CHECK_FAILED.name, failing, seen)
        failing = [CheckResult(name, text) for name, text in (output_failures or {}).items()]
        done += self._take(OUTPUT_FAILED.name, failing, seen)
        return done

    def _take(self, name: str, results: Iterable[CheckResult], seen: CheckInput) -> list[Transition]:
        return self.engine.look(name, results, seen.now_ns, seen.run) if name in self._enabled else []
