"""Who is in the way of a socket: real sockets, and processes as /proc tells of them."""

import os
import re
import socket
import subprocess
import sys
from pathlib import Path

import pytest
import zmq

from astropix_runtime.sockets.endpoint_holder import holder_of, in_the_way
from astropix_runtime.sockets.listening_socket import bind_alone

pytestmark = pytest.mark.skipif(not Path("/proc/net/tcp").exists(), reason="only Linux tells who listens")

LISTENER = """
import socket, sys
family = getattr(socket, sys.argv[1])
listener = socket.socket(family)
listener.bind(sys.argv[2] if family == socket.AF_UNIX else (sys.argv[2], 0))
listener.listen()
print(listener.getsockname() if family == socket.AF_UNIX else listener.getsockname()[1], flush=True)
sys.stdin.read()
"""


class Listener:
    """Another process that listens; `argv` is what it has on its command line after that."""

    def __init__(self, family: str, address: str, *argv: str) -> None:
        self.process = subprocess.Popen(
            [sys.executable, "-c", LISTENER, family, address, *argv],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        assert self.process.stdout is not None
        self.where = self.process.stdout.readline().strip()

    def __enter__(self) -> "Listener":
        return self

    def __exit__(self, *_: object) -> None:
        self.process.communicate()


@pytest.mark.parametrize(("family", "address"), [("AF_INET", "127.0.0.1"), ("AF_INET", "0.0.0.0"), ("AF_INET6", "::1")])
def test_a_foreign_program_at_a_port(family: str, address: str) -> None:
    with Listener(family, address) as listener:
        who = holder_of(f"tcp://127.0.0.1:{listener.where}")
        assert who == f"another program, {Path(sys.executable).name} (process {listener.process.pid})"
        assert in_the_way(f"tcp://127.0.0.1:{listener.where}") == f" by {who}"


@pytest.mark.parametrize(
    ("argv", "expected"),
    [
        (["daqd.publishing.publish", "--daq=first"], "the publisher of the daemon 'first'"),
        (["daqd.catching_up.history"], "the catch-up service of another daemon"),
        (["daqd.catching_up.history", "--replay=x"], "the catch-up service of a replay"),
    ],
)
def test_ours(argv: list[str], expected: str) -> None:
    with Listener("AF_INET", "127.0.0.1", *argv) as listener:
        assert holder_of(f"tcp://127.0.0.1:{listener.where}") == f"{expected} (process {listener.process.pid})"


def test_nobody() -> None:
    with socket.socket() as bound:
        bound.bind(("127.0.0.1", 0))  # and does not listen
        assert holder_of(f"tcp://127.0.0.1:{bound.getsockname()[1]}") == ""
    assert holder_of("tcp://127.0.0.1:*") == ""
    assert in_the_way("ipc:///no/such/socket") == ""


def test_of_another_user(tmp_path: Path) -> None:
    """Its sockets are there, who has them is hidden."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port = listener.getsockname()[1]
        (tmp_path / "net").mkdir()
        (tmp_path / "net" / "tcp").write_text(Path("/proc/net/tcp").read_text())
        (tmp_path / "1").mkdir()
        assert holder_of(f"tcp://127.0.0.1:{port}", tmp_path) == ""
        assert str(os.getpid()) in holder_of(f"tcp://127.0.0.1:{port}")


def test_a_unix_socket_is_not_taken_from_who_listens(tmp_path: Path) -> None:
    path = tmp_path / "stream"
    with zmq.Context() as context, context.socket(zmq.PUB) as server, Listener("AF_UNIX", str(path)) as listener:
        with pytest.raises(zmq.ZMQError, match="Address already in use"):
            bind_alone(server, f"ipc://{path}")
        assert re.fullmatch(rf"another program, \S+ \(process {listener.process.pid}\)", holder_of(f"ipc://{path}"))
        listener.process.communicate()
        assert path.exists()  # left behind
        bind_alone(server, f"ipc://{path}")
