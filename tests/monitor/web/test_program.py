"""`apx-monitor serve`: what is refused at the start, in one line that says what to do."""

import re
import socket
from pathlib import Path

import pytest

from monitor.cli import main

pytestmark = pytest.mark.slow


def refusal(capsys: pytest.CaptureFixture[str], *arguments: str) -> str:
    """What it says when it does not start."""
    with pytest.raises(SystemExit) as ended:
        raise SystemExit(main(["serve", "--connect", "ipc://nobody", "--alarms", "ipc://nobody", *arguments]))
    said = capsys.readouterr()
    assert ended.value.code in (1, 2)
    assert said.out == ""
    assert said.err.count("\n") == 1
    return said.err


@pytest.mark.parametrize(
    ("arguments", "advice"),
    [
        (("--address", "0.0.0.0"), r"0\.0\.0\.0 lets .*--cert.*--insecure"),
        (("--cert", "absent.pem"), "--cert and --key-file go together"),
        (("--cert", "absent.pem", "--key-file", "absent.pem"), "cannot use absent.pem"),
        (("--token-file", "absent"), "cannot read the token in absent"),
        (("--control", "ipc://x"), "--operator-token-file goes with --control, --alarm-control or both"),
        (("--alarm-control", "ipc://x"), "--operator-token-file goes with"),
        (("--operator-token-file", "x"), "--operator-token-file goes with"),
        (("--address", "192.0.2.1", "--insecure", "--port", "0"), "cannot listen at 192.0.2.1 .* choose another"),
        (("--connect", "nonsense"), "cannot connect to 'nonsense'"),
        (("--alarms", "nonsense"), "cannot connect to 'nonsense'"),
        (("--plots", "absent.py"), "absent.py"),
        (("--port", "65536"), "'65536' is not a port"),
    ],
)
def test_refused_at_the_start(capsys: pytest.CaptureFixture[str], arguments: tuple[str, ...], advice: str) -> None:
    assert re.search(advice, refusal(capsys, *arguments))


def test_a_port_that_somebody_has(capsys: pytest.CaptureFixture[str]) -> None:
    with socket.create_server(("127.0.0.1", 0)) as other:
        port = other.getsockname()[1]
        assert f"cannot listen at 127.0.0.1 port {port}" in refusal(capsys, "--port", str(port))


def test_tcp_control_without_keys(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    token = tmp_path / "token"
    token.write_text("0123456789abcdef")
    said = refusal(capsys, "--control", "tcp://127.0.0.1:1", "--operator-token-file", str(token))
    assert "takes commands only with keys" in said
