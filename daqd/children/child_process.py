"""The daemon's side of a child: starts it, replaces it when it dies, exchanges messages with it, ends it."""

import asyncio
import contextlib
import logging
import os
import re
import sys
import threading
import time
from collections.abc import Callable, Sequence

from astropix_runtime.process.signals import END_SIGNALS
from daqd.children.messages import FromChild, Ready, decode_from_child
from daqd.configuration.config import SecuritySection
from daqd.errors import DaqError
from protocol.text import reason_of

log = logging.getLogger(__name__)

_READY_S = 60.0
"""Long enough for a computer that is still starting up; a child that dies is not waited for."""
_STOP_S = 10.0
_BACKOFF_S = (0.05, 0.5, 1.0)
_STABLE_S = 30.0
_MAX_AT_THE_END = 2
"""Children that are started for what is left at the end, if the one before dies of it."""
_END_RETURNCODES = {-number for number in END_SIGNALS}
_MAX_SIGNALLED = 3
"""Children that a signal to the daemon's group may end before they are ready."""

_PRIORITY = re.compile(r"<([0-7])>")
_LEVELS = (*[logging.CRITICAL] * 3, logging.ERROR, logging.WARNING, logging.INFO, logging.INFO, logging.DEBUG)
_MAX_LOG_CHUNK = 8192


class ChildError(DaqError):
    """A child does not start."""


