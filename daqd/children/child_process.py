"""The daemon's side of a child: starts it, starts another when it dies, reads what it reports, ends it."""

import asyncio
import contextlib
import logging
import sys
import time
from abc import ABC, abstractmethod
from collections.abc import Callable
from typing import ClassVar

from daqd.children.child_input import ChildInput
from daqd.children.child_log import relay
from daqd.children.notices import Notice, Report, decode_report, encode_line
from daqd.configuration.config import SecuritySection
from daqd.errors import DaqError
from daqd.process.signals import END_SIGNALS
from protocol.text import reason_of

log = logging.getLogger(__name__)

_READY_S = 60.0
"""Of a computer that is busy starting up, too; one that dies is not waited for."""
_STOP_S = 10.0
_BACKOFF_S = (0.05, 0.5, 1.0)
_STABLE_S = 30.0
_MOST_AT_THE_END = 2
"""Started for what is left, one after the other, where they die of it."""
_MEANT_FOR_US = {-number for number in END_SIGNALS}
_MOST_HIT = 3
"""Children that such a signal ended before they were ready, which are no reason to give up."""


class ChildError(DaqError):
    """A child does not start."""


class ChildProcess(ABC):
    """One program of ours, alive as long as the daemon wants it. A subclass says which, and with what arguments.

    The end of its input tells it that nothing more will come; what it reports comes out of its output, a line each.
    `on_report` is called in the event loop for every report. `bind`: where it is to listen; `endpoint`: where it does,
    another one takes the same. `restarts`: how often it died.
    """

    NAME: ClassVar[str]
    MODULE: ClassVar[str]

    def __init__(
        self,
        bind: str,
        on_report: Callable[[Report], None],
        security: SecuritySection | None = None,
    ) -> None:
        self._bind = bind
        self._security = security or SecuritySection()
        self._on_report = on_report
        self._process: asyncio.subprocess.Process | None = None
        self._input: ChildInput | None = None
        self._watcher: asyncio.Task[None] | None = None
        self._ready = asyncio.Event()
        self._stop_asked = asyncio.Event()
        self._given_up = False
        self.restarts = 0
        self.endpoint = ""

    @abstractmethod
    def arguments(self) -> list[str]:
        """What its command line has beside `--bind` and the keys."""

    @property
    def pid(self) -> int | None:
        """Process id of the child that runs now."""
        return self._process.pid if self._process is not None and self._process.returncode is None else None

    async def start(self) -> None:
        """Start the child and wait until it is ready; `ChildError` where it cannot be."""
        try:
            await self._spawn()
        except OSError as error:
            raise ChildError(f"the {self.NAME} cannot be started: {reason_of(error)}") from error
        self._watcher = asyncio.create_task(self._watch(), name=self.NAME)
        ready = asyncio.create_task(self._ready.wait())
        done, _ = await asyncio.wait({ready, self._watcher}, timeout=_READY_S, return_when=asyncio.FIRST_COMPLETED)
        if not self._ready.is_set():
            why = (
                "its message is above" if done else f"it was not ready after {_READY_S:g} s: is this computer too busy?"
            )
            ready.cancel()
            self._kill()  # what has not begun has nothing to finish
            await self.stop()
            raise ChildError(f"the {self.NAME} did not start at {self._bind}; {why}")

    def tell(self, notice: Notice) -> None:
        """Send a line to the child, from any thread. One that does not read its input misses some."""
        self.tell_line(encode_line(notice))

    def tell_line(self, line: bytes) -> None:
        """The same with a line that is encoded already."""
        if self._input is not None:
            self._input.send(line)

    async def stop(self) -> None:
        """Let it do what is left, and end; kill it where it does not in time."""
        self._stop_asked.set()
        self._close_pipe()
        if self._watcher is None:
            return
        done, _ = await asyncio.wait({self._watcher}, timeout=_STOP_S)
        if not done and self._process is not None:
            log.warning("the %s had more to do after %.0f s and was ended", self.NAME, _STOP_S)
            self._given_up = True
            self._kill()
        await asyncio.gather(self._watcher, return_exceptions=True)

    def _kill(self) -> None:
        if self._process is not None:
            with contextlib.suppress(ProcessLookupError):
                self._process.kill()

    def _close_pipe(self) -> None:
        """Tell the child that nothing more will come."""
        if self._input is not None:
            self._input.close()

    async def _spawn(self) -> None:
        self._input = ChildInput()
        try:
            self._process = await self._launch(self._input.reading)
        except BaseException:
            self._input.close()
            raise
        finally:
            self._input.hand_over()

    async def _launch(self, stdin: int) -> asyncio.subprocess.Process:
        return await asyncio.create_subprocess_exec(
            sys.executable,
            "-m",
            self.MODULE,
            f"--bind={self.endpoint or self._bind}",  # the same port again where any was allowed
            *self._security.arguments(),
            *self.arguments(),
            stdin=stdin,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.PIPE,
            start_new_session=True,  # Ctrl-C at the terminal is for the daemon alone: it ends its children in order
        )

    async def _watch(self) -> None:
        """Read the child's reports; when it dies, start another, also for what one that is to end has left undone."""
        quick_deaths = at_the_end = hit = 0
        while True:
            process, started = self._process, time.monotonic()
            assert process is not None and process.stdout is not None  # noqa: S101 - made with pipes
            assert process.stderr is not None  # noqa: S101 - made with pipes
            name = f"daqd-{self.MODULE.rpartition('.')[2]}"
            listening = asyncio.create_task(relay(process.stderr, name), name=f"log of {name}")
            while line := await process.stdout.readline():
                report = decode_report(line)
                if report is not None:
                    self._take(report)
            await process.wait()
            await listening
            if not self._ready.is_set():
                # Until it has a session of its own, what is sent to our whole group ends it.
                hit += process.returncode in _MEANT_FOR_US
                if process.returncode not in _MEANT_FOR_US or hit > _MOST_HIT or not await self._replace():
                    return
                continue
            if self._stop_asked.is_set():
                if process.returncode == 0 or self._given_up or at_the_end == _MOST_AT_THE_END:
                    return
                at_the_end += 1
            quick_deaths = 1 if time.monotonic() - started > _STABLE_S else quick_deaths + 1
            pause_s = _BACKOFF_S[min(quick_deaths, len(_BACKOFF_S)) - 1]
            log.warning("the %s died (%s); another one starts in %g s", self.NAME, _death(process.returncode), pause_s)
            self.restarts += 1
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(self._stop_asked.wait(), pause_s)
            # Also where `stop` has come meanwhile: what is left is done before the end.
            if not await self._replace():
                return

    async def _replace(self) -> bool:
        """Start another one for one that is gone, to end at once where `stop` has come; whether it could be."""
        self._close_pipe()
        if not await self._spawn_another():
            return False
        if self._stop_asked.is_set():
            self._close_pipe()
        if self._given_up:
            self._kill()
        return True

    async def _spawn_another(self) -> bool:
        """Start another one, as soon as the system lets us; False where it does not and the end is asked for.

        It may be out of memory, processes or descriptors for a while: that is no reason to do without for the night.
        """
        said = ""
        while True:
            try:
                await self._spawn()
            except OSError as error:
                if str(error) != said:
                    said = str(error)
                    log.error("the %s cannot be started: %s; it is tried again", self.NAME, reason_of(error))
            else:
                return True
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(self._stop_asked.wait(), _BACKOFF_S[-1])
            if self._stop_asked.is_set():
                return False

    def _take(self, report: Report) -> None:
        if report.kind == "ready":
            self.endpoint = report.endpoint
            self._ready.set()
        self._on_report(report)


def _death(returncode: int | None) -> str:
    if returncode is not None and returncode < 0:
        return f"signal {-returncode}"
    return f"exit code {returncode}"
