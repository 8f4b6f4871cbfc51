"""What a child says, as the daemon's log has it: real pipes of real processes."""

import asyncio
import logging
import subprocess
import sys

import pytest

from daqd.children.child_process import relay_log

pytestmark = pytest.mark.slow


async def listen_to(program: str) -> int:
    child = await asyncio.create_subprocess_exec(
        sys.executable, "-c", program, stderr=asyncio.subprocess.PIPE, stdin=asyncio.subprocess.DEVNULL
    )
    assert child.stderr is not None
    await relay_log(child.stderr, "daqd-child")
    return await child.wait()


def logged(program: str, caplog: pytest.LogCaptureFixture) -> list[tuple[str, str]]:
    with caplog.at_level(logging.DEBUG, "daqd-child"):
        asyncio.run(listen_to(program))
    return [(entry.levelname, entry.getMessage()) for entry in caplog.records if entry.name == "daqd-child"]


def test_priorities_and_lines_of_others(caplog: pytest.LogCaptureFixture) -> None:
    program = """
import sys
from daqd.children.child_end import log_to_daemon
log_to_daemon("wrong", 3); log_to_daemon("two\\nlines"); log_to_daemon("fine", 6); log_to_daemon("detail", 7)
print("Assertion failed: (zmq)", file=sys.stderr)
print("\\n<9>odd\\n<3", file=sys.stderr)
sys.stderr.buffer.write(b"\\xff no text, and no line break")
"""
    assert logged(program, caplog) == [
        ("ERROR", "wrong"),
        ("WARNING", "two"),
        ("WARNING", "lines"),
        ("INFO", "fine"),
        ("DEBUG", "detail"),
        ("WARNING", "Assertion failed: (zmq)"),
        ("WARNING", "<9>odd"),
        ("WARNING", "<3"),
        ("WARNING", "\ufffd no text, and no line break"),
    ]


def test_a_line_without_end_is_cut(caplog: pytest.LogCaptureFixture) -> None:
    said = logged("import sys; sys.stderr.write('x' * 100_000 + '\\nend\\n')", caplog)
    assert "".join(text for _, text in said) == "x" * 100_000 + "end"
    assert max(len(text) for _, text in said) <= 3 * 8192


def test_a_child_whose_daemon_was_killed_can_speak() -> None:
    program = (
        "import sys; from daqd.children.child_end import log_to_daemon\n"
        "sys.stdin.read(); log_to_daemon('more'); log_to_daemon('and more'); print('alive')"
    )
    with subprocess.Popen(
        [sys.executable, "-c", program],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
    ) as child:
        assert child.stderr is not None
        child.stderr.close()
        child.stderr = None
        out, _ = child.communicate()
    assert out == b"alive\n"
