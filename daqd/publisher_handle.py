"""The daemon's side of its publisher: starts the child, restarts it when it dies, talks to it."""

import asyncio
import contextlib
import logging
import sys
import time
from collections.abc import Callable
from pathlib import Path

from daqd.config import SecuritySection, StreamSection
from daqd.errors import DaqError
from daqd.notices import Notice, Report, decode_report, encode_line
from protocol.messages import LogLine, Stat

log = logging.getLogger(__name__)

_READY_S = 20.0
_STOP_S = 10.0
_BACKOFF_S = (0.05, 0.5, 1.0, 2.0, 5.0)
_STABLE_S = 30.0
_MAX_PENDING_BYTES = 1 << 16
_WAKE = encode_line(Notice())


class PublisherError(DaqError):
    """The publisher does not start."""


class PublisherHandle:
    """One publisher, alive as long as the daemon wants it.

    `on_report` is called in the event loop for every report of the child. A child that does not read its notices misses
    some; it looks into the files anyway.
    """

    def __init__(
        self,
        stream: StreamSection,
        daq: str,
        data_dir: Path,
        after_run: int,
        on_report: Callable[[Report], None],
        security: SecuritySection | None = None,
    ) -> None:
        self._stream = stream
        self._security = security or SecuritySection()
        self._daq = daq
        self._data_dir = data_dir
        self._after_run = after_run
        self._on_report = on_report
        self._process: asyncio.subprocess.Process | None = None
        self._watcher: asyncio.Task[None] | None = None
        self._ready = asyncio.Event()
        self._stop_asked = asyncio.Event()
        self.restarts = 0
        self.endpoint = ""

    @property
    def pid(self) -> int | None:
        """Process id of the child that runs now."""
        return self._process.pid if self._process is not None and self._process.returncode is None else None

    async def start(self) -> None:
        """Start the child and wait until it publishes; `PublisherError` where it cannot."""
        await self._spawn()
        self._watcher = asyncio.create_task(self._watch(), name="publisher")
        ready = asyncio.create_task(self._ready.wait())
        await asyncio.wait({ready, self._watcher}, timeout=_READY_S, return_when=asyncio.FIRST_COMPLETED)
        if not self._ready.is_set():
            ready.cancel()
            await self.stop()
            raise PublisherError(f"the publisher did not start at {self._stream.bind}; its message is above")

    def wake(self) -> None:
        """Tell it that there is more in the files."""
        self._write(_WAKE)

    def send_stat(self, stat: Stat) -> None:
        """Have the daemon's state published."""
        self._write(encode_line(Notice(stat=stat)))

    def send_log(self, line: LogLine) -> None:
        """Have a line for the operator published."""
        self._write(encode_line(Notice(log=line)))

    async def stop(self) -> None:
        """Let it publish what is there, and end; kill it where it does not in time."""
        self._stop_asked.set()
        self._close_pipe()
        if self._watcher is None:
            return
        done, _ = await asyncio.wait({self._watcher}, timeout=_STOP_S)
        if not done and self._process is not None:
            log.warning("the publisher had more to publish after %.0f s and was ended", _STOP_S)
            with contextlib.suppress(ProcessLookupError):
                self._process.kill()
        await asyncio.gather(self._watcher, return_exceptions=True)

    def _close_pipe(self) -> None:
        """Tell the child that nothing more will come."""
        if self._process is not None and self._process.stdin is not None:
            self._process.stdin.close()

    def _write(self, line: bytes) -> None:
        process = self._process
        if process is None or process.stdin is None or process.stdin.is_closing():
            return
        if process.stdin.transport.get_write_buffer_size() < _MAX_PENDING_BYTES:
            process.stdin.write(line)

    async def _spawn(self) -> None:
        arguments = [
            f"--data-dir={self._data_dir}",
            f"--daq={self._daq}",
            f"--bind={self.endpoint or self._stream.bind}",  # the same port again where any was allowed
            f"--batch-s={self._stream.batch_ms / 1000}",
            f"--max-hits={self._stream.max_hits}",
            f"--high-water={self._stream.high_water}",
            f"--after-run={self._after_run}",
            f"--checkpoint={self._data_dir / 'publisher.checkpoint'}",
            f"--restarts={self.restarts}",
            *(["--raw"] if self._stream.raw else []),
            *self._security.arguments(),
        ]
        self._process = await asyncio.create_subprocess_exec(
            sys.executable,
            "-m",
            "daqd.publish",
            *arguments,
            stdin=asyncio.subprocess.PIPE,
            stdout=asyncio.subprocess.PIPE,
            start_new_session=True,  # Ctrl-C at the terminal is for the daemon alone: it ends its child in order
        )

    async def _watch(self) -> None:
        """Read the child's reports; when it dies, start another."""
        quick_deaths = 0
        while True:
            process, started = self._process, time.monotonic()
            assert process is not None and process.stdout is not None  # noqa: S101 - made with pipes
            while line := await process.stdout.readline():
                report = decode_report(line)
                if report is not None:
                    self._take(report)
            await process.wait()
            if self._stop_asked.is_set() or not self._ready.is_set():
                return
            quick_deaths = 0 if time.monotonic() - started > _STABLE_S else quick_deaths + 1
            pause_s = _BACKOFF_S[min(quick_deaths, len(_BACKOFF_S)) - 1]
            log.warning("the publisher died (%s); another one starts in %g s", _death(process.returncode), pause_s)
            self.restarts += 1
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(self._stop_asked.wait(), pause_s)
            with contextlib.suppress(BrokenPipeError, ConnectionResetError):
                self._close_pipe()
            await self._spawn()  # also where `stop` has come meanwhile: what is left is published before the end
            if self._stop_asked.is_set():
                self._close_pipe()

    def _take(self, report: Report) -> None:
        if report.kind == "ready":
            self.endpoint = report.endpoint
            self._ready.set()
        self._on_report(report)


def _death(returncode: int | None) -> str:
    if returncode is not None and returncode < 0:
        return f"signal {-returncode}"
    return f"exit code {returncode}"
