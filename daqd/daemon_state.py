"""The state of the daemon, and everything that can change it (docs/operations.md, "States of the daemon")."""

import logging
import time
from collections.abc import Callable
from dataclasses import dataclass
from enum import StrEnum

from protocol.wire.messages import DaemonState

log = logging.getLogger(__name__)


class Cause(StrEnum):
    """What changes the state; the values are the words of the document."""

    BOARD_CONFIGURED = "`configure` or `start` has configured the board"
    BOARD_FAILED = "the board cannot be opened or configured"
    RUN_STARTED = "`start` has prepared the files of a run"
    DISK_FAILED = "the files of a run cannot be made"
    BOARD_LOST = "the board is lost in a run"
    BOARD_BACK = "the board delivers data again"
    RUN_FINISHED = "the run ends, and its record is complete"
    RUN_FAILED = "the run fails, or its record cannot be written"
    RESET = "`reset`"
    DAEMON_ENDS = "`shutdown` or a signal ends the daemon"


@dataclass(frozen=True)
class Transition:
    """What `cause` leads to, from each of the states `before`."""

    before: tuple[DaemonState, ...]
    cause: Cause
    after: DaemonState


_IDLE, _CONFIGURED, _RUNNING, _RECOVERING = (
    DaemonState.IDLE,
    DaemonState.CONFIGURED,
    DaemonState.RUNNING,
    DaemonState.RECOVERING,
)
_ERROR, _STOPPING = DaemonState.ERROR, DaemonState.STOPPING
_IN_A_RUN = (_RUNNING, _RECOVERING)

# While the daemon ends (`stopping`), the command that is being executed is completed, and the run goes on to its end.
TRANSITIONS = (
    Transition((_IDLE, _CONFIGURED, _ERROR, _STOPPING), Cause.BOARD_CONFIGURED, _CONFIGURED),
    Transition((_IDLE, _CONFIGURED, _ERROR, _STOPPING), Cause.BOARD_FAILED, _ERROR),
    Transition((_CONFIGURED, _STOPPING), Cause.RUN_STARTED, _RUNNING),
    Transition((_CONFIGURED, _STOPPING), Cause.DISK_FAILED, _ERROR),
    Transition((_RUNNING, _STOPPING), Cause.BOARD_LOST, _RECOVERING),
    Transition((_RECOVERING, _STOPPING), Cause.BOARD_BACK, _RUNNING),
    Transition(_IN_A_RUN, Cause.RUN_FINISHED, _CONFIGURED),
    Transition((*_IN_A_RUN, _STOPPING), Cause.RUN_FAILED, _ERROR),
    Transition((_IDLE, _CONFIGURED, _ERROR, _STOPPING), Cause.RESET, _IDLE),
    Transition((_IDLE, _CONFIGURED, *_IN_A_RUN, _ERROR, _STOPPING), Cause.DAEMON_ENDS, _STOPPING),
)
_AFTER = {(before, each.cause): each.after for each in TRANSITIONS for before in each.before}


class TransitionError(RuntimeError):
    """A fault of the program: `cause` changes nothing in this state."""

    def __init__(self, state: DaemonState, cause: Cause) -> None:
        self.state = state
        self.cause = cause
        super().__init__(f"no transition from state {state} for {cause.name} ({cause})")


class DaemonStateMachine:
    """Owns the state, the reason for it, and since when it lasts; `on_change` is called at each change of them."""

    def __init__(self, on_change: Callable[[], None]) -> None:
        self._on_change = on_change
        self.state = DaemonState.IDLE
        self.reason = ""
        self.since_ns = time.time_ns()

    def change(self, cause: Cause, reason: str = "") -> None:
        """Enter the state that `cause` leads to; `TransitionError` where it leads nowhere."""
        after = _AFTER.get((self.state, cause))
        if after is None:
            raise TransitionError(self.state, cause)
        if (after, reason) == (self.state, self.reason):
            return
        self.state, self.reason, self.since_ns = after, reason, time.time_ns()
        level = logging.ERROR if after is DaemonState.ERROR else logging.INFO
        log.log(level, "state %s%s", after, f": {reason}" if reason else "")
        self._on_change()


def transition_table() -> str:
    """The rows of the table of the document: from, because of what, to."""
    return "".join(
        f"| {', '.join(f'`{state}`' for state in each.before)} | {each.cause} | `{each.after}` |\n"
        for each in TRANSITIONS
    )
