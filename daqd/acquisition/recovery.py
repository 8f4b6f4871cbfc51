"""Bringing a lost board back in the middle of a run."""

import logging
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass

from daqd.boards.board import Board
from daqd.errors import BoardError
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