class ChildProcess:
    """One program of ours, alive as long as the daemon wants it; none is started if `bind` is empty.

    `name`: what messages call it. `module`: what `python -m` runs. `bind`: where it is to listen; `endpoint`: where it
    does, which a replacement takes again. `arguments`: what its command line has beside `--bind` and the keys. The end
    of its input means that nothing more will come. `on_message` is called in the event loop. `restarts`: how often it
    died.
    """

    def __init__(
        self,
        name: str,
        module: str,
        bind: str,
        arguments: Sequence[str],
        on_message: Callable[[FromChild], None],
        security: SecuritySection | None = None,
    ) -> None:
        self.name = name
        self.module = module
        self._bind = bind
        self._arguments = arguments
        self._on_message = on_message
        self._security = security or SecuritySection()
        self._process: asyncio.subprocess.Process | None = None
        self._input: ChildInput | None = None
        self._watcher: asyncio.Task[None] | None = None
        self._ready = asyncio.Event()
        self._stop_asked = asyncio.Event()
        self._given_up = False
        self.restarts = 0
        self.endpoint = ""

    def arguments(self) -> list[str]:
        """Arguments of the next process, beside `--bind` and the keys."""
        return list(self._arguments)

    @property
    def pid(self) -> int | None:
        """Process id of the child that runs now."""
        return self._process.pid if self._process is not None and self._process.returncode is None else None

    async def start(self) -> None:
        """Start the child and wait until it is ready; `ChildError` if it cannot be started."""
        if not self._bind:
            return
        try:
            await self._spawn()
        except OSError as error:
            raise ChildError(f"the {self.name} cannot be started: {reason_of(error)}") from error
        self._watcher = asyncio.create_task(self._watch(), name=self.name)
        ready = asyncio.create_task(self._ready.wait())
        done, _ = await asyncio.wait({ready, self._watcher}, timeout=_READY_S, return_when=asyncio.FIRST_COMPLETED)
        if not self._ready.is_set():
            why = (
                "its message is above" if done else f"it was not ready after {_READY_S:g} s: is this computer too busy?"
            )
            ready.cancel()
            self._kill()  # what has not begun has nothing to finish
            await self.stop()
            raise ChildError(f"the {self.name} did not start at {self._bind}; {why}")

    def send_line(self, line: bytes) -> None:
        """Send an encoded message, from any thread. A child that does not read its input misses some."""
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
            log.warning("the %s had more to do after %.0f s and was ended", self.name, _STOP_S)
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
            self._input.close_reading()

    async def _launch(self, stdin: int) -> asyncio.subprocess.Process:
        return await asyncio.create_subprocess_exec(
            sys.executable,
            "-m",
            self.module,
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
        quick_deaths = at_the_end = signalled = 0
        while True:
            process, started = self._process, time.monotonic()
            assert process is not None and process.stdout is not None  # noqa: S101 - made with pipes
            assert process.stderr is not None  # noqa: S101 - made with pipes
            name = f"daqd-{self.module.rpartition('.')[2]}"
            listening = asyncio.create_task(relay_log(process.stderr, name), name=f"log of {name}")
            while line := await process.stdout.readline():
                message = decode_from_child(line)
                if message is not None:
                    self._receive(message)
            await process.wait()
            await listening
            if not self._ready.is_set():
                # Until it has a session of its own, what is sent to our whole group ends it.
                signalled += process.returncode in _END_RETURNCODES
                if (
                    process.returncode not in _END_RETURNCODES
                    or signalled > _MAX_SIGNALLED
                    or not await self._replace()
                ):
                    return
                continue
            if self._stop_asked.is_set():
                if process.returncode == 0 or self._given_up or at_the_end == _MAX_AT_THE_END:
                    return
                at_the_end += 1
            quick_deaths = 1 if time.monotonic() - started > _STABLE_S else quick_deaths + 1
            pause_s = _BACKOFF_S[min(quick_deaths, len(_BACKOFF_S)) - 1]
            log.warning("the %s died (%s); another one starts in %g s", self.name, _death(process.returncode), pause_s)
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
        complaint = ""
        while True:
            try:
                await self._spawn()
            except OSError as error:
                if str(error) != complaint:
                    complaint = str(error)
                    log.error("the %s cannot be started: %s; it is tried again", self.name, reason_of(error))
            else:
                return True
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(self._stop_asked.wait(), _BACKOFF_S[-1])
            if self._stop_asked.is_set():
                return False

    def _receive(self, message: FromChild) -> None:
        if isinstance(message, Ready):
            self.endpoint = message.endpoint
            self._ready.set()
        self._on_message(message)


def _death(returncode: int | None) -> str:
    if returncode is not None and returncode < 0:
        return f"signal {-returncode}"
    return f"exit code {returncode}"


class ChildInput:
    """The daemon's end of a child's standard input: lines from any thread; `send` never waits.

    A child that does not read misses lines: it gets each one whole or not at all. `reading` is the child's end;
    `close_reading` closes it here once the child has it.
    """

    def __init__(self) -> None:
        self.reading, self._writing = os.pipe()
        if sys.platform != "win32":  # pipes of Windows always block; the child has a thread there that reads
            os.set_blocking(self._writing, False)
        self._lock = threading.Lock()
        self._closed = False
        self._rest = b""
        """The part of a line that found no more room."""

    def close_reading(self) -> None:
        """Close the child's end: the child has it, or will never have it."""
        os.close(self.reading)

    def send(self, line: bytes) -> None:
        """Send a line, newline included, if there is room for it and a process that reads it."""
        with self._lock, contextlib.suppress(BlockingIOError, BrokenPipeError):
            if self._closed:
                return
            if self._rest:
                self._rest = self._rest[os.write(self._writing, self._rest) :]
            if not self._rest:
                self._rest = line[os.write(self._writing, line) :]

    def close(self) -> None:
        """End the child's input. May be called twice."""
        with self._lock:
            if not self._closed:
                self._closed = True
                os.close(self._writing)


async def relay_log(stderr: asyncio.StreamReader, name: str) -> None:
    """Log every line of a child's standard error under the name of the child, until it is closed.

    A line may begin with a priority, as in the journal: `<3>`. Others, from libraries or the interpreter, are warnings.
    The lines do not go onto the stream: what the publisher logs about publishing would come back to it.
    """
    logger = logging.getLogger(name)
    begun = b""
    while chunk := await stderr.read(_MAX_LOG_CHUNK):
        *lines, begun = (begun + chunk).split(b"\n")
        if len(begun) >= _MAX_LOG_CHUNK:
            lines, begun = [*lines, begun], b""
        for line in lines:
            _log_line(logger, line)
    _log_line(logger, begun)


def _log_line(logger: logging.Logger, line: bytes) -> None:
    text = line.decode(errors="replace")
    priority = _PRIORITY.match(text)
    text = text[3:] if priority else text
    if text.strip():
        logger.log(_LEVELS[int(priority[1])] if priority else logging.WARNING, "%s", text.rstrip())
