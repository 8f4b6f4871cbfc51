"""The states of the daemon: what changes them, and that nothing else can."""

import logging
import re
from itertools import product
from pathlib import Path

import pytest

from daqd.daemon_state import TRANSITIONS, Cause, DaemonStateMachine, TransitionError, transition_table
from protocol.wire.messages import DaemonState

DOCUMENT = (Path(__file__).resolve().parents[2] / "docs" / "operations.md").read_text(encoding="utf-8")


def test_the_document_has_the_table() -> None:
    table = re.search(r"<!-- states: .*?-->\n\n(?:\|[^\n]*\n){2}(.*?)\n<!-- end of states -->", DOCUMENT, re.DOTALL)
    assert table
    assert table[1] == transition_table()


@pytest.mark.parametrize(("state", "cause"), [*product(DaemonState, Cause)])
def test_what_is_in_the_table_happens_and_nothing_else(state: DaemonState, cause: Cause) -> None:
    changes: list[DaemonState] = []
    machine = DaemonStateMachine(lambda: changes.append(machine.state))
    machine.state = state
    expected = [each.after for each in TRANSITIONS if each.cause is cause and state in each.before]
    if expected:
        machine.change(cause, "why")
        assert [machine.state] == expected == changes
    else:
        with pytest.raises(TransitionError) as caught:
            machine.change(cause, "why")
        assert (caught.value.state, caught.value.cause) == (state, cause)
        assert (machine.state, machine.reason, changes) == (state, "", [])


def test_every_state_and_cause_is_used_and_an_end_is_always_possible() -> None:
    assert {each.cause for each in TRANSITIONS} == {*Cause}
    states = {*DaemonState} - {DaemonState.REPLAY}
    assert {state for each in TRANSITIONS for state in (*each.before, each.after)} == states
    (ending,) = (each for each in TRANSITIONS if each.cause is Cause.DAEMON_ENDS)
    assert {*ending.before} == states


def test_a_change_is_announced_once_and_logged(caplog: pytest.LogCaptureFixture) -> None:
    changes: list[DaemonState] = []
    machine = DaemonStateMachine(lambda: changes.append(machine.state))
    before = machine.since_ns
    with caplog.at_level(logging.INFO):
        machine.change(Cause.BOARD_CONFIGURED)
        machine.change(Cause.BOARD_CONFIGURED)
        machine.change(Cause.BOARD_FAILED, "no answer")
        machine.change(Cause.BOARD_FAILED, "no answer, still")
    assert changes == ["configured", "error", "error"]
    assert (machine.state, machine.reason) == ("error", "no answer, still")
    assert machine.since_ns >= before
    assert [(record.levelname, record.getMessage()) for record in caplog.records] == [
        ("INFO", "state configured"),
        ("ERROR", "state error: no answer"),
        ("ERROR", "state error: no answer, still"),
    ]
