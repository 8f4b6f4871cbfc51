"""Run control: the states of the daemon and the commands that lead from one to another.

`idle → configured → running → configured`, and `error`, which `reset` leaves. Every command is idempotent, or refused
with a code and the reason (docs/wire.md, "Control").
"""

import asyncio
import contextlib
import logging
from collections.abc import Awaitable, Callable, Coroutine
from functools import partial
from typing import Any

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from daqd.acquisition.active_run import ActiveRun, RunHooks, RunWish
from daqd.boards.board import Board
from daqd.children.notices import Report
from daqd.children.publisher_handle import PublisherHandle
from daqd.configuration.chip_setup import load_chip_setup
from daqd.configuration.config import Config
from daqd.errors import BoardError, BoardLost, ConfigError, DaqError, RunControlError
from daqd.process.watchdog import Watchdog
from daqd.runs.run_store import RunStore
from daqd.status import StatusBoard
from protocol.chips.chip_setup import ChipSetup
from protocol.run_record import Gap, RunRecord, one_line
from protocol.words import counted

log = logging.getLogger(__name__)

_STOP_S = 60.0
_STUCK_S = 20.0
_LOOK_S = 0.1


class StartArgs(BaseModel):
    """Arguments of `start`; limits of 0 are none. `chip`: what this run wants otherwise than `[chip]` says."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    run: int | None = Field(default=None, ge=1, lt=1_000_000_000)
    comment: str = Field(default="", max_length=10_000)
    duration_s: float = Field(default=0.0, ge=0, allow_inf_nan=False)
    readouts: int = Field(default=0, ge=0)
    chip: dict[str, Any] = {}


class NoArgs(BaseModel):
    """Arguments of all other commands."""

    model_config = ConfigDict(extra="forbid", frozen=True)


class RunControl:
    """Obeys commands, one at a time; lives in the event loop, the board's work is done in threads."""

    def __init__(
        self,
        config: Config,
        board: Board,
        store: RunStore,
        publisher: PublisherHandle,
        status: StatusBoard,
        software: dict[str, str],
    ) -> None:
        self._config = config
        self._board = board
        self._store = store
        self._publisher = publisher
        self._status = status
        self._software = software
        self._one_at_a_time = asyncio.Lock()
        self._active: ActiveRun | None = None
        self._background: set[asyncio.Task[None]] = set()
        self._one_ledger_at_a_time = asyncio.Lock()
        self._setup: ChipSetup | None = None
        self._ended = asyncio.Event()
        self._timer: asyncio.TimerHandle | None = None
        self._last: ActiveRun | None = None
        self._closing = False
        self.shutdown_asked = asyncio.Event()
        self._commands: dict[str, Callable[[Any], Awaitable[dict[str, Any]]]] = {
            "configure": self._configure,
            "start": self._start,
            "stop": self._stop,
            "rotate": self._rotate,
            "status": self._tell,
            "reset": self._reset,
            "shutdown": self._shutdown,
        }

    @property
    def state(self) -> str:
        """State of the daemon."""
        return self._status.state

    @property
    def run_number(self) -> int | None:
        """The run that is being taken, None where none is."""
        return None if self._active is None else self._active.run

    @property
    def progress(self) -> dict[str, int]:
        """As `ActiveRun.progress`, of the run that is being taken; empty where none is."""
        return {} if self._active is None else self._active.progress

    async def obey(self, command: str, args: dict[str, Any]) -> dict[str, Any]:
        """Result of a command; `RunControlError` with its code where it is refused or fails."""
        method = self._commands.get(command)
        if method is None:
            raise RunControlError("unknown_command", f"{command!r} is none of {', '.join(sorted(self._commands))}")
        try:
            parsed = (StartArgs if command == "start" else NoArgs).model_validate(args)
        except ValidationError as error:
            raise RunControlError("bad_arguments", f"{command}: {one_line(error)}") from None
        if command in ("status", "shutdown"):  # wait for nothing and nobody
            return await method(parsed)
        async with self._one_at_a_time:
            if command != "stop":
                self._refuse_while_ending(command)
            return await method(parsed)

    def _refuse_while_ending(self, command: str) -> None:
        if self._closing or self.shutdown_asked.is_set():
            raise RunControlError("stopping", f"{command}: the daemon is ending; start it again first")

    async def _tell(self, _: NoArgs) -> dict[str, Any]:
        return {"status": self._status.stat().model_dump(mode="json", by_alias=True)}

    async def _configure(self, _: NoArgs) -> dict[str, Any]:
        if self._active is not None:
            raise RunControlError("running", f"run {self._active.run} is being taken: stop it first")
        await self._set_up_board(await self._chip_setup({}))
        return {"state": self.state}

    async def _chip_setup(self, overrides: dict[str, Any]) -> ChipSetup:
        """What the chips are to be set to: as the configuration says, but for `overrides`."""
        try:
            settings = self._config.chip.overridden(overrides)
            return await asyncio.to_thread(load_chip_setup, settings, self._config.board)
        except ConfigError as error:
            mistakes = "; ".join(error.mistakes)
            if overrides:
                raise RunControlError("bad_arguments", mistakes) from None
            raise RunControlError("configuration", mistakes) from None

    async def _set_up_board(self, setup: ChipSetup) -> None:
        """Connect and configure; the daemon is in error where that fails."""
        self._setup = None
        try:
            await asyncio.to_thread(self._bring_up_board, setup)
        except BoardError as error:
            self._status.enter("error", str(error))
            await asyncio.to_thread(self._board.close)
            raise RunControlError("board", str(error)) from error
        self._setup = setup
        for line in (*setup.defaulted, *setup.notes):
            log.info("%s", line)
        self._status.enter("configured")

    def _bring_up_board(self, setup: ChipSetup) -> None:
        """In a thread. A board that went away while nobody asked it anything is looked for once more."""
        was_open = self._board.status().connected
        try:
            self._board.open()
            self._board.configure(setup)
        except BoardLost:
            if not was_open:
                raise
            self._board.close()
            self._board.open()
            self._board.configure(setup)

    async def _start(self, args: StartArgs) -> dict[str, Any]:
        if self._active is not None:
            raise RunControlError("running", f"run {self._active.run} is being taken: stop it first")
        if self.state == "error":
            raise RunControlError("error", f"the daemon is in error ({self._status.reason}): mend it, then reset")
        disk = await asyncio.to_thread(self._status.disk.look)
        if disk.level == "critical":
            raise RunControlError("disk", f"too little room at {disk.path}: {disk.reason}; make room first")
        setup = await self._chip_setup(args.chip)
        if self.state == "idle" or setup != self._setup:
            await self._set_up_board(setup)
            self._refuse_while_ending("start")
        loop = asyncio.get_running_loop()

        def tell(what: Callable[[], None]) -> None:
            with contextlib.suppress(RuntimeError):  # a slow disk can keep the writer beyond the end of the loop
                loop.call_soon_threadsafe(what)

        hooks = RunHooks(
            on_written=self._publisher.wake,
            on_lost=lambda reason: tell(partial(self._status.enter, "recovering", reason)),
            on_gap=lambda gap: tell(partial(self._note_gap, gap)),
            on_end=partial(tell, self._run_ended),
        )
        wish = RunWish(args.run, args.comment, args.duration_s, args.readouts)
        try:
            active = await asyncio.to_thread(self._prepare_run, wish, hooks, setup)
        except ValueError as error:
            raise RunControlError("run_number", str(error)) from error
        except OSError as error:
            self._status.enter("error", str(error))
            raise RunControlError("disk", str(error)) from error
        self._active = active
        self._ended.clear()
        self._status.run_began(active)
        log.info("run %d began%s", active.run, f": {args.comment}" if args.comment else "")
        active.begin()
        self._publisher.wake()
        if args.duration_s:
            reason = f"{args.duration_s:g} s taken, as asked"
            self._timer = loop.call_later(args.duration_s, active.stop, reason)
        return {"state": self.state, "run": active.run, "directory": str(active.files.directory)}

    def _prepare_run(self, wish: RunWish, hooks: RunHooks, setup: ChipSetup) -> ActiveRun:
        """In a thread: the disk may be slow."""
        active = ActiveRun(self._config, self._board, self._store, wish, self._software, hooks, setup=setup)
        active.prepare()
        return active

    async def _stop(self, _: NoArgs) -> dict[str, Any]:
        if self._active is None:
            return {"state": self.state, "run": None}
        active = self._active
        active.stop("stopped by command")
        try:
            await asyncio.wait_for(self._ended.wait(), _STOP_S)
        except TimeoutError:
            raise RunControlError(
                "timeout", f"run {active.run} is still writing after {_STOP_S:g} s; status tells how it goes"
            ) from None
        return {"state": self.state, "run": active.run, "record": active.record.model_dump(mode="json")}

    async def _rotate(self, _: NoArgs) -> dict[str, Any]:
        if self._active is None:
            raise RunControlError("not_running", "no run is being taken, so there is no file to rotate")
        self._active.rotate()
        return {"state": self.state, "run": self._active.run}

    async def _reset(self, _: NoArgs) -> dict[str, Any]:
        if self._active is not None:
            raise RunControlError("running", f"run {self._active.run} is being taken: stop it first")
        await asyncio.to_thread(self._board.close)
        self._status.enter("idle")
        return {"state": self.state}

    async def _shutdown(self, _: NoArgs) -> dict[str, Any]:
        self.shutdown_asked.set()
        return {"state": "stopping"}

    def end_for_disk(self, reason: str) -> None:
        """So little room is left that the run has to end while all of it can be written."""
        if self._active is not None:
            self._active.stop(f"too little room on the disk: {reason}")

    def _note_gap(self, gap: Gap) -> None:
        """The board was lost and is back, or was given up: that belongs into the record, and on the stream."""
        if self._active is None:
            return
        self._active.add_gap(gap)
        if gap.to_ns is not None:
            self._status.enter("running")
        self._publisher.wake()

    def _run_ended(self) -> None:
        """The threads of the run are done: close its record."""
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        if self._active is not None:
            self._in_background(self._close_run(self._active))

    async def _close_run(self, active: ActiveRun) -> None:
        try:
            record = await asyncio.to_thread(active.close_record)
        except DaqError as error:
            record = active.record
            ended = f" (it ended: {record.end_reason})" if record.end_reason else ""
            self._status.enter("error", f"run {active.run}: {error}{ended}")
        else:
            if record.state == "failed":
                self._status.enter("error", record.end_reason)
            else:
                self._status.enter("stopping" if self._closing else "configured")
        self._status.run_ended(active)
        self._active, self._last = None, active
        _log_end(record)
        self._publisher.wake()
        self._ended.set()

    def take_report(self, report: Report) -> None:
        """What the publisher says: its ledger goes into the status, and at the end of a run into its record."""
        self._status.take_report(report)
        if report.kind == "run_ended" and report.run is not None and report.ledger is not None:
            self.add_ledger(report.run, report.ledger)

    def add_ledger(self, run: int, ledger: dict[str, Any]) -> None:
        """Complete the record of a run that has been decoded to its end, soon."""
        self._in_background(self._add_ledger(run, ledger))

    async def _add_ledger(self, run: int, ledger: dict[str, Any]) -> None:
        async with self._one_ledger_at_a_time:
            try:
                await asyncio.to_thread(self._store.add_ledger, run, ledger)
            except (DaqError, OSError, ValueError) as error:
                log.error("the ledger of run %d is not in its record: %s", run, error)

    def _in_background(self, work: Coroutine[Any, Any, None]) -> None:
        """What the disk takes its time for, while the event loop goes on."""
        task = asyncio.get_running_loop().create_task(work)
        self._background.add(task)
        task.add_done_callback(self._background.discard)

    async def close(self) -> bool:
        """End the run if there is one, and leave the board safe; nothing is begun any more.

        False where that was given up, because a thread stands still in a call to the disk or the board, or because the
        disk is too slow; the log says which. Threads are left behind then.
        """
        self._closing = True
        if self._active is not None:
            self._active.stop("the daemon was ended")
        ending = asyncio.create_task(self._end())
        gave_up_at = asyncio.get_running_loop().time() + _STOP_S
        watchdog = Watchdog(_STUCK_S)
        while not (await asyncio.wait({ending}, timeout=_LOOK_S))[0]:
            stuck = list(watchdog.look(self.progress or {self._last_step: 0}))
            if stuck or asyncio.get_running_loop().time() >= gave_up_at:
                ending.cancel()
                self._tell_given_up(stuck)
                return False
        await ending
        return True

    @property
    def _last_step(self) -> str:
        return "the board" if self._active is None else f"the record of run {self._active.run}"

    def _tell_given_up(self, stuck: list[str]) -> None:
        waiting = "" if self._active is None else f"; {self._active.queue.size_bytes} bytes that wait for it are lost"
        if stuck:
            what = f"{', '.join(stuck)}: no answer from the disk or the board for {_STUCK_S:g} s"
        else:
            what = f"the disk is too slow: not done after {_STOP_S:g} s"
        log.critical("ending without waiting any longer (%s)%s; the next start repairs what is open", what, waiting)

    async def settle(self) -> bool:
        """Wait for what is still to be put into records; False where the disk does not take it in time."""
        left = (await asyncio.wait(self._background, timeout=_STUCK_S))[1] if self._background else set()
        if left:
            log.critical("ending without the last records: no answer from the disk for %g s", _STUCK_S)
        return not left

    async def _end(self) -> None:
        async with self._one_at_a_time:  # a command that is being obeyed has the board
            if self._active is not None:
                self._active.stop("the daemon was ended")
                await self._ended.wait()
            if self._last is not None:
                await asyncio.to_thread(self._last.join, 1.0)
            await asyncio.to_thread(self._board.close)


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
