"""Run control: what the daemon's commands do to the board and to its runs.

Every method is idempotent, or refuses with a code and the reason (docs/wire.md, "Control"). The states that follow are
in `daemon_state`.
"""

import asyncio
import contextlib
import logging
from collections.abc import Callable
from functools import partial
from typing import Any

from daqd.acquisition.active_run import ActiveRun, RunHooks, RunRequest
from daqd.board_setup import BoardSetup
from daqd.boards.board import Board
from daqd.children.messages import FromChild, PublisherState, RunDecoded
from daqd.children.programs import PublisherHandle
from daqd.configuration.config import Config
from daqd.daemon_state import Cause, DaemonStateMachine
from daqd.errors import DaqError, RunControlError
from daqd.process.watchdog import STOP_S, Background, wait_for_end
from daqd.runs.run_store import RunStore
from daqd.status import StatusBoard
from protocol.ledger import LedgerCounts
from protocol.run_record import Gap, RunRecord
from protocol.text import counted
from protocol.wire.messages import DaemonState, Stat

log = logging.getLogger(__name__)


class RunControl:
    """Starts and ends runs. Lives in the event loop; the board's work is done in threads.

    `control_commands.execute` calls one method after the other.
    """

    def __init__(
        self,
        config: Config,
        board: Board,
        store: RunStore,
        publisher: PublisherHandle,
        state: DaemonStateMachine,
        status: StatusBoard,
        software: dict[str, str],
    ) -> None:
        self._config = config
        self._board = board
        self._store = store
        self._publisher = publisher
        self._state = state
        self._status = status
        self._software = software
        self.one_at_a_time = asyncio.Lock()
        """Held by the command that is being executed."""
        self._active: ActiveRun | None = None
        self._background = Background()
        self._one_ledger_at_a_time = asyncio.Lock()
        self._board_setup = BoardSetup(config, board, state)
        self._ended = asyncio.Event()
        self._timer: asyncio.TimerHandle | None = None
        self._last: ActiveRun | None = None
        self._closing = False
        self.shutdown_requested = asyncio.Event()

    @property
    def state(self) -> DaemonState:
        """State of the daemon."""
        return self._state.state

    @property
    def run_number(self) -> int | None:
        """The run that is being taken, None where none is."""
        return None if self._active is None else self._active.run

    @property
    def progress(self) -> dict[str, int]:
        """As `ActiveRun.progress`, of the run that is being taken; empty where none is."""
        return {} if self._active is None else self._active.progress

    def stat(self) -> Stat:
        """State, counts and rates now."""
        return self._status.stat()

    def _refuse_in_a_run(self) -> None:
        if self._active is not None:
            raise RunControlError("running", f"run {self._active.run} is being taken: stop it first")

    def refuse_while_ending(self, command: str) -> None:
        """Raise `RunControlError` where the daemon has begun to end."""
        if self._closing or self.shutdown_requested.is_set():
            raise RunControlError("stopping", f"{command}: the daemon is ending; start it again first")

    async def configure(self) -> None:
        """Open the board and configure its chips, as the configuration says."""
        self._refuse_in_a_run()
        await self._board_setup.do(await self._board_setup.wanted({}))

    async def start(
        self, run: int | None, comment: str, duration_s: float, readouts: int, chip: dict[str, Any]
    ) -> ActiveRun:
        """Start a run, which is returned. `run`, `comment` and limits: as in `RunRequest`.

        `chip`: the settings that are different from those of the configuration for this run.
        """
        self._refuse_in_a_run()
        if self.state is DaemonState.ERROR:
            raise RunControlError("error", f"the daemon is in error ({self._state.reason}): mend it, then reset")
        disk = await asyncio.to_thread(self._status.disk.look)
        if disk.level == "critical":
            raise RunControlError("disk", f"too little room at {disk.path}: {disk.reason}; make room first")
        setup = await self._board_setup.wanted(chip)
        if self.state is DaemonState.IDLE or not self._board_setup.is_done(setup):
            await self._board_setup.do(setup)
            self.refuse_while_ending("start")
        request = RunRequest(run, comment, duration_s, readouts)
        new_run = partial(ActiveRun, self._config, self._board, self._store, request, self._software, self._hooks())
        try:
            active = await asyncio.to_thread(new_run, setup=self._board_setup.applied)
        except ValueError as error:
            raise RunControlError("run_number", str(error)) from error
        except OSError as error:
            self._state.change(Cause.DISK_FAILED, str(error))
            raise RunControlError("disk", str(error)) from error
        self._begin(active)
        return active

    def _hooks(self) -> RunHooks:
        """Calls from the threads of a run, passed on to the event loop."""
        loop = asyncio.get_running_loop()

        def in_loop(call: Callable[[], None]) -> None:
            with contextlib.suppress(RuntimeError):  # a slow disk can keep the writer beyond the end of the loop
                loop.call_soon_threadsafe(call)

        return RunHooks(
            on_written=self._publisher.wake,
            on_lost=lambda reason: in_loop(partial(self._state.change, Cause.BOARD_LOST, reason)),
            on_gap=lambda gap: in_loop(partial(self._note_gap, gap)),
            on_end=partial(in_loop, self._run_ended),
        )

    def _begin(self, active: ActiveRun) -> None:
        """Take data for the run that was prepared."""
        comment, duration_s = active.request.comment, active.request.duration_s
        self._active = active
        self._ended.clear()
        self._status.run_began(active)
        self._state.change(Cause.RUN_STARTED)
        log.info("run %d began%s", active.run, f": {comment}" if comment else "")
        active.begin()
        self._publisher.wake()
        if duration_s:
            reason = f"{duration_s:g} s taken, as asked"
            self._timer = asyncio.get_running_loop().call_later(duration_s, active.stop, reason)

    async def stop(self) -> ActiveRun | None:
        """End the run, and return it when it is written; None where no run is being taken."""
        active = self._active
        if active is None:
            return None
        active.stop("stopped by command")
        try:
            await asyncio.wait_for(self._ended.wait(), STOP_S)
        except TimeoutError:
            raise RunControlError(
                "timeout", f"run {active.run} is still writing after {STOP_S:g} s; status tells how it goes"
            ) from None
        return active

    def rotate(self) -> int:
        """Finish the current file of the run; returns the number of the run."""
        if self._active is None:
            raise RunControlError("not_running", "no run is being taken, so there is no file to rotate")
        self._active.rotate()
        return self._active.run

    async def reset(self) -> None:
        """Close the board, and leave the error."""
        self._refuse_in_a_run()
        await self._board_setup.disconnect()
        self._state.change(Cause.RESET)

    def end_for_disk(self, reason: str) -> None:
        """End the run while there is still enough room to write all of it."""
        if self._active is not None:
            self._active.stop(f"too little room on the disk: {reason}")

    def _note_gap(self, gap: Gap) -> None:
        """Record that the board was lost and is back, or was given up, and publish it."""
        if self._active is None:
            return
        self._active.add_gap(gap)
        if gap.to_ns is not None:
            self._state.change(Cause.BOARD_BACK)
        self._publisher.wake()

    def _run_ended(self) -> None:
        """Close the record of the run, whose threads have ended."""
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        if self._active is not None:
            self._background.begin(self._close_run(self._active))

    async def _close_run(self, active: ActiveRun) -> None:
        try:
            record = await asyncio.to_thread(active.close_record)
        except DaqError as error:
            record = active.record
            ended = f" (it ended: {record.end_reason})" if record.end_reason else ""
            self._state.change(Cause.RUN_FAILED, f"run {active.run}: {error}{ended}")
        else:
            if record.state == "failed":
                self._state.change(Cause.RUN_FAILED, record.end_reason)
            else:
                self._state.change(Cause.DAEMON_ENDS if self._closing else Cause.RUN_FINISHED)
        self._status.run_ended(active)
        self._active, self._last = None, active
        _log_end(record)
        self._publisher.wake()
        self._ended.set()

    def receive(self, message: FromChild) -> None:
        """Take a child's message: ledgers go into the status, and at the end of a run into its record."""
        match message:
            case PublisherState():
                self._status.take_publisher(message)
            case RunDecoded(run=run, ledger=ledger):
                self._status.take_ledger(run, ledger)
                self._background.begin(self._add_ledger(run, ledger))

    async def _add_ledger(self, run: int, ledger: LedgerCounts) -> None:
        async with self._one_ledger_at_a_time:
            try:
                await asyncio.to_thread(self._store.add_ledger, run, ledger)
            except (DaqError, OSError, ValueError) as error:
                log.error("the ledger of run %d is not in its record: %s", run, error)

    async def close(self) -> bool:
        """End the run, if there is one, and leave the board safe; nothing new is started afterwards.

        False where a thread is stuck in a call to the disk or the board, or the disk is too slow; the log says which.
        Threads are left behind then.
        """
        self._closing = True
        if self._active is not None:
            self._active.stop("the daemon was ended")
        why = await wait_for_end(self._end(), lambda: self.progress or {self._last_step: 0})
        if why:
            waiting = f"; {self._active.queue.size_bytes} bytes that wait for it are lost" if self._active else ""
            log.critical("ending without waiting any longer (%s)%s; the next start repairs what is open", why, waiting)
        return not why

    @property
    def _last_step(self) -> str:
        return "the board" if self._active is None else f"the record of run {self._active.run}"

    async def settle(self) -> bool:
        """Wait until all records are written; False where the disk takes too long."""
        why = await self._background.wait_for_end()
        if why:
            log.critical("ending without the last records: %s", why)
        return not why

    async def _end(self) -> None:
        async with self.one_at_a_time:  # a command that is being executed has the board
            if self._active is not None:
                self._active.stop("the daemon was ended")
                await self._ended.wait()
            if self._last is not None:
                await asyncio.to_thread(self._last.join, 1.0)
            await self._board_setup.disconnect()


def _log_end(record: RunRecord) -> None:
    counts = record.counts
    level = logging.ERROR if record.state == "failed" else logging.INFO
    log.log(
        level,
        "run %d %s (%s): %d readouts, %d bytes in %s",
        record.run,
        record.state,
        record.end_reason,
        counts.readouts,
        counts.file_bytes,
        counted(len(record.files), "file"),
    )
