"""Run control: what is refused, with which code and words."""

from typing import Any

import pytest

from daqd.runs.run_store import RunStore
from tests.daqd.controlled import Controlled, run

BAD_ARGUMENTS: list[tuple[str, dict[str, Any]]] = [
    ("start", {"run": 0}),
    ("start", {"run": -1}),
    ("start", {"run": "seven"}),
    ("start", {"run": 1_000_000_000}),
    ("start", {"duration_s": -1}),
    ("start", {"duration_s": float("nan")}),
    ("start", {"duration_s": float("inf")}),
    ("start", {"readouts": -1}),
    ("start", {"readouts": 1.5}),
    ("start", {"comment": "x" * 10_001}),
    ("start", {"comment": 5}),
    ("start", {"chip": 5}),
    ("start", {"color": "red"}),
    *((command, {"run": 1}) for command in ("configure", "stop", "rotate", "status", "reset", "shutdown")),
]


@pytest.mark.parametrize(("command", "args"), BAD_ARGUMENTS)
def test_arguments_that_are_not_taken(store: RunStore, command: str, args: dict[str, Any]) -> None:
    async def use(control: Controlled) -> None:
        code, message = await control.refused(command, **args)
        assert code == "bad_arguments"
        assert message.startswith(f"{command}: {next(iter(args))}")
        assert store.runs() == []
        assert control.states == ["idle"]

    run(Controlled(store), use)


@pytest.mark.parametrize("command", ["", "launch", "Start", "_start", "__init__", "é\n"])
def test_commands_that_are_none(store: RunStore, command: str) -> None:
    async def use(control: Controlled) -> None:
        code, message = await control.refused(command)
        assert code == "unknown_command"
        assert "configure, reset, rotate, shutdown, start, status, stop" in message

    run(Controlled(store), use)


def test_what_is_refused_while_a_run_is_taken(store: RunStore) -> None:
    async def use(control: Controlled) -> None:
        await control.execute("start")
        for command in ("start", "configure", "reset"):
            assert await control.refused(command) == ("running", "run 1 is being taken: stop it first")
        assert control.control.state == "running"
        assert store.runs() == [1]

    run(Controlled(store), use)


def test_shutdown_refuses_what_begins_something(store: RunStore) -> None:
    async def use(control: Controlled) -> None:
        await control.execute("start")
        assert await control.execute("shutdown") == {"state": "stopping"}
        assert control.control.shutdown_requested.is_set()
        for command in ("start", "configure", "reset", "rotate"):
            assert (await control.refused(command))[0] == "stopping"
        assert await control.execute("shutdown") == {"state": "stopping"}
        assert (await control.execute("stop"))["run"] == 1
        assert (await control.execute("status"))["status"]["state"] == "configured"

    run(Controlled(store), use)
