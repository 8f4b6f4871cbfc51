"""The process that answers for the past of a replay, where it does not start (else: tests/system)."""

import socket
from pathlib import Path

import pytest

from daqd.children.child_process import ChildError
from daqd.commands.replay_past import ReplayPast
from daqd.configuration.config import SecuritySection


def test_a_start_that_fails_is_no_failure_where_all_is_to_end(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        bind = f"tcp://127.0.0.1:{taken.getsockname()[1]}"
        with ReplayPast(bind, tmp_path / "progress", SecuritySection(), any_port=False) as past:
            with pytest.raises(ChildError, match="did not start"):
                past.wait_until_ready(lambda: False)
            past.wait_until_ready(lambda: True)
