"""The parts of the daemon, wired to each other: started in order, stopped in reverse."""

import asyncio
import contextlib
import logging
import platform
from collections.abc import Callable, Coroutine
from functools import partial
from typing import Any

from astropix_runtime.process.logs import OperatorLog
from astropix_runtime.sockets.request_server import RequestServer
from astropix_runtime.storage.process_lock import ProcessLock
from daqd.acquisition.disk_watch import DiskWatch
from daqd.boards.board import Board
from daqd.children.programs import Publisher, history_server
from daqd.configuration.config import Config
from daqd.control_commands import execute
from daqd.daemon_state import DaemonStateMachine
from daqd.errors import DaqError
from daqd.run_control import RunControl
from daqd.runs.repair import repair_runs
from daqd.runs.run_store import RunStore
from daqd.status import StatusBoard
from protocol.version import __version__
from protocol.wire.messages import Stat

log = logging.getLogger(__name__)

_STAT_INTERVAL_S = 1.0


class Daemon:
    """Run control with its board, its two children, the control socket, and who looks after the disk and the state.

    `start`, `watch`, then `stop`: in the running event loop. `server`: has the control socket, and answers nobody
    yet. `on_stat` is given the state each time it is published.
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
        self._publisher = Publisher(
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
        """Take the lock that only one can have, repair what was left open, start the children, listen.

        Where one of them cannot be had, `DaqError`, and none is left behind. `give_up`: asked within long repairs.
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
        """From now on look at the disk, and publish the state and what the log says."""
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
        """End the run if there is one, and everything else; False where that was given up, and threads are stuck."""
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
    """Wait for all of them, then raise what the first one that failed had to say."""
    for said in await asyncio.gather(*starting, return_exceptions=True):
        if isinstance(said, BaseException):
            raise said


def software() -> dict[str, str]:
    """What took the data, for records and file headers."""
    return {
        "name": "astropix-daq",
        "version": __version__,
        "python": platform.python_version(),
        "host": platform.node(),
    }
