"""Who gets in at a TCP socket with keys, who does not, and what is said of it; real sockets, real handshakes."""

import os
import re
import socket
from collections.abc import Iterator
from pathlib import Path

import pytest
import zmq

from astropix_runtime.sockets.gatekeeper import AllowedClients, Refusals
from astropix_runtime.sockets.key_files import ClientKeys
from astropix_runtime.sockets.request_client import secure_client
from daqd.errors import ConfigError
from daqd.publishing.stream import Stream
from daqd.server_keys import load_server_keys
from protocol.wire.messages import LogLine, Topic, encode_body
from tests.daqd.waiting import DEADLINE_S, wait_until
from tests.key_ring import KeyRing

NO_KEY = "^the stream refused .*: it (shows no key|went away before it had shown a key)"
"""Who of the two hangs up first is a matter of chance."""

BODY = encode_body(LogLine(level="info", text="hello"))


@pytest.fixture
def ring(tmp_path: Path) -> KeyRing:
    return KeyRing(tmp_path / "keys")


@pytest.fixture
def said() -> list[str]:
    return []


@pytest.fixture
def stream(ring: KeyRing, said: list[str]) -> Iterator[Stream]:
    with Stream("tcp://127.0.0.1:*", "bench", 1000, keys=ring.server, say=said.append) as stream:
        yield stream


class Client:
    """A subscriber to everything; a context manager."""

    def __init__(self, endpoint: str, keys: ClientKeys | None = None) -> None:
        self._context = zmq.Context()
        self.socket = self._context.socket(zmq.SUB)
        self.socket.set(zmq.LINGER, 0)
        self.socket.set(zmq.RECONNECT_IVL, 20)
        self.socket.set(zmq.SUBSCRIBE, b"")
        if keys is not None:
            secure_client(self.socket, keys)
        self.socket.connect(endpoint)

    def __enter__(self) -> "Client":
        return self

    def __exit__(self, *_: object) -> None:
        self.socket.close()
        self._context.term()


def check_gets_the_stream(stream: Stream, client: Client) -> None:
    assert stream.wait_for_subscribers(stream.subscribers + 1, DEADLINE_S)
    stream.send(Topic.LOG, BODY)
    assert client.socket.poll(round(DEADLINE_S * 1000))
    assert client.socket.recv_multipart()[2] == BODY


def nobody_is_there(stream: Stream) -> bool:
    stream.take_subscriptions()
    return stream.subscribers == 0


def check_refused(stream: Stream, client: Client, said: list[str], reason: str) -> None:
    """It is refused for that reason, and nothing reaches it."""
    wait_until(f"it is said that {reason}", lambda: any(re.search(reason, text) for text in said))
    assert stream.refused >= 1
    assert nobody_is_there(stream)
    stream.send(Topic.LOG, BODY)
    assert not client.socket.poll(0)


def test_an_allowed_client_gets_the_stream(stream: Stream, ring: KeyRing, said: list[str]) -> None:
    with Client(stream.endpoint, ring.client()) as client:
        check_gets_the_stream(stream, client)
    assert (stream.refused, said) == (0, [])


def test_a_key_that_is_not_allowed(stream: Stream, ring: KeyRing, said: list[str]) -> None:
    keys = ring.client("mallory")
    with Client(stream.endpoint, keys) as client:
        check_refused(stream, client, said, "refused 127.0.0.1")
    assert said == [f"the stream refused 127.0.0.1: its key {keys.own.public} is not among the client_keys"]


def test_another_server_s_key(stream: Stream, ring: KeyRing, said: list[str]) -> None:
    with Client(stream.endpoint, ring.client(server="mallory")) as client:
        check_refused(stream, client, said, "^the stream refused .*: it takes us for another server")


def test_no_key(stream: Stream, said: list[str]) -> None:
    with Client(stream.endpoint) as client:
        check_refused(stream, client, said, NO_KEY)


