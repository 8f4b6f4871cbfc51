"""The daemon: everything wired, started in order, stopped in reverse."""

import asyncio
import contextlib
import logging
import os
import platform
from collections.abc import Coroutine
from typing import Any, NoReturn

from daqd.acquisition.disk_watch import DiskWatch
from daqd.boards.board import Board
from daqd.boards.factory import open_board
from daqd.children.history_handle import HistoryHandle
from daqd.children.publisher_handle import PublisherHandle
from daqd.configuration.config import Config
from daqd.control import ControlServer
from daqd.errors import DaqError, RunControlError
from daqd.exit_codes import FAILED, OK, code_of
from daqd.process.logs import OperatorLog
from daqd.process.process_lock import ProcessLock
from daqd.process.signals import ProcessSignals
from daqd.process.supervision import Supervision
from daqd.process.systemd import ServiceManager
from daqd.run_control import RunControl
from daqd.runs.repair import repair_runs
from daqd.runs.run_store import RunStore
from daqd.sockets.curve import ServerKeys, load_server_keys
from daqd.status import StatusBoard
from protocol.version import __version__
from protocol.wire.messages import LogLine

log = logging.getLogger(__name__)

_STAT_INTERVAL_S = 1.0


def end_at_once(code: int) -> NoReturn:
    """End the process although threads of it are stuck, in calls that will perhaps never come back."""
    logging.shutdown()
    os._exit(code)


def software() -> dict[str, str]:
    """What took the data, for records and file headers."""
    return {
        "name": "astropix-daq",
        "version": __version__,
        "python": platform.python_version(),
        "host": platform.node(),
    }


async def _all(*starting: Coroutine[Any, Any, None]) -> None:
    """Wait for all of them, then raise what the first one that failed had to say."""
    for said in await asyncio.gather(*starting, return_exceptions=True):
        if isinstance(said, BaseException):
            raise said


