"""The reader: a thread that reads the board, stamps, and hands over to the queue. Nothing else."""

import logging
import threading
import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass

from daqd.acquisition.readout_queue import ReadoutQueue, Worker
from daqd.boards.board import Board
from daqd.errors import BoardError, BoardLost
from protocol.run_record import Gap

log = logging.getLogger(__name__)

_PAUSES_S = (0.1, 0.2, 0.5, 1.0, 2.0)
_TURN_S = 0.5


@dataclass(frozen=True)
class Recovery:
    """How a board is brought back: closed, then `bring_up` (connect and configure), then started; until it works.

    `on_lost(reason)` and `on_gap(gap)` are called from the thread that recovers: when the board is found to be lost,
    and when it is back, or given up because the run was told to end (then the gap has no end). `now_ns`: ns since the
    epoch.
    """

    bring_up: Callable[[], None]
    on_lost: Callable[[str], None]
    on_gap: Callable[[Gap], None]
    now_ns: Callable[[], int] = time.time_ns

    def bring_back(
        self, board: Board, error: BoardError, answered_ns: int, stop: threading.Event, on_turn: Callable[[], None]
    ) -> bool:
        """Whether the board sends data again; False where `stop` was set before.

        `answered_ns`: its last answer. `on_turn()` is called at least every half second while nothing blocks.
        """
        reason = str(error)
        log.warning("board lost: %s", reason)
        self.on_lost(reason)
        attempt, said = 0, reason
        while not stop.is_set():
            on_turn()
            board.close()
            try:
                self.bring_up()
                board.start()
            except BoardError as again:
                if str(again) != said:  # an operator reads this all night
                    said = str(again)
                    log.info("board is not back yet: %s", said)
            else:
                gap = Gap(from_ns=answered_ns, to_ns=self.now_ns(), reason=reason)
                log.warning("board is back after %.1f s", ((gap.to_ns or 0) - gap.from_ns) / 1e9)
                self.on_gap(gap)
                return True
            pause_s = _PAUSES_S[min(attempt, len(_PAUSES_S) - 1)]
            while pause_s > 0 and not stop.wait(min(pause_s, _TURN_S)):
                pause_s -= _TURN_S
                on_turn()
            attempt += 1
        self.on_gap(Gap(from_ns=answered_ns, reason=reason))
        return False


_POLL_TIMEOUT_S = 0.1


@dataclass(frozen=True)
class ReaderEnd:
    """Why the reader ended. `failure`: whether it should not have."""

    reason: str
    failure: bool


class Reader(Worker):
    """Reads one run from `board` into `queue`, until `stop`, the readout limit, or an error; then closes the queue.

    `readout_limit`: number of readouts after which it ends, 0 for no limit; what the board sent by then is kept, too.
    `on_end(ReaderEnd)` is called once, from the reader's thread, when the board is stopped. With `recovery`, a board
    that is lost is brought back and the run goes on; without it, the run ends.

    `progress` grows at least every half second as long as the board answers in time, if only that it has nothing; also
    while a lost board is looked for. It stands still while a call to the board does not come back.
    """

    def __init__(
        self,
        board: Board,
        queue: ReadoutQueue,
        on_end: Callable[[ReaderEnd], None],
        readout_limit: int = 0,
        recovery: Recovery | None = None,
    ) -> None:
        super().__init__("reader")
        self._board = board
        self._queue = queue
        self._on_end = on_end
        self._limit = readout_limit
        self._recovery = recovery
        self._stop = threading.Event()
        self._stop_reason = "stopped"
        self._answering = False
        self.readouts = 0
        self.progress = 0

    def stop(self, reason: str) -> None:
        """End after the readout in progress; `reason` goes into the run record."""
        if not self._stop.is_set():
            self._stop_reason = reason
            self._stop.set()

    def _run(self) -> None:
        end = ReaderEnd("the reader ended without a reason", failure=True)
        try:
            end = self._read()
        except BoardError as error:
            self._answering = False
            end = ReaderEnd(f"board: {error}", failure=True)
        except Exception as error:  # whatever it is, the queue must be closed, and the run must say why it ended
            end = ReaderEnd(f"reader: {type(error).__name__}: {error}", failure=True)
            raise
        finally:
            try:
                self._board.stop()
                if self._answering:
                    self._drain()
            except BoardError as error:
                if not end.failure:
                    end = ReaderEnd(f"board could not be stopped: {error}", failure=True)
                # What was read from it before it failed.
                if self._answering:
                    with suppress(BoardError):
                        self._drain()
            except Exception as error:  # as above: the queue is closed below, and the run says why
                end = ReaderEnd(f"board could not be stopped: {type(error).__name__}: {error}", failure=True)
                raise
            finally:
                self._queue.close()
                self._on_end(end)

    def _read(self) -> ReaderEnd:
        answered_ns = time.time_ns()
        try:
            self._board.start()
            self._answering = True
        except BoardLost as error:
            if self._recovery is None:
                raise
            self._answering = self._recovery.bring_back(self._board, error, answered_ns, self._stop, self._turn)
        while not self._stop.is_set():
            self._turn()
            if self._queue.refusing:
                return ReaderEnd("what is read cannot be kept", failure=True)
            try:
                readout = self._board.read_readout(_POLL_TIMEOUT_S)
            except BoardError as error:
                if self._recovery is None:
                    raise
                self._answering = self._recovery.bring_back(self._board, error, answered_ns, self._stop, self._turn)
                readout = None
            answered_ns = time.time_ns()
            if readout is None:
                continue
            room = self._queue.put(readout)
            self.readouts += 1
            if not room:
                return ReaderEnd(
                    f"disk cannot keep up: the queue of {self._queue.limit_bytes} bytes is full; write to a faster "
                    "disk, lower the rate, or raise acquisition.queue_mb",
                    failure=True,
                )
            if self.readouts == self._limit:
                return ReaderEnd(f"{self._limit} readouts read, as asked", failure=False)
        return ReaderEnd(self._stop_reason, failure=False)

    def _drain(self) -> None:
        """Take what the stopped board still holds, and what was on its way: it was measured within the run."""
        while (readout := self._board.read_readout(0)) is not None:
            self._turn()
            self._queue.put(readout)
            self.readouts += 1

    def _turn(self) -> None:
        self.progress += 1