def test_a_password(stream: Stream, said: list[str]) -> None:
    with Client("tcp://127.0.0.1:1") as client:
        client.socket.set(zmq.PLAIN_USERNAME, b"daq")
        client.socket.set(zmq.PLAIN_PASSWORD, b"daq")
        client.socket.connect(stream.endpoint)
        check_refused(stream, client, said, NO_KEY)


ZMTP = b"\xff" + bytes(8) + b"\x7f\x03\0CURVE" + bytes(47)
"""How a ZMTP 3 peer with keys begins."""

GARBAGE = [b"", b"GET / HTTP/1.0\r\n\r\n", bytes(range(256)) * 16, ZMTP, ZMTP + b"\x04\xff\x05HELLO" + bytes(300)]


@pytest.mark.parametrize("garbage", GARBAGE)
def test_garbage(stream: Stream, ring: KeyRing, garbage: bytes) -> None:
    """Others come in while it is there, and after it."""
    with (
        socket.create_connection(("127.0.0.1", int(stream.endpoint.rpartition(":")[2]))) as peer,
        Client(stream.endpoint, ring.client()) as client,
    ):
        peer.sendall(garbage)
        check_gets_the_stream(stream, client)
    wait_until("it is gone", lambda: nobody_is_there(stream))
    with Client(stream.endpoint, ring.client()) as client:
        check_gets_the_stream(stream, client)


def test_a_key_that_is_allowed_later(stream: Stream, ring: KeyRing, said: list[str]) -> None:
    """Without a restart: the directory is looked at again. One that is taken away is refused from then on."""
    with Client(stream.endpoint, ring.client("mallory")) as client:
        check_refused(stream, client, said, "is not among the client_keys")
    ring.allow("mallory")

    def let_in() -> bool:
        wait_until("nobody is there", lambda: nobody_is_there(stream))
        with Client(stream.endpoint, ring.client("mallory")):
            return stream.wait_for_subscribers(1, 0.2)

    wait_until("the new key is allowed", let_in)
    (ring.client_keys / "mallory.key").unlink()
    wait_until("the key is refused", lambda: not let_in())


def test_many_at_once(stream: Stream, ring: KeyRing, said: list[str]) -> None:
    """Every one that is refused is counted; those who are allowed come in all the same, and the log stays short."""
    strangers = [Client(stream.endpoint, ring.client("mallory")) for _ in range(20)]
    try:
        with Client(stream.endpoint, ring.client()) as client:
            check_gets_the_stream(stream, client)
        wait_until("all were refused", lambda: stream.refused == len(strangers))
        assert len(said) == 1
    finally:
        for stranger in strangers:
            stranger.__exit__()


def test_nobody_is_let_in_while_nobody_looks_at_the_keys(ring: KeyRing) -> None:
    """ZeroMQ itself lets everybody in who knows the server's key, unless it is told to ask."""
    with Stream("tcp://127.0.0.1:*", "bench", 1000, keys=ring.server, say=lambda text: None) as stream:
        assert stream._listening._gatekeeper is not None
        stream.socket.disable_monitor()  # else it is the events that nobody takes at which ZeroMQ comes to a stop
        stream._listening._gatekeeper.close()
        with Client(stream.endpoint, ring.client()):
            assert not stream.wait_for_subscribers(1, 0.5)


def test_keys_are_for_tcp(ring: KeyRing, tmp_path: Path) -> None:
    """Who may use an ipc socket, its directory's permissions say."""
    with Stream(f"ipc://{tmp_path}/s", "bench", 10, keys=ring.server) as stream, Client(stream.endpoint) as client:
        check_gets_the_stream(stream, client)


def test_a_directory_without_keys(ring: KeyRing) -> None:
    (ring.client_keys / "alice.key").unlink()
    said: list[str] = []
    clients = AllowedClients(ring.client_keys, said.append)
    assert said == [f"no public key is in {ring.client_keys} yet: nobody can connect"]
    assert ring.client().own.public not in clients


