"""`apx-monitor` as a process."""

import json
import os
import select
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager

import pytest

from monitor.cli import main
from monitor.state.monitor_state import MonitorState
from tests.deadline import DEADLINE_S
from tests.monitor.publishing import TestPublisher, make_hits, run_record

pytestmark = pytest.mark.slow


@contextmanager
def monitor(*arguments: str) -> Iterator[subprocess.Popen[str]]:
    command = [sys.executable, "-m", "monitor.cli", "watch", *arguments]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as process:
        try:
            yield process
        finally:
            process.kill()


def send_run(publisher: TestPublisher) -> None:
    publisher.send(
        publisher.messages.run("begin", run_record(1)),
        publisher.messages.hits(make_hits([(0, 0), (4, 0)], row=3, column=[1, 2]), (0, 4)),
        publisher.messages.stat(chips=2, elapsed_s=5.0),
    )


def test_once_json_prints_the_whole_state_and_ends(publisher: TestPublisher) -> None:
    with monitor("--connect", publisher.endpoint, "--once", "--json", "--timeout", "30") as process:
        publisher.wait_for_subscription(timeout_s=DEADLINE_S)
        send_run(publisher)
        out, err = process.communicate(timeout=DEADLINE_S)
    assert (process.returncode, err) == (0, "")
    state = MonitorState.model_validate(json.loads(out))
    assert (state.hits, state.readouts, state.run) == (2, 5, 1)
    assert state.chips[0].hit_map[3][:3] == [0, 1, 1]
    assert [chip.chip for chip in state.chips] == [0, 1]


def test_once_without_json_is_one_line(publisher: TestPublisher) -> None:
    with monitor("--connect", publisher.endpoint, "--once", "--timeout", "30") as process:
        publisher.wait_for_subscription(timeout_s=DEADLINE_S)
        send_run(publisher)
        out, _ = process.communicate(timeout=DEADLINE_S)
    assert process.returncode == 0
    assert out.startswith("RUNNING bench run 1 0:00:05 | 2 hits | ")
    assert len(out.splitlines()) == 1


def test_once_prints_what_has_come_where_no_state_does(publisher: TestPublisher) -> None:
    with monitor("--connect", publisher.endpoint, "--once", "--json", "--timeout", "2") as process:
        publisher.wait_for_subscription(timeout_s=DEADLINE_S)
        publisher.send(publisher.messages.log("info", "hello"))
        out, _ = process.communicate(timeout=DEADLINE_S)
    assert process.returncode == 0
    assert json.loads(out)["stat"] is None


def test_once_where_nothing_comes_is_one_line_and_exit_code_1() -> None:
    with monitor("--connect", "tcp://127.0.0.1:1", "--once", "--timeout", "0.1") as process:
        out, err = process.communicate(timeout=DEADLINE_S)
    assert (process.returncode, out) == (1, "")
    assert len(err.splitlines()) == 1
    assert "nothing came from tcp://127.0.0.1:1" in err


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_without_a_terminal_each_state_is_a_line_until_a_signal_comes(
    publisher: TestPublisher, number: signal.Signals
) -> None:
    with monitor("--connect", publisher.endpoint) as process:
        publisher.wait_for_subscription(timeout_s=DEADLINE_S)
        send_run(publisher)
        publisher.send(publisher.messages.stat(elapsed_s=6.0))
        assert process.stdout is not None
        assert process.stdout.readline().startswith("RUNNING bench run 1 0:00:05 | 2 hits")
        assert process.stdout.readline().startswith("RUNNING bench run 1 0:00:06 | 2 hits")
        process.send_signal(number)
        out, err = process.communicate(timeout=DEADLINE_S)
    assert (process.returncode, out, err) == (0, "", "")


@pytest.mark.skipif(sys.platform == "win32", reason="needs a pseudo terminal")
@pytest.mark.parametrize("end", ["q", "\x03", signal.SIGINT, signal.SIGTERM])
def test_on_a_terminal_it_draws_a_screen_and_ends_cleanly(publisher: TestPublisher, end: str | signal.Signals) -> None:
    import pty

    ours, theirs = pty.openpty()
    command = [sys.executable, "-m", "monitor.cli", "watch", "--connect", publisher.endpoint]
    environment = {**os.environ, "TERM": "xterm-256color", "COLUMNS": "80", "LINES": "24"}
    with subprocess.Popen(command, stdin=theirs, stdout=theirs, stderr=theirs, env=environment) as process:
        os.close(theirs)
        try:
            publisher.wait_for_subscription(timeout_s=DEADLINE_S)
            send_run(publisher)
            screen = _read_until(ours, b"RUNNING")
            assert b"\x1b[?1049h" in screen
            if isinstance(end, str):
                os.write(ours, end.encode())
            else:
                process.send_signal(end)
            rest = _read_until(ours, b"\x1b[?1049l")
            assert b"Traceback" not in screen + rest
            assert process.wait(DEADLINE_S) == 0
        finally:
            process.kill()
            os.close(ours)


def _read_until(descriptor: int, wanted: bytes) -> bytes:
    """All that comes up to `wanted`."""
    seen = b""
    while wanted not in seen:
        ready, _, _ = select.select([descriptor], [], [], DEADLINE_S)
        assert ready, f"{wanted!r} did not come; the end was {seen[-500:]!r}"
        seen += os.read(descriptor, 65536)
    return seen


@pytest.mark.parametrize(
    "arguments",
    [
        [],
        ["fly"],
        ["watch", "--json"],
        ["watch", "--once", "--timeout", "0"],
        ["watch", "--chips", "33"],
        ["watch", "--rows", "none"],
        ["watch", "--connect", "nowhere"],
    ],
)
def test_misuse_is_one_line_and_exit_code_2(arguments: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    try:
        code: object = main(arguments)
    except SystemExit as ended:
        code = ended.code
    assert code == 2
    assert len(capsys.readouterr().err.splitlines()) == 1


@pytest.mark.parametrize("arguments", [["--help"], ["watch", "--help"], ["--version"]])
def test_help_and_version(arguments: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as ended:
        main(arguments)
    assert ended.value.code == 0
    assert "apx-monitor" in capsys.readouterr().out
