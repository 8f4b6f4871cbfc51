"""The status of the daemon, as it is published and as `daqctl status` shows it."""

import time
from collections.abc import Callable

from daqd.acquisition.active_run import ActiveRun
from daqd.acquisition.disk_watch import DiskWatch
from daqd.boards.board import Board
from daqd.children.messages import PublisherState
from daqd.daemon_state import DaemonStateMachine
from protocol.ledger import LedgerCounts
from protocol.run_record import Counts
from protocol.wire import messages
from protocol.wire.messages import PublisherStat, Queue, Rates, Stat

_MIN_RATE_WINDOW_S = 0.5


class StatusBoard:
    """Collects state, counts and rates. `catch_up()`: as in `Stat`."""

    def __init__(
        self,
        state: DaemonStateMachine,
        board: Board,
        transport: str,
        chips: int,
        disk: DiskWatch,
        version: str,
        catch_up: Callable[[], str] = lambda: "",
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._state = state
        self._board = board
        self._transport = transport
        self._chips = chips
        self.disk = disk
        self._version = version
        self._catch_up = catch_up
        self._clock = clock
        self._run: ActiveRun | None = None
        self._elapsed_s = 0.0
        self._publisher: PublisherState | None = None
        self._ledger: LedgerCounts | None = None
        self._rates = Rates()
        self._rated_at = clock()
        self._rated = Counts()

    def run_began(self, run: ActiveRun) -> None:
        """Show counts and rates of `run` from now on."""
        self._run = run
        self._ledger = None
        if self._publisher is not None:
            self._publisher = self._publisher.model_copy(update={"hits_hz": 0.0})
        self._rated, self._rated_at, self._rates = Counts(), self._clock(), Rates()
        self.disk.run_began(lambda: run.files.size_bytes, run.queue)

    def run_ended(self, run: ActiveRun) -> None:
        """Keep the counts, and set the rates to 0."""
        self._elapsed_s = self._clock() - run.began_at
        self._rates = Rates()
        self.disk.run_ended()

    def take_publisher(self, state: PublisherState) -> None:
        """Take the newest state of the publisher."""
        self._publisher = state
        if state.run is not None:
            self.take_ledger(state.run, state.ledger)

    def take_ledger(self, run: int, ledger: LedgerCounts) -> None:
        """Take the ledger of `run`, if that is the run on show."""
        if self._run is not None and run == self._run.run:
            self._ledger = ledger

    def stat(self) -> Stat:
        """The status now."""
        run = self._run
        counts = run.counts if run is not None else Counts()
        state = self._state
        running = state.state.in_a_run
        if running:
            self._update_rates(counts)
        file = run.files.current if run is not None else None
        publisher = self._publisher
        return Stat(
            state=state.state,
            reason=state.reason,
            since_ns=state.since_ns,
            run=run.run if run is not None else None,
            elapsed_s=0.0 if run is None else self._clock() - run.began_at if running else self._elapsed_s,
            file="" if file is None else str(file),
            chips=self._chips,
            rates=self._rates.model_copy(update={"hits_hz": publisher.hits_hz if running and publisher else 0.0}),
            counts=counts.model_dump(),
            ledger=self._ledger,
            queue=Queue(
                bytes=0 if run is None else run.queue.size_bytes,
                limit_bytes=0 if run is None else run.queue.limit_bytes,
                high_water_bytes=0 if run is None else run.queue.high_water_bytes,
            ),
            disk=self.disk.latest(),
            board=self._board_state(),
            publisher=publisher.stat if publisher else PublisherStat(),
            catch_up=self._catch_up(),
            version=self._version,
        )

    def _update_rates(self, counts: Counts) -> None:
        now = self._clock()
        passed_s = now - self._rated_at
        if passed_s < _MIN_RATE_WINDOW_S:
            return
        self._rates = Rates(
            readouts_hz=(counts.readouts - self._rated.readouts) / passed_s,
            bytes_hz=((counts.board_bytes or 0) - (self._rated.board_bytes or 0)) / passed_s,
        )
        self._rated, self._rated_at = counts, now

    def _board_state(self) -> messages.BoardStat:
        status = self._board.status()
        return messages.BoardStat(
            kind=status.kind,
            transport=self._transport,
            connected=status.connected,
            counters={**status.counters, **status.readings, "exhausted": int(status.exhausted)},
            warnings=list(status.warnings),
        )
