"""A client and a server with keys, or without: who is let in, and what the client says where it is not."""

import logging
import socketserver
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, Self

import pytest

from astropix_runtime.errors import UnreachableError
from daqd.control import ControlClient
from daqd.publishing.stream import Stream
from monitor import cli
from monitor.client import StreamClient
from monitor.control import CheckerClient
from monitor.errors import EndpointError, KeysError
from monitor.keys import daemon_keys
from monitor.sanity import cli as sanity_cli
from protocol.wire.messages import LogLine, Topic, encode_body
from tests.daqd.waiting import wait_until
from tests.deadline import DEADLINE_S
from tests.key_ring import KeyRing

pytestmark = pytest.mark.slow

BODY = encode_body(LogLine(level="info", text="hello"))


@pytest.fixture
def ring(tmp_path: Path) -> KeyRing:
    return KeyRing(tmp_path / "keys")


@pytest.fixture
def stream(ring: KeyRing) -> Iterator[Stream]:
    with Stream("tcp://127.0.0.1:*", "bench", 1000, keys=ring.server, say=lambda text: None) as stream:
        yield stream


def keys(ring: KeyRing, name: str = "alice", server: str = "daq") -> dict[str, Path]:
    return {"server_key": ring.public(server), "key": ring.secret(name)}


class TakesAndCloses(socketserver.ThreadingTCPServer):
    """A port whose connections are taken and closed at once, as of a tunnel that leads nowhere. `says`: before."""

    allow_reuse_address = True
    daemon_threads = True

    def __init__(self, says: bytes = b"") -> None:
        super().__init__(("127.0.0.1", 0), socketserver.BaseRequestHandler)
        self._says = says
        self.endpoint = f"tcp://127.0.0.1:{self.server_address[1]}"
        self._thread = threading.Thread(target=self.serve_forever, args=(0.01,))

    def finish_request(self, request: Any, client_address: Any) -> None:
        request.sendall(self._says)

    def close(self) -> None:
        if self._thread.is_alive():
            self.shutdown()
            self.server_close()
            self._thread.join()

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


def wait_for(client: StreamClient, said: Callable[[], str]) -> None:
    end = time.monotonic() + DEADLINE_S
    while not said():
        assert client.receive(0.05) is None
        assert time.monotonic() < end, "nothing is said"


def wait_for_refusal(client: StreamClient) -> str:
    wait_for(client, lambda: client.refusal)
    assert client.last_error == client.refusal
    return client.refusal


def check_gets_the_stream(stream: Stream, client: StreamClient) -> None:
    end = time.monotonic() + DEADLINE_S
    event = None
    while event is None:
        stream.take_subscriptions()
        stream.send(Topic.LOG, BODY)
        event = client.receive(0.05)
        assert time.monotonic() < end, "nothing comes"
    assert (event.topic, client.refusal) == ("log", "")


def test_with_keys(stream: Stream, ring: KeyRing) -> None:
    with StreamClient(stream.endpoint, **keys(ring)) as client:
        check_gets_the_stream(stream, client)
    pair = ring.client()
    with StreamClient(stream.endpoint, server_key=pair.server, key=pair.own) as client:
        check_gets_the_stream(stream, client)


def test_a_key_that_is_allowed_later(stream: Stream, ring: KeyRing) -> None:
    """ZeroMQ itself would never try again."""
    with StreamClient(stream.endpoint, **keys(ring, "mallory")) as client:
        said = wait_for_refusal(client)
        assert said.startswith(f"the server at {stream.endpoint} refuses this client: it does not know this key")
        ring.allow("mallory")
        check_gets_the_stream(stream, client)


def test_a_server_that_is_another_one(stream: Stream, ring: KeyRing) -> None:
    with StreamClient(stream.endpoint, **keys(ring, server="mallory")) as client:
        assert "the server key is not its own" in wait_for_refusal(client)


def test_no_key(stream: Stream) -> None:
    with StreamClient(stream.endpoint) as client:
        assert "key" in wait_for_refusal(client)


def test_a_server_without_keys(ring: KeyRing) -> None:
    """And once it has keys, at the same place, the client is let in."""
    keyless = Stream("tcp://127.0.0.1:*", "bench", 1000)
    with StreamClient(keyless.endpoint, **keys(ring)) as client:
        with keyless:
            assert "it has no keys" in wait_for_refusal(client)
        with Stream(keyless.endpoint, "bench", 1000, keys=ring.server) as stream:
            check_gets_the_stream(stream, client)


def test_with_the_first_message_nothing_is_refused_any_more(stream: Stream, ring: KeyRing) -> None:
    """Also where nobody has looked since the handshake."""
    with StreamClient(stream.endpoint, **keys(ring, "mallory")) as client:
        wait_for_refusal(client)
        ring.allow("mallory")

        def let_in() -> bool:
            wait_until("it tries again", lambda: client.receive(0) is None and not client._handshakes.given_up)
            return stream.wait_for_subscribers(1, 0.5)

        wait_until("it is let in", let_in)
        assert client.refusal
        stream.send(Topic.LOG, BODY)
        assert client._socket.poll(DEADLINE_S * 1000)
        assert client.receive(0) is not None
        assert client.refusal == ""


