"""The daemon: its parts, wired to each other, and the service that runs until a signal or a command ends it."""

import asyncio
import contextlib
import logging
import os
import platform
from collections.abc import Callable, Coroutine
from functools import partial
from typing import Any, NoReturn

from astropix_runtime.command_line.program import FAILED, OK
from astropix_runtime.process.logs import OperatorLog
from astropix_runtime.process.signals import ProcessSignals
from astropix_runtime.sockets.request_server import RequestServer
from astropix_runtime.storage.process_lock import ProcessLock
from daqd.acquisition.disk_watch import DiskWatch
from daqd.boards.board import Board
from daqd.boards.factory import open_board
from daqd.children.programs import PublisherHandle, history_server
from daqd.configuration.config import Config
from daqd.control import control_server
from daqd.control_commands import execute
from daqd.daemon_state import Cause, DaemonStateMachine
from daqd.errors import DaqError, RunControlError, code_of
from daqd.process.supervision import Supervision
from daqd.process.systemd import ServiceManager
from daqd.run_control import RunControl
from daqd.runs.repair import repair_runs
from daqd.runs.run_store import RunStore
from daqd.server_keys import load_server_keys
from daqd.status import StatusBoard
from protocol.version import __version__
from protocol.wire.messages import Stat

log = logging.getLogger(__name__)

_STAT_INTERVAL_S = 1.0


class Daemon:
    """Run control with its board, two child processes, the control socket, and the watch over disk and state.

    `start`, `watch`, then `stop`: in the running event loop. `server` has the control socket and is not started yet.
    `on_stat` receives the state each time it is published.
    """

    def __init__(
        self, config: Config, store: RunStore, board: Board, server: RequestServer, on_stat: Callable[[Stat], None]
    ) -> None:
        self._loop = asyncio.get_running_loop()
        self._config = config
        self._store = store
        self._on_stat = on_stat
        self._stat_due = asyncio.Event()
        self._disk = DiskWatch(store.data_dir, config.disk)
        self.state = DaemonStateMachine(self._stat_due.set)
        self.status = StatusBoard(
            self.state,
            board,
            config.board.transport,
            config.board.chips,
            self._disk,
            __version__,
            lambda: self._history.endpoint,
        )
        last_run = store.last_run()
        self._publisher = PublisherHandle(
            config.stream,
            config.daq.name,
            store.data_dir,
            last_run,
            lambda message: self.control.receive(message),
            config.security,
        )
        self._history = history_server(
            config.stream.catch_up,
            store.data_dir,
            last_run,
            lambda message: self.control.receive(message),
            config.security,
        )
        self.control = RunControl(config, board, store, self._publisher, self.state, self.status, software())
        self._server = server
        self._operator_log = OperatorLog(partial(self._in_the_loop, self._publisher.send_log))
        self._ticker: asyncio.Task[None] | None = None

    async def start(self, lock: ProcessLock, give_up: Callable[[], bool]) -> None:
        """Take the lock, repair runs that were left open, start the child processes, and begin to answer.

        `DaqError` where one of these fails; nothing is left behind then. Long repairs end where `give_up()` is true.
        """
        try:
            lock.acquire()
            await asyncio.to_thread(repair_runs, self._store, give_up)
            await _all(self._publisher.start(), self._history.start())
            self._server.start(partial(execute, self.control))
        except DaqError:
            await asyncio.gather(self._publisher.stop(), self._history.stop(), self._server.stop())
            raise

    async def watch(self) -> None:
        """Begin to watch the disk and to publish the state and the log."""
        logging.getLogger("daqd").addHandler(self._operator_log)
        await asyncio.to_thread(self._disk.look)
        self._disk.start(partial(self._in_the_loop, self.control.end_for_disk))
        self._ticker = asyncio.create_task(self._tick(), name="stat")
        stream = self._config.stream
        publisher, history = self._publisher.endpoint, self._history.endpoint
        log.info("%s publishes at %s, listens at %s", self._config.daq.name, publisher, self._server.endpoint)
        if stream.insecure:
            open_to_all = " or ".join(filter(None, (publisher, history)))
            log.warning("stream.insecure is set: every machine that reaches %s can read it", open_to_all)

    async def stop(self) -> bool:
        """End the run, if there is one, and all parts; False where threads are stuck and were left behind."""
        ended = await self.control.close()
        self._disk.stop()
        if self._ticker is not None:
            self._ticker.cancel()
            await asyncio.gather(self._ticker, return_exceptions=True)
        self._publisher.send_stat(self.status.stat())
        logging.getLogger("daqd").removeHandler(self._operator_log)
        await asyncio.gather(self._publisher.stop(), self._history.stop())
        settled = ended and await self.control.settle()
        await self._server.stop()
        return settled

    async def _tick(self) -> None:
        """Publish the state once a second, and whenever it changes."""
        while True:
            stat = self.status.stat()
            self._publisher.send_stat(stat)
            self._on_stat(stat)
            # Not wait_for: until Python 3.12 it forgets a cancellation that comes together with what it waits for.
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(_STAT_INTERVAL_S):
                    await self._stat_due.wait()
            self._stat_due.clear()

    def _in_the_loop(self, call: Callable[..., None], *args: Any) -> None:
        """From any thread."""
        if not self._loop.is_closed():
            self._loop.call_soon_threadsafe(call, *args)


