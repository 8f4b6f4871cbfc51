"""The daemon as a service: from the start to the end that a signal or a command asks for."""

import asyncio
import logging
import os
from typing import NoReturn

from astropix_runtime.command_line.program import FAILED, OK
from astropix_runtime.process.signals import ProcessSignals
from astropix_runtime.storage.process_lock import ProcessLock
from daqd.boards.factory import open_board
from daqd.configuration.config import Config
from daqd.control import control_server
from daqd.control_commands import execute
from daqd.daemon import Daemon
from daqd.daemon_state import Cause
from daqd.errors import DaqError, RunControlError, code_of
from daqd.process.supervision import Supervision
from daqd.process.systemd import ServiceManager
from daqd.run_control import RunControl
from daqd.runs.run_store import RunStore
from daqd.server_keys import load_server_keys

log = logging.getLogger(__name__)


def end_at_once(code: int) -> NoReturn:
    """End the process although threads of it are stuck, in calls that will perhaps never come back."""
    logging.shutdown()
    os._exit(code)


class Service:
    """One daemon. `run` returns its exit code: `OK` after an orderly end, another where it could not start.

    It ends in order when `signals` say so.
    """

    def __init__(self, config: Config, signals: ProcessSignals) -> None:
        self._config = config
        self._signals = signals
        self._daemon: Daemon | None = None
        self._stop_asked = asyncio.Event()
        self._rotating: set[asyncio.Task[None]] = set()

    @property
    def run_number(self) -> int | None:
        """The run that is being taken."""
        return None if self._daemon is None else self._daemon.control.run_number

    async def run(self, manager: ServiceManager, autostart: dict[str, object] | None = None) -> int:
        """Serve until told to end, and tell `manager` how it goes; `autostart`: arguments of a run to start at once."""
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
        daemon = self._daemon = Daemon(config, store, board, server, supervision.tell)
        lock = store.lock()
        with self._signals.heard_by(self._stop_asked.set, lambda: self._rotate_soon(daemon.control, supervision)):
            try:
                return await self._serve(daemon, supervision, lock, autostart)
            finally:
                lock.release()

    async def _serve(
        self, daemon: Daemon, supervision: Supervision, lock: ProcessLock, autostart: dict[str, object] | None
    ) -> int:
        try:
            async with supervision.taking_long():
                await daemon.start(lock, self._stop_asked.is_set)
        except DaqError as error:
            if self._stop_asked.is_set():
                return OK  # the signal reached the publisher, too, before it could ignore it
            log.error("%s", error)
            return FAILED
        await daemon.watch()
        code = OK
        if autostart is not None and not self._stop_asked.is_set():
            async with supervision.taking_long():
                code = await self._start(daemon.control, autostart)
        async with supervision.watching():
            if code == OK and not self._stop_asked.is_set():
                supervision.ready()
                await self._wait(daemon.control)
            daemon.state.change(Cause.DAEMON_ENDS)
            supervision.stopping()
            log.info("ending")
            async with supervision.taking_long():
                settled = await daemon.stop()
                await self._rotate_no_more()
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
            await execute(control, "start", dict(args))
        except RunControlError as error:
            log.error("cannot start a run: %s", error)
            return FAILED
        return OK

    async def _wait(self, control: RunControl) -> None:
        """Until a signal or a command ends the daemon."""
        signalled = asyncio.create_task(self._stop_asked.wait())
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
        """What SIGHUP asks for."""
        with supervision.reloading():
            try:
                run = (await execute(control, "rotate", {}))["run"]
            except RunControlError as error:
                log.info("SIGHUP: %s", error)
            else:
                log.info("SIGHUP: run %d goes on in its next file", run)

    async def _rotate_no_more(self) -> None:
        for task in self._rotating:
            task.cancel()
        await asyncio.gather(*self._rotating, return_exceptions=True)
