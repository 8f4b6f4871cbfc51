"""Where alarms go: file of the state, log, web address, program. What fails is reported, and stops nothing."""

import time
from collections.abc import Callable, Iterable, Mapping
from functools import partial
from pathlib import Path

from astropix_runtime.storage.process_lock import ProcessLock
from monitor.errors import AlarmServiceError
from monitor.sanity.alarms.alarm_files import MB, AlarmLog, AlarmState, StateFile, as_object
from monitor.sanity.alarms.delivery import Command, Delivery, Webhook
from monitor.sanity.alarms.engine import AlarmTransition
from monitor.sanity.configuration import SanityConfiguration
from monitor.sanity.configuration_sections import CallSection
from protocol.text import reason_of
from protocol.wire.alarms import AlarmLevel

LOG_NAME = "alarms.jsonl"
STATE_NAME = "state.json"
LOCK_NAME = "lock"

CLOSE_WITHIN_S = 5.0


class AlarmOutputs:
    """All of them, as the configuration says. `AlarmServiceError` where the directory cannot be used.

    One `apx-sanity` at a time has a directory.
    """

    def __init__(self, configuration: SanityConfiguration) -> None:
        file = configuration.file
        self._failures: dict[str, str] = {}
        self._saved: AlarmState | None = None
        self._deliveries: list[tuple[CallSection, Delivery]] = []
        directory = file.directory
        self._lock = _claim(directory)
        try:
            self._state_file = StateFile(directory / STATE_NAME)
            self.before = self._state_file.load()
            self._log = AlarmLog(directory / LOG_NAME, round(file.log.max_size_mb * MB), file.log.keep)
        except OSError as error:
            self._lock.release()
            raise AlarmServiceError(f"cannot use {error.filename or directory}: {reason_of(error)}") from None
        if file.webhook.url:
            webhook = Webhook(file.webhook.url, file.webhook.headers, file.webhook.timeout_s)
            self._deliver("webhook", file.webhook, webhook)
        if file.command.argv:
            command = Command(file.command.argv, file.command.timeout_s)
            self._deliver("command", file.command, command, command.end)

    def _deliver(
        self, name: str, section: CallSection, send: Callable[[bytes], None], end: Callable[[], None] = lambda: None
    ) -> None:
        delivery = Delivery(name, send, queue=section.queue, attempts=section.attempts, end=end)
        self._deliveries.append((section, delivery))

    def take(self, transitions: Iterable[AlarmTransition], daq: str) -> None:
        """Keep and send what became of alarms."""
        for transition in transitions:
            self._guard("log", partial(self._log.write, transition, daq))
            for section, delivery in self._deliveries:
                if _called(transition, section):
                    delivery.put(as_object(transition, daq))

    def save(self, state: AlarmState) -> None:
        """Keep what a restart must not forget."""
        if state != self._saved:
            self._guard("state", lambda: self._state_file.save(state))
            self._saved = state

    def _guard(self, name: str, write: Callable[[], None]) -> None:
        try:
            write()
        except OSError as error:
            self._failures[name] = f"{error.filename or name}: {reason_of(error)}"
        else:
            self._failures.pop(name, None)

    @property
    def failures(self) -> Mapping[str, str]:
        """Which outputs fail at the moment, and why."""
        sending = {delivery.name: delivery.failure for _, delivery in self._deliveries if delivery.failure}
        return self._failures | sending

    def close(self) -> int:
        """End; what waits to be sent is still tried for some seconds. Returns how much of it was not."""
        deadline = time.monotonic() + CLOSE_WITHIN_S
        left = sum(delivery.close(max(deadline - time.monotonic(), 0.0)) for _, delivery in self._deliveries)
        self._log.close()
        self._lock.release()
        return left


def _called(transition: AlarmTransition, section: CallSection) -> bool:
    least = AlarmLevel(section.least).rank
    return transition.calls and transition.kind in section.events and transition.alarm.worst.rank >= least


def _claim(directory: Path) -> ProcessLock:
    try:
        directory.mkdir(mode=0o755, parents=True, exist_ok=True)
    except OSError as error:
        raise AlarmServiceError(f"cannot use the directory {directory}: {reason_of(error)}") from None
    lock = ProcessLock(
        directory / LOCK_NAME,
        f"the directory {directory}",
        AlarmServiceError,
        "choose another sanity.directory",
        "end that apx-sanity, or give this one another sanity.name or sanity.directory",
    )
    lock.acquire()
    return lock