async def _all(*starting: Coroutine[Any, Any, None]) -> None:
    """Wait for all of them, then raise the first error."""
    for result in await asyncio.gather(*starting, return_exceptions=True):
        if isinstance(result, BaseException):
            raise result


def software() -> dict[str, str]:
    """Name and version of what takes the data, for records and file headers."""
    return {
        "name": "astropix-daq",
        "version": __version__,
        "python": platform.python_version(),
        "host": platform.node(),
    }


def end_at_once(code: int) -> NoReturn:
    """End the process although some of its threads are stuck in calls that may never return."""
    logging.shutdown()
    os._exit(code)


class Service:
    """Runs one daemon until one of `signals`, or a command, ends it."""

    def __init__(self, config: Config, signals: ProcessSignals) -> None:
        self._config = config
        self._signals = signals
        self._daemon: Daemon | None = None
        self._stop_requested = asyncio.Event()
        self._rotating: set[asyncio.Task[None]] = set()

    @property
    def run_number(self) -> int | None:
        """The run that is being taken."""
        return None if self._daemon is None else self._daemon.control.run_number

    async def run(self, manager: ServiceManager, autostart: dict[str, object] | None = None) -> int:
        """Serve, keep `manager` informed, and return the exit code: `OK` after an orderly end.

        `autostart`: arguments of a run to start at once.
        """
        config = self._config
        security = config.security
        store = RunStore(config.daq.data_dir.absolute())
        try:
            store.prepare()
            board = open_board(config)
            keys = load_server_keys(security.server_key, security.client_keys) if security.keys else None
            server = control_server(config.control_endpoint, keys)
        except DaqError as error:
            log.error("%s", error)
            return code_of(error)
        supervision = Supervision(manager, lambda: daemon.control.progress)
        daemon = self._daemon = Daemon(config, store, board, server, supervision.report)
        lock = store.lock()
        with self._signals.heard_by(self._stop_requested.set, lambda: self._rotate_soon(daemon.control, supervision)):
            try:
                return await self._serve(daemon, supervision, lock, autostart)
            finally:
                lock.release()

    async def _serve(
        self, daemon: Daemon, supervision: Supervision, lock: ProcessLock, autostart: dict[str, object] | None
    ) -> int:
        try:
            async with supervision.taking_long():
                await daemon.start(lock, self._stop_requested.is_set)
        except DaqError as error:
            if self._stop_requested.is_set():
                return OK  # the signal reached the publisher, too, before it could ignore it
            log.error("%s", error)
            return FAILED
        await daemon.watch()
        code = OK
        if autostart is not None and not self._stop_requested.is_set():
            async with supervision.taking_long():
                code = await self._start(daemon.control, autostart)
        async with supervision.watching():
            if code == OK and not self._stop_requested.is_set():
                supervision.ready()
                await self._wait(daemon.control)
            daemon.state.change(Cause.DAEMON_ENDS)
            supervision.stopping()
            log.info("ending")
            async with supervision.taking_long():
                settled = await daemon.stop()
                await self._cancel_rotations()
        if not settled:
            end_at_once(FAILED)
        return code

    async def _start(self, control: RunControl, args: dict[str, object]) -> int:
        """Start a run. Where the daemon is to end before that is done, its end waits for the start."""
        starting = asyncio.create_task(self._try_to_start(control, args))
        stopping = asyncio.create_task(self._stop_requested.wait())
        await asyncio.wait({starting, stopping}, return_when=asyncio.FIRST_COMPLETED)
        stopping.cancel()
        return starting.result() if starting.done() else OK

    @staticmethod
    async def _try_to_start(control: RunControl, args: dict[str, object]) -> int:
        try:
            await execute(control, "start", dict(args))
        except RunControlError as error:
            log.error("cannot start a run: %s", error)
            return FAILED
        return OK

    async def _wait(self, control: RunControl) -> None:
        """Wait until a signal or a command ends the daemon."""
        signalled = asyncio.create_task(self._stop_requested.wait())
        commanded = asyncio.create_task(control.shutdown_requested.wait())
        await asyncio.wait({signalled, commanded}, return_when=asyncio.FIRST_COMPLETED)
        for task in (signalled, commanded):
            task.cancel()

    def _rotate_soon(self, control: RunControl, supervision: Supervision) -> None:
        task = asyncio.get_running_loop().create_task(self._rotate(control, supervision), name="rotate")
        self._rotating.add(task)
        task.add_done_callback(self._rotating.discard)

    @staticmethod
    async def _rotate(control: RunControl, supervision: Supervision) -> None:
        """Rotate, as SIGHUP asks for."""
        with supervision.reloading():
            try:
                run = (await execute(control, "rotate", {}))["run"]
            except RunControlError as error:
                log.info("SIGHUP: %s", error)
            else:
                log.info("SIGHUP: run %d goes on in its next file", run)

    async def _cancel_rotations(self) -> None:
        for task in self._rotating:
            task.cancel()
        await asyncio.gather(*self._rotating, return_exceptions=True)
