"""The alarms of a running `apx-sanity`: events → looks → engine → outputs, and those who ask and acknowledge."""

import time
from collections.abc import Callable, Iterable, Mapping
from contextlib import ExitStack
from dataclasses import replace
from typing import Any, Self, TypeVar

from pydantic import BaseModel, ValidationError

from astropix_runtime.errors import RefusedError
from astropix_runtime.sockets.key_files import ServerKeys, read_server_keys
from astropix_runtime.sockets.request_server import RequestPurpose, RequestServer
from monitor.errors import AlarmServiceError, KeysError
from monitor.events import Event
from monitor.receiving.reader import StreamCounters
from monitor.sanity.alarms.alarm_files import AlarmState
from monitor.sanity.alarms.alarm_outputs import AlarmOutputs
from monitor.sanity.alarms.alarm_publisher import AlarmPublisher
from monitor.sanity.alarms.engine import AlarmEngine, AlarmTransition
from monitor.sanity.alarms.silence_list import Silenced, SilenceList
from monitor.sanity.check import CheckInput, CheckResult
from monitor.sanity.check_runner import CheckOutcome, CheckRunner
from monitor.sanity.checks.catalogue import CHECK_FAILED, OUTPUT_FAILED
from monitor.sanity.checks.event_checks import EVENT_CHECKS, LASTING
from monitor.sanity.configuration import SanityConfiguration
from monitor.sanity.findings import Notice
from monitor.sanity.snapshots import Snapshots
from protocol.text import validation_summary
from protocol.units import NS_PER_S
from protocol.wire.alarms import AcknowledgeArgs, AlarmLevel, SilenceArgs, UnsilenceArgs


