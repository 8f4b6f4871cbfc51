"""The registry of the daemon's commands."""

from typing import Any

import pytest

from daqd.control_commands import COMMANDS, control_command
from monitor.web.operator import RUN_COMMANDS


def test_a_name_is_given_once() -> None:
    async def stop(_: object) -> dict[str, Any]:
        return {}

    before = dict(COMMANDS)
    with pytest.raises(ValueError, match="stop"):
        control_command("another")(stop)
    assert before == COMMANDS


def test_what_the_page_commands_is_there() -> None:
    for name, arguments in RUN_COMMANDS.items():
        assert {*arguments} <= {*COMMANDS[name].arguments.model_fields}


def test_defaults_are_those_of_the_function() -> None:
    assert COMMANDS["start"].parse({}) == {"run": None, "comment": "", "duration_s": 0.0, "readouts": 0, "chip": {}}
    assert COMMANDS["stop"].parse({}) == {}
