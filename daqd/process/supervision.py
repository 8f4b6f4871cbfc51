"""The daemon under a service manager: what it tells while it serves, and for what the watchdog is fed."""

import asyncio
import contextlib
import logging
import time
from collections.abc import AsyncIterator, Callable, Coroutine, Iterator, Mapping
from typing import Any

from daqd.process.systemd import ServiceManager
from daqd.process.watchdog import Watchdog
from protocol.wire.messages import DaemonState, Stat

log = logging.getLogger(__name__)

_LOOK_S = 15.0
"""How often to look for stuck threads where no watchdog wants to be fed: then only the log tells."""
_LEAST_PATIENCE_S = 1.5
_STATUS_S = 2.0
_EXTENSION_STEP_S = 2.0
_EXTENSION_S = 20.0


class Supervision:
    """Feeds the watchdog from the event loop, as long as the numbers of `progress()` grow (`RunControl.progress`).

    So three things must go round: the event loop, and in a run its reader and its writer. How the children are is no
    reason: nothing behind the files may end the acquisition.
    """

    def __init__(
        self,
        manager: ServiceManager,
        progress: Callable[[], Mapping[str, int]],
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._manager = manager
        self._progress = progress
        self._clock = clock
        self._interval_s = _LOOK_S if manager.watchdog_s is None else manager.watchdog_s / 2
        self._watchdog = Watchdog(max(_LEAST_PATIENCE_S, 0.75 * self._interval_s), clock)
        self._stuck: dict[str, float] = {}
        self._status = "starting"
        self._serving = False
        self._state: tuple[str, str, int | None] | None = None
        self._told_at = 0.0

    @contextlib.asynccontextmanager
    async def watching(self) -> AsyncIterator[None]:
        """Watch in a task of its own."""
        async with _task(self._watch(), "watchdog"):
            yield

    @contextlib.asynccontextmanager
    async def taking_long(self) -> AsyncIterator[None]:
        """Ask the manager for more time again and again, as long as everything that is left goes round."""
        async with _task(self._extend(), "extend"):
            yield

    def ready(self) -> None:
        """The daemon serves."""
        self._serving = True
        self._manager.ready(self._line())

    @contextlib.contextmanager
    def reloading(self) -> Iterator[None]:
        """What a signal asked for is being done; means nothing to a manager that does not think that we serve."""
        if self._serving:
            self._manager.reloading()
        yield
        if self._serving:
            self._manager.ready(self._line())

    def stopping(self) -> None:
        """The daemon ends."""
        self._serving = False
        self._manager.stopping(self._line())

    def tell(self, stat: Stat) -> None:
        """Put the state of the daemon into words for the manager: at once where it has changed, else now and then."""
        state, now = (stat.state, stat.reason, stat.run), self._clock()
        self._status = describe(stat)
        if state != self._state or now - self._told_at >= _STATUS_S:
            self._state, self._told_at = state, now
            self._manager.status(self._line())

    def look(self) -> None:
        """Feed the watchdog, or say what is stuck."""
        stuck = self._watchdog.look(self._progress())
        for name, seconds in stuck.items():
            if name not in self._stuck:
                fate = "" if self._manager.watchdog_s is None else "; the service manager will restart the daemon"
                log.error("the %s has not moved for %.1f s%s", name, seconds, fate)
        for name in self._stuck.keys() - stuck.keys():
            log.warning("the %s moves again, or has ended", name)
        changed = stuck.keys() != self._stuck.keys()
        self._stuck = stuck
        if stuck or changed:
            self._manager.status(self._line())
        if not stuck and self._manager.watchdog_s is not None:
            self._manager.feed()

    async def _watch(self) -> None:
        while True:
            self.look()
            await asyncio.sleep(self._interval_s)

    async def _extend(self) -> None:
        moving = Watchdog(_EXTENSION_S / 2, self._clock)
        while True:
            await asyncio.sleep(_EXTENSION_STEP_S)
            if not moving.look(self._progress()):
                self._manager.extend(_EXTENSION_S)

    def _line(self) -> str:
        stuck = ", ".join(f"the {name} has not moved for {seconds:.0f} s" for name, seconds in self._stuck.items())
        return f"STUCK: {stuck}; {self._status}" if stuck else self._status


def describe(stat: Stat) -> str:
    """The state of the daemon in one line."""
    state = f"{stat.state}: {stat.reason}" if stat.reason else stat.state
    if stat.run is None:
        return state
    readouts = f"{stat.counts.get('readouts', 0)} readouts"
    if stat.state in (DaemonState.RUNNING, DaemonState.RECOVERING):
        rates = stat.rates
        readouts += f", {rates.readouts_hz:.0f} readouts/s, {rates.hits_hz:.0f} hits/s, {rates.bytes_hz / 1e6:.2f} MB/s"
        return f"{state} (run {stat.run} for {stat.elapsed_s:.0f} s, {readouts})"
    return f"{state} (last run {stat.run}, {readouts})"


@contextlib.asynccontextmanager
async def _task(coroutine: Coroutine[Any, Any, None], name: str) -> AsyncIterator[None]:
    task = asyncio.create_task(coroutine, name=name)
    try:
        yield
    finally:
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)