def test_a_key_is_allowed_and_refused_at_once(ring: KeyRing) -> None:
    clients = AllowedClients(ring.client_keys, lambda text: None, lambda: 0.0)
    mallory = ring.client("mallory").own.public
    for _ in range(20):
        assert mallory not in clients
        ring.allow("mallory")
        assert mallory in clients
        (ring.client_keys / "mallory.key").unlink()


def test_what_changes_in_a_file_is_read_once_a_second(ring: KeyRing) -> None:
    now, said = [0.0], list[str]()
    (ring.client_keys / "broken.key").write_text("nonsense")
    (ring.client_keys / "other.key").write_bytes(ring.public("alice").read_bytes())
    os.utime(ring.client_keys, (0, 0))
    clients = AllowedClients(ring.client_keys, said.append, lambda: now[0])
    alice, mallory = ring.client().own.public, ring.client("mallory").own.public
    (ring.client_keys / "other.key").write_bytes(ring.public("mallory").read_bytes())
    assert alice in clients
    assert mallory not in clients
    now[0] = 1.0
    assert mallory in clients
    now[0] = 2.0
    assert alice in clients
    assert said == [
        f"a client key is passed over: {ring.client_keys}/broken.key: is no key file: there is no public-key in it"
    ]
    ring.client_keys.chmod(0o777)
    now[0] = 3.0
    assert alice not in clients
    assert said[1:] == [
        f"no client is allowed: {ring.client_keys}: others may put keys into it: chmod go-w {ring.client_keys}"
    ]


def test_every_mistake_is_told(ring: KeyRing) -> None:
    ring.secret("daq").chmod(0o644)
    (ring.client_keys / "one.key").write_text("")
    (ring.client_keys / "two.key").write_bytes(ring.secret("alice").read_bytes())
    with pytest.raises(ConfigError) as caught:
        load_server_keys(ring.secret("daq"), ring.client_keys)
    mistakes = [re.sub(r"/\S+/", "", line).removeprefix("[security]: ") for line in str(caught.value).splitlines()]
    assert mistakes == [
        "server_key: daq.key_secret: others may read this secret key: chmod 600 daq.key_secret",
        "client_keys: one.key: is no key file: there is no public-key in it",
        "client_keys: two.key: has a secret key in it, which belongs to nobody else: use the file that ends in .key",
    ]


def test_keys_of_the_server_that_do_not_belong_together(ring: KeyRing) -> None:
    keys, other = ring.server.own, ring.client("mallory").own
    text = ring.secret("daq").read_text().replace(keys.public, other.public)
    ring.secret("daq").write_text(text)
    with pytest.raises(ConfigError, match=r"daq\.key_secret: the secret key does not belong to the public key"):
        load_server_keys(ring.secret("daq"), ring.client_keys)


def test_the_same_refusal_is_said_once_a_minute() -> None:
    now, said = [0.0], list[str]()
    refusals = Refusals("the stream", said.append, lambda: now[0])
    for _ in range(5):
        refusals.note("10.0.0.1", "no")
    refusals.note("10.0.0.1", "never")
    refusals.note("", "no")
    now[0] = 60.0
    refusals.note("10.0.0.1", "no")
    assert said == [
        "the stream refused 10.0.0.1: no",
        "the stream refused 10.0.0.1: never",
        "the stream refused somebody who is gone already: no",
        "the stream refused 10.0.0.1: no (4 times more since it was last said)",
    ]
    assert refusals.number == 8


def test_a_thousand_strangers_do_not_fill_the_log() -> None:
    now, said = [0.0], list[str]()
    refusals = Refusals("the stream", said.append, lambda: now[0])
    for number in range(1000):
        refusals.note(f"10.0.0.{number}", "no")
    assert (len(said), refusals.number) == (64, 1000)
    now[0] = 61.0
    refusals.note("10.1.0.1", "no")
    assert len(said) == 65