class Service:
    """One daemon. `run` returns its exit code: `OK` after an orderly end, another where it could not start.

    It ends in order when `signals` say so.
    """

    def __init__(self, config: Config, signals: ProcessSignals) -> None:
        self._config = config
        self._signals = signals
        self._control: RunControl | None = None
        self._loop: asyncio.AbstractEventLoop | None = None
        self._stop_asked = asyncio.Event()
        self._rotating: set[asyncio.Task[None]] = set()
        self._keys: ServerKeys | None = None

    @property
    def run_number(self) -> int | None:
        """The run that is being taken."""
        return None if self._control is None else self._control.run_number

    async def run(self, manager: ServiceManager, autostart: dict[str, object] | None = None) -> int:
        """Serve until told to end, and tell `manager` how it goes; `autostart`: arguments of a run to start at once."""
        self._loop = asyncio.get_running_loop()
        config = self._config
        store = RunStore(config.daq.data_dir.absolute())
        try:
            store.prepare()
            board = open_board(config)
            if config.security.keys:
                self._keys = load_server_keys(config.security.server_key, config.security.client_keys)
        except DaqError as error:
            log.error("%s", error)
            return code_of(error)
        lock = store.lock()
        try:
            return await self._serve(manager, store, lock, board, autostart)
        finally:
            lock.release()

    async def _serve(
        self,
        manager: ServiceManager,
        store: RunStore,
        lock: ProcessLock,
        board: Board,
        autostart: dict[str, object] | None,
    ) -> int:
        config = self._config
        stat_due = asyncio.Event()
        disk = DiskWatch(store.data_dir, config.disk)
        status = StatusBoard(board, config.board.transport, config.board.chips, disk, __version__, stat_due.set)
        last_run = store.last_run()
        publisher = PublisherHandle(
            config.stream,
            config.daq.name,
            store.data_dir,
            last_run,
            lambda report: control.take_report(report),
            config.security,
        )
        history = HistoryHandle(
            config.stream.catch_up,
            store.data_dir,
            last_run,
            lambda run, ledger: control.add_ledger(run, ledger),
            config.security,
        )
        control = self._control = RunControl(config, board, store, publisher, status, software())
        server = ControlServer(config.control_endpoint, control.obey, self._keys)
        operator_log = OperatorLog(lambda line: self._send_log(publisher, line))
        supervision = Supervision(manager, lambda: control.progress)
        with self._signals.heard_by(self._stop_asked.set, lambda: self._rotate_soon(control, supervision)):
            try:
                async with supervision.taking_long():
                    server.open()
                    lock.acquire()
                    await asyncio.to_thread(repair_runs, store, self._stop_asked.is_set)
                    await _all(publisher.start(), history.start())
                    await server.start()
            except DaqError as error:
                await asyncio.gather(publisher.stop(), history.stop(), server.close())
                if self._stop_asked.is_set():
                    return OK  # the signal reached the publisher, too, before it could ignore it
                log.error("%s", error)
                return FAILED
            status.catch_up = history.endpoint
            logging.getLogger("daqd").addHandler(operator_log)
            await asyncio.to_thread(disk.look)
            disk.start(lambda reason: self._end_for_disk(control, reason))
            ticker = asyncio.create_task(self._tick(publisher, status, stat_due, supervision), name="stat")
            log.info("%s publishes at %s, listens at %s", config.daq.name, publisher.endpoint, server.endpoint)
            if config.stream.insecure:
                open_to_all = " or ".join(filter(None, (publisher.endpoint, history.endpoint)))
                log.warning("stream.insecure is set: every machine that reaches %s can read it", open_to_all)
            code = OK
            if autostart is not None and not self._stop_asked.is_set():
                async with supervision.taking_long():
                    code = await self._start(control, autostart)
            async with supervision.watching():
                if code == OK and not self._stop_asked.is_set():
                    supervision.ready()
                    await self._wait(control)
                status.enter("stopping")
                supervision.stopping()
                log.info("ending")
                async with supervision.taking_long():
                    ended = await control.close()
                    disk.stop()
                    for task in (ticker, *self._rotating):
                        task.cancel()
                    await asyncio.gather(ticker, *self._rotating, return_exceptions=True)
                    publisher.send_stat(status.stat())
                    logging.getLogger("daqd").removeHandler(operator_log)
                    await asyncio.gather(publisher.stop(), history.stop())
                    settled = ended and await control.settle()
                    await server.close()
        if not settled:
            end_at_once(FAILED)
        return code

    async def _start(self, control: RunControl, args: dict[str, object]) -> int:
        """Start a run; where the end of the daemon is asked for first, it is that which waits for the start."""
        starting = asyncio.create_task(self._try_to_start(control, args))
        stopping = asyncio.create_task(self._stop_asked.wait())
        await asyncio.wait({starting, stopping}, return_when=asyncio.FIRST_COMPLETED)
        stopping.cancel()
        return starting.result() if starting.done() else OK

    @staticmethod
    async def _try_to_start(control: RunControl, args: dict[str, object]) -> int:
        try:
            await control.obey("start", dict(args))
        except RunControlError as error:
            log.error("cannot start a run: %s", error)
            return FAILED
        return OK

    async def _wait(self, control: RunControl) -> None:
        """Until a signal or a command ends the daemon."""
        signalled = asyncio.create_task(self._stop_asked.wait())
        commanded = asyncio.create_task(control.shutdown_asked.wait())
        await asyncio.wait({signalled, commanded}, return_when=asyncio.FIRST_COMPLETED)
        for task in (signalled, commanded):
            task.cancel()

    async def _tick(
        self, publisher: PublisherHandle, status: StatusBoard, due: asyncio.Event, supervision: Supervision
    ) -> None:
        """Publish the state once a second, and whenever it changes."""
        while True:
            stat = status.stat()
            publisher.send_stat(stat)
            supervision.tell(stat)
            # Not wait_for: until Python 3.12 it forgets a cancellation that comes together with what it waits for.
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(_STAT_INTERVAL_S):
                    await due.wait()
            due.clear()

    def _send_log(self, publisher: PublisherHandle, line: LogLine) -> None:
        """From any thread."""
        if self._loop is not None and not self._loop.is_closed():
            self._loop.call_soon_threadsafe(publisher.send_log, line)

    def _end_for_disk(self, control: RunControl, reason: str) -> None:
        """From the thread that looks at the disk."""
        if self._loop is not None and not self._loop.is_closed():
            self._loop.call_soon_threadsafe(control.end_for_disk, reason)

    def _rotate_soon(self, control: RunControl, supervision: Supervision) -> None:
        task = asyncio.get_running_loop().create_task(self._rotate(control, supervision), name="rotate")
        self._rotating.add(task)
        task.add_done_callback(self._rotating.discard)

    @staticmethod
    async def _rotate(control: RunControl, supervision: Supervision) -> None:
        """What SIGHUP asks for."""
        with supervision.reloading():
            try:
                run = (await control.obey("rotate", {}))["run"]
            except RunControlError as error:
                log.info("SIGHUP: %s", error)
            else:
                log.info("SIGHUP: run %d goes on in its next file", run)