class AlarmWatch:
    """Both kinds of checks, and the one engine that they feed. Custom checks are not waited for.

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
    ) -> list[AlarmTransition]:
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

    def _take(self, name: str, results: Iterable[CheckResult], seen: CheckInput) -> list[AlarmTransition]:
        return self.engine.look(name, results, seen.now_ns, seen.run) if name in self._enabled else []


def _for_an_alarm(notice: Notice) -> CheckResult:
    """The result, with its count and its readout in the text."""
    result = notice.result
    times = f" [x {result.count}]" if result.count > 1 and not result.cumulative else ""
    at = f" (readout {result.readout})" if result.readout is not None else ""
    counted = float(result.count) if result.count > 1 or result.cumulative else None  # else it is a matter of yes or no
    value = counted if result.limit is None else result.value
    return replace(result, text=f"{result.text}{times}{at}", value=value, level=notice.level)


LOOK_S = 1.0

_Args = TypeVar("_Args", bound=BaseModel)

CONTROL = RequestPurpose(
    name="the control socket",
    verb="listen",
    way_out="is another apx-sanity running? Else choose another control.endpoint",
    failure=AlarmServiceError,
    harm="silence alarms",
    end_other="end that apx-sanity, or give this one another sanity.name",
)


class AlarmService:
    """A context manager; `AlarmServiceError` where something that it needs cannot be had, `KeysError`.

    `announce` is called with each transition, for people. `alarmed`: whether any alarm was on while it ran, also one
    from before its start. `clock`: monotonic seconds; `now_ns`: since the epoch.
    """

    def __init__(
        self,
        configuration: SanityConfiguration,
        announce: Callable[[AlarmTransition], None],
        clock: Callable[[], float] = time.monotonic,
        now_ns: Callable[[], int] = time.time_ns,
    ) -> None:
        self._configuration = configuration
        self._announce = announce
        self._clock = clock
        self._now_ns = now_ns
        self._look_at = clock() + LOOK_S
        self._saved_revision = -1
        self.alarmed = False
        self.undelivered = 0
        file = configuration.file
        keys = None
        if file.security.keys:
            paths = configuration.path(file.security.server_key), configuration.path(file.security.client_keys)
            keys = load_server_keys(*paths)
        with ExitStack() as stack:
            self._outputs = AlarmOutputs(configuration)
            stack.callback(self._close_outputs)
            self._publisher: AlarmPublisher | None = None
            if file.publish.bind:
                self._publisher = AlarmPublisher(file.publish.bind, now_ns(), keys)
                stack.callback(self._publisher.close)
            self._control = RequestServer(file.control_endpoint, CONTROL, keys)
            stack.callback(self._control.close)
            before = self._outputs.before
            silences = SilenceList((entry.silenced() for entry in file.silences), before.silences)
            self._watch = AlarmWatch(configuration, silences, clock)
            self._watch.engine.restore(before.alarms)
            self._settle(self._watch.engine.pass_time(now_ns()))
            self._open = stack.pop_all()

    def __enter__(self) -> Self:
        return self

    def feed(self, event: Event) -> None:
        """Take in what has come."""
        self._watch.feed(event)

    def notice(self, notice: Notice) -> None:
        """Take in what a check of events noticed."""
        self._watch.notice(notice)

    def tick(self, counters: StreamCounters, lasting: Iterable[Notice]) -> None:
        """To be called a few times a second: answers, and looks once a second; `lasting`: what is wrong now."""
        self._control.answer(self._execute)
        now = self._clock()
        if now < self._look_at:
            return
        # Looks that were missed are not made up for: "in a row" means seconds.
        self._look_at = max(self._look_at + LOOK_S, now + LOOK_S / 2)
        done = self._watch.look(self._now_ns(), counters, lasting, self._outputs.failures)
        self._settle(done)
        self.alarmed = self.alarmed or any(alarm.level is not AlarmLevel.OK for alarm in self._watch.engine.alarms())

    def _settle(self, done: Iterable[AlarmTransition]) -> None:
        """Tell everybody what became of the alarms, and how they are."""
        done = list(done)
        seen, engine = self._watch.seen, self._watch.engine
        daq = "" if seen is None else seen.daq
        for transition in done:
            self._announce(transition)
        self._outputs.take(done, daq)
        alarms = engine.alarms()
        if done or engine.revision != self._saved_revision:
            self._outputs.save(AlarmState(alarms=alarms, silences=engine.silences.added))
            self._saved_revision = engine.revision
        if self._publisher is not None:
            run, pass_ = (None, 0) if seen is None else (seen.run, seen.pass_)
            name = self._configuration.file.sanity.name
            self._publisher.publish(alarms, name, run, pass_, self._now_ns())

    def _execute(self, command: str, args: dict[str, Any]) -> dict[str, Any]:
        commands = {
            "alarms": self._tell,
            "ack": self._acknowledge,
            "silence": self._silence,
            "unsilence": self._unsilence,
        }
        if command not in commands:
            raise RefusedError("unknown_command", f"no command {command[:40]!r}: known are {', '.join(commands)}")
        return commands[command](args)

    def _tell(self, args: dict[str, Any]) -> dict[str, Any]:
        if args:
            raise RefusedError("bad_arguments", f"alarms takes none, not {', '.join(args)[:100]}")
        engine = self._watch.engine
        silences = engine.silences.current(self._now_ns())
        return {
            "alarms": [alarm.model_dump(mode="json") for alarm in engine.alarms()],
            "silences": [silenced.model_dump(mode="json") for silenced in silences],
        }

    def _acknowledge(self, args: dict[str, Any]) -> dict[str, Any]:
        patterns = _read(AcknowledgeArgs, args).ids
        unknown = self._watch.engine.unknown(patterns)
        if unknown:
            raise RefusedError("unknown_alarm", f"no alarm is {', '.join(unknown)}: nothing was acknowledged")
        done = self._watch.engine.acknowledge(patterns, self._now_ns())
        self._settle(done)
        return {"acknowledged": [transition.alarm.id for transition in done]}

    def _silence(self, args: dict[str, Any]) -> dict[str, Any]:
        wish = _read(SilenceArgs, args)
        now_ns = self._now_ns()
        silenced = Silenced(pattern=wish.pattern, until_ns=now_ns + round(wish.for_s * NS_PER_S), reason=wish.reason)
        done = self._watch.engine.silence(silenced, now_ns)
        self._settle(done)
        return {"until_ns": silenced.until_ns, "silenced": [transition.alarm.id for transition in done]}

    def _unsilence(self, args: dict[str, Any]) -> dict[str, Any]:
        pattern = _read(UnsilenceArgs, args).pattern
        done = self._watch.engine.unsilence(pattern, self._now_ns())
        if done is None:
            raise RefusedError("not_silenced", f"{pattern} is not silenced, or by the configuration")
        self._settle(done)
        return {"unsilenced": [transition.alarm.id for transition in done]}

    def _close_outputs(self) -> None:
        self.undelivered = self._outputs.close()

    def __exit__(self, *_: object) -> None:
        with self._open:
            engine = self._watch.engine
            self._outputs.save(AlarmState(alarms=engine.alarms(), silences=engine.silences.added))


def load_server_keys(server_key: str, client_keys: str) -> ServerKeys:
    """The keys in these places; `KeysError` with every mistake, a line each."""
    keys, mistakes = read_server_keys(server_key, client_keys)
    if keys is None:
        raise KeysError("\n".join(f"[security] {mistake}" for mistake in mistakes))
    return keys


def _read(model: type[_Args], args: dict[str, Any]) -> _Args:
    try:
        return model.model_validate(args)
    except ValidationError as error:
        raise RefusedError("bad_arguments", validation_summary(error)) from None
