"""History of a replay: keeps the process that serves it alive, in a thread beside the publishing."""

import asyncio
import contextlib
import threading
import time
from collections.abc import Callable
from pathlib import Path

from daqd.children.child_process import ChildError
from daqd.children.messages import FromChild, HistoryRequested
from daqd.children.programs import replay_history_server
from daqd.configuration.config import SecuritySection

_JOIN_S = 30.0


class ReplayHistory:
    """Serves at `bind` the history of the replay that writes its progress to a file; a context manager.

    `endpoint`: where it serves, once it does; empty before. `any_port`: use any other port if that of `bind` is taken.
    """

    def __init__(self, bind: str, progress: Path, security: SecuritySection, *, any_port: bool) -> None:
        self._child = replay_history_server(bind, progress, self._receive, security, any_port=any_port)
        self._requested_at: float | None = None
        self._settled = threading.Event()
        self._failure: ChildError | None = None
        self._loop = asyncio.new_event_loop()
        self._stop = asyncio.Event()
        self._thread = threading.Thread(target=self._run, name="past of the replay")

    @property
    def endpoint(self) -> str:
        """Where it serves; the same after it was killed."""
        return self._child.endpoint

    def requested_within(self, seconds: float) -> bool:
        """Whether a client has asked for history in the last `seconds`."""
        return self._requested_at is not None and time.monotonic() - self._requested_at < seconds

    def wait_until_ready(self, give_up: Callable[[], bool]) -> None:
        """Wait until it serves, or `give_up()` is true; `ChildError` if it cannot be started."""
        while not self._settled.wait(0.1) and not give_up():
            pass
        if self._failure is not None:
            raise self._failure

    def _receive(self, message: FromChild) -> None:
        if isinstance(message, HistoryRequested):
            self._requested_at = time.monotonic()

    def _run(self) -> None:
        with asyncio.Runner(loop_factory=lambda: self._loop) as runner:
            runner.run(self._keep())

    async def _keep(self) -> None:
        starting = asyncio.create_task(self._child.start())
        stopping = asyncio.create_task(self._stop.wait())
        await asyncio.wait({starting, stopping}, return_when=asyncio.FIRST_COMPLETED)
        if stopping.done():
            await self._child.stop()  # it ends as soon as it has begun
        try:
            await starting
        except ChildError as error:
            self._failure = error
        else:
            self._settled.set()
            await stopping
        finally:
            self._settled.set()
            stopping.cancel()
            await self._child.stop()

    def __enter__(self) -> "ReplayHistory":
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        with contextlib.suppress(RuntimeError):  # the loop is closed already, where it has failed
            self._loop.call_soon_threadsafe(self._stop.set)
        self._thread.join(_JOIN_S)