def test_nobody_there_is_no_refusal(ring: KeyRing) -> None:
    for given in (keys(ring), {}):
        with StreamClient("tcp://127.0.0.1:1", **given) as client:
            assert client.receive(0.3) is None
            assert client.refusal == ""


@pytest.mark.parametrize("keyed", [True, False])
def test_a_tunnel_with_nothing_at_its_end_refuses_nobody(keyed: bool, ring: KeyRing) -> None:
    """And when somebody is there, at the same place, the client goes on."""
    with TakesAndCloses() as tunnel, StreamClient(tunnel.endpoint, **(keys(ring) if keyed else {})) as client:
        wait_for(client, lambda: client.no_answer)
        assert client.refusal == ""
        assert client.no_answer.startswith(f"nobody answers at {tunnel.endpoint}: connections are taken and closed")
        assert client.last_error == client.obstacle == client.no_answer
        tunnel.close()
        with Stream(tunnel.endpoint, "bench", 1000, keys=ring.server if keyed else None) as stream:
            check_gets_the_stream(stream, client)
        assert client.obstacle == ""


def test_what_does_not_speak_zeromq_refuses_nobody() -> None:
    with TakesAndCloses(says=b"SSH-2.0-OpenSSH_9.2\r\n") as other, StreamClient(other.endpoint) as client:
        wait_for(client, lambda: client.no_answer)
        assert "does not speak ZeroMQ" in client.no_answer
        assert client.refusal == ""


def test_commands_through_a_tunnel_with_nothing_at_its_end() -> None:
    with TakesAndCloses() as tunnel:
        silent = r"^no {} answers at tcp://.*: connections are taken and closed without a word"
        with (
            CheckerClient(tunnel.endpoint) as alarms,
            pytest.raises(UnreachableError, match=silent.format("apx-sanity")),
        ):
            alarms.call("alarms")
        with ControlClient(tunnel.endpoint) as daemon, pytest.raises(UnreachableError, match=silent.format("daemon")):
            daemon.call("status")


def test_who_waits_for_ever_is_told_once(stream: Stream, ring: KeyRing, caplog: pytest.LogCaptureFixture) -> None:
    class Told(logging.Handler):
        def emit(self, record: logging.LogRecord) -> None:
            client.interrupt()

    told = Told()
    logging.getLogger("monitor.client").addHandler(told)
    try:
        with StreamClient(stream.endpoint, **keys(ring, "mallory")) as client:
            assert list(client) == []
    finally:
        logging.getLogger("monitor.client").removeHandler(told)
    assert [record.levelname for record in caplog.records] == ["WARNING"]
    assert caplog.messages[0].startswith(f"the server at {stream.endpoint} refuses this client: it does not know")


def test_keys_are_for_tcp(ring: KeyRing, tmp_path: Path) -> None:
    with pytest.raises(EndpointError, match=r"takes no keys: they are for tcp://host:port"):
        StreamClient(f"ipc://{tmp_path}/s", **keys(ring))


def test_keys_that_cannot_be_used(ring: KeyRing) -> None:
    with pytest.raises(KeysError, match="go together: give --server-key and --key"):
        StreamClient(key=ring.secret("alice"))
    with pytest.raises(KeysError, match="go together: give --server-key and --key"):
        StreamClient(server_key=ring.public("daq"))
    with pytest.raises(KeysError, match=r"none\.key: cannot be read: No such file"):
        StreamClient(server_key=ring.folder / "none.key", key=ring.secret("alice"))
    other = ring.client("mallory").own.public
    text = ring.secret("alice").read_text().replace(ring.client().own.public, other)
    ring.secret("alice").write_text(text)
    with pytest.raises(KeysError, match=r"the secret key does not belong to the public key"):
        StreamClient(**keys(ring))


@pytest.mark.parametrize("main", [cli.main, sanity_cli.main])
def test_programs_say_what_is_wrong_with_keys(
    main: Callable[[list[str]], int], ring: KeyRing, capsys: pytest.CaptureFixture[str]
) -> None:
    command = ["watch"] if main is cli.main else []
    assert main([*command, "--key", str(ring.secret("alice"))]) == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert "the server's key and the client's own go together" in line


def test_checks_of_files_take_no_keys(ring: KeyRing, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as ended:
        sanity_cli.main(["--once", "any.apx", "--key", str(ring.secret("alice"))])
    assert ended.value.code == 2
    assert "--key is for streams and --once for files" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("words", "shown"),
    [
        ([], (None, None)),
        (["--key", "k"], (None, "k")),  # which is a mistake, and told as one
        (["--server-key", "s", "--key", "k"], ("s", "k")),
        (["--alarms-server-key", "a", "--key", "k"], (None, None)),
        (["--server-key", "s", "--alarms-server-key", "a", "--key", "k"], ("s", "k")),
    ],
)
@pytest.mark.parametrize("command", ["watch", "serve"])
def test_a_key_for_the_checker_alone_is_not_shown_to_the_daemon(
    command: str, words: list[str], shown: tuple[str | None, str | None]
) -> None:
    keys = daemon_keys(cli.build_parser().parse_args([command, *words]))
    assert tuple(keys.values()) == tuple(None if name is None else Path(name) for name in shown)
