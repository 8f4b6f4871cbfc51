"""The alarms of a running `apx-sanity`: events → looks → engine → outputs, and those who ask and acknowledge."""

import logging
import time
from collections.abc import Callable, Iterable
from typing import Any, Self, TypeVar

from pydantic import BaseModel, ValidationError

from astropix_runtime.errors import RefusedError
from astropix_runtime.sockets.key_files import ServerKeys, read_server_keys
from astropix_runtime.sockets.request_server import RequestPurpose, RequestServer
from monitor.errors import AlarmServiceError, KeysError
from monitor.events import Event
from monitor.receiving.reader import StreamCounters
from monitor.sanity.alarms.alarm_outputs import AlarmOutputs
from monitor.sanity.alarms.alarm_publisher import AlarmPublisher
from monitor.sanity.alarms.alarm_state import AlarmState
from monitor.sanity.alarms.alarm_watch import AlarmWatch
from monitor.sanity.alarms.engine import Transition
from monitor.sanity.alarms.silence_list import Silenced, SilenceList
from monitor.sanity.checks.findings import Notice
from monitor.sanity.configuration import SanityConfiguration
from protocol.text import validation_summary
from protocol.units import NS_PER_S
from protocol.wire.alarms import AcknowledgeArgs, AlarmLevel, SilenceArgs, UnsilenceArgs

log = logging.getLogger(__name__)

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
    """A context manager: what it needs is had at its begin, `AlarmServiceError` where it cannot be; `KeysError`.

    `announce`: told of each transition, for people. `alarmed`: whether any alarm was on while it ran, also one from
    before its begin. `clock`: monotonic seconds; `now_ns`: since the epoch.
    """

    def __init__(
        self,
        configuration: SanityConfiguration,
        announce: Callable[[Transition], None],
        clock: Callable[[], float] = time.monotonic,
        now_ns: Callable[[], int] = time.time_ns,
    ) -> None:
        self._configuration = configuration
        self._announce = announce
        self._clock = clock
        self._now_ns = now_ns
        self._look_at = clock() + LOOK_S
        security = configuration.file.security
        self._keys = None
        if security.keys:
            paths = configuration.path(security.server_key), configuration.path(security.client_keys)
            self._keys = load_server_keys(*paths)
        self._saved_revision = -1
        self.alarmed = False
        self.undelivered = 0

    def __enter__(self) -> Self:
        file = self._configuration.file
        self._outputs = AlarmOutputs(self._configuration)
        self._publisher: AlarmPublisher | None = None
        self._control: RequestServer | None = None
        try:
            if file.publish.bind:
                self._publisher = AlarmPublisher(file.publish.bind, self._now_ns(), self._keys)
            self._control = RequestServer(file.control_endpoint, CONTROL, self._keys)
        except BaseException:
            self._close()
            raise
        before = self._outputs.before
        silences = SilenceList((entry.silenced() for entry in file.silences), before.silences)
        self._watch = AlarmWatch(self._configuration, silences, self._clock)
        self._watch.engine.restore(before.alarms)
        self._settle(self._watch.engine.pass_time(self._now_ns()))
        return self

    def feed(self, event: Event) -> None:
        """Take in what has come."""
        self._watch.feed(event)

    def notice(self, notice: Notice) -> None:
        """Take in what a check of events noticed."""
        self._watch.notice(notice)

    def tick(self, counters: StreamCounters, lasting: Iterable[Notice]) -> None:
        """To be called a few times a second: answers, and looks once a second; `lasting`: what is wrong now."""
        assert self._control is not None  # noqa: S101 - since the begin
        self._control.answer(self._execute)
        now = self._clock()
        if now < self._look_at:
            return
        # Looks that were missed are not made up for: "in a row" means seconds.
        self._look_at = max(self._look_at + LOOK_S, now + LOOK_S / 2)
        done = self._watch.look(self._now_ns(), counters, lasting, self._outputs.failures)
        self._settle(done)
        self.alarmed = self.alarmed or any(alarm.level is not AlarmLevel.OK for alarm in self._watch.engine.alarms())

    def _settle(self, done: Iterable[Transition]) -> None:
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

    def _close(self) -> None:
        if self._control is not None:
            self._control.close()
        if self._publisher is not None:
            self._publisher.close()
        self.undelivered = self._outputs.close()

    def __exit__(self, *_: object) -> None:
        engine = self._watch.engine
        self._outputs.save(AlarmState(alarms=engine.alarms(), silences=engine.silences.added))
        self._close()


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
