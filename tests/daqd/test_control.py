"""The control socket: every kind of client, every kind of nonsense, one daemon a socket."""

import asyncio
import contextlib
import os
import socket
import stat
import threading
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import msgpack
import pytest
import zmq

from astropix_runtime.errors import RefusedError, UnreachableError
from astropix_runtime.sockets.key_files import ServerKeys
from daqd.control import ControlClient, ControlError, control_server
from daqd.errors import RunControlError
from protocol.wire.messages import MAX_CONTROL_BYTES, Reply, Request, decode_reply, encode_request
from tests.daqd.waiting import DEADLINE_S, wait_until
from tests.key_ring import KeyRing


class Serving:
    """A server in a thread of its own. Commands: echo (gives its arguments), refuse, fail, wait (until `go_on`)."""

    def __init__(self, endpoint: str, keys: ServerKeys | None = None) -> None:
        self.endpoint = endpoint
        self._keys = keys
        self.go_on = threading.Event()
        self.waiting = threading.Event()
        self.asked: list[str] = []
        self._ready = threading.Event()
        self._error: Exception | None = None
        self._over: Callable[[], object] = lambda: None
        self._thread = threading.Thread(target=lambda: asyncio.run(self._serve()), name="server")
        self._thread.start()
        assert self._ready.wait(DEADLINE_S)
        if self._error is not None:
            self._thread.join(DEADLINE_S)
            raise self._error

    async def _serve(self) -> None:
        loop, over = asyncio.get_running_loop(), asyncio.Event()
        self._over = lambda: loop.call_soon_threadsafe(over.set)
        try:
            server = control_server(self.endpoint, self._keys)
        except ControlError as error:
            self._error = error
            self._ready.set()
            return
        server.start(self._obey)
        self.endpoint = server.endpoint
        self._ready.set()
        await over.wait()
        await server.stop()

    async def _obey(self, command: str, args: dict[str, Any]) -> dict[str, Any]:
        self.asked.append(command)
        match command:
            case "echo":
                return args
            case "refuse":
                raise RunControlError("running", "run 1 is being taken: stop it first")
            case "fail":
                raise ZeroDivisionError("a fault of ours")
            case "unsendable":
                return {"number": 1 << 100}
            case "wait":
                self.waiting.set()
                await asyncio.to_thread(self.go_on.wait, DEADLINE_S)
        return {}

    def close(self) -> None:
        self.go_on.set()
        self._over()
        self._thread.join(DEADLINE_S)


@pytest.fixture
def endpoint(tmp_path: Path) -> str:
    return f"ipc://{tmp_path}/run/bench.ipc"


@pytest.fixture
def server(endpoint: str) -> Iterator[Serving]:
    serving = Serving(endpoint)
    yield serving
    serving.close()


@pytest.fixture
def context() -> Iterator["zmq.Context[zmq.Socket[bytes]]"]:
    with zmq.Context() as context:
        yield context


def connect(context: Any, kind: int, endpoint: str) -> "zmq.Socket[bytes]":
    client: zmq.Socket[bytes] = context.socket(kind)
    client.set(zmq.LINGER, 0)
    client.connect(endpoint)
    return client


def receive(client: "zmq.Socket[bytes]") -> list[bytes]:
    assert client.poll(round(DEADLINE_S * 1000)), "no reply"
    return client.recv_multipart()


def test_a_call_and_its_result(server: Serving) -> None:
    with ControlClient(server.endpoint, DEADLINE_S) as client:
        for number in range(5):
            result = client.call("echo", number=number, text="20 °C", nested={"a": [1, None, 2.5]})
            assert result == {"number": number, "text": "20 °C", "nested": {"a": [1, None, 2.5]}}
        assert client.call("nothing") == {}


def test_a_refusal_has_its_code(server: Serving) -> None:
    with ControlClient(server.endpoint, DEADLINE_S) as client:
        with pytest.raises(RefusedError, match="run 1 is being taken: stop it first") as caught:
            client.call("refuse")
        assert caught.value.code == "running"


@pytest.mark.parametrize("command", ["fail", "unsendable"])
def test_a_fault_of_the_daemon_is_told_and_it_goes_on(server: Serving, command: str) -> None:
    with ControlClient(server.endpoint, DEADLINE_S) as client:
        with pytest.raises(RefusedError) as caught:
            client.call(command)
        assert caught.value.code == "internal"
        assert client.call("echo", a=1) == {"a": 1}


def test_a_req_socket(server: Serving, context: Any) -> None:
    with connect(context, zmq.REQ, server.endpoint) as client:
        for number in range(3):
            client.send(encode_request(Request(id=str(number), cmd="echo", args={"a": number})))
            (frame,) = receive(client)
            assert decode_reply(frame) == Reply(id=str(number), ok=True, result={"a": number})


def test_a_dealer_with_and_without_a_delimiter(server: Serving, context: Any) -> None:
    with connect(context, zmq.DEALER, server.endpoint) as client:
        request = encode_request(Request(id="7", cmd="echo", args={"a": 1}))
        for before in ([], [b""], [b"", b"x"], [b"any", b"thing"]):
            client.send_multipart([*before, request])
            *delimiter, frame = receive(client)
            assert delimiter == before
            assert decode_reply(frame).result == {"a": 1}


def test_many_requests_of_one_client_are_answered_by_their_ids(server: Serving, context: Any) -> None:
    with connect(context, zmq.DEALER, server.endpoint) as client:
        client.send(encode_request(Request(id="slow", cmd="wait")))
        assert server.waiting.wait(DEADLINE_S)
        for number in range(50):
            client.send(encode_request(Request(id=str(number), cmd="echo")))
        answered = {decode_reply(receive(client)[-1]).id for _ in range(50)}
        assert answered == set(map(str, range(50)))
        server.go_on.set()
        assert decode_reply(receive(client)[-1]).id == "slow"


def packed(**content: Any) -> bytes:
    return bytes(msgpack.packb(content))


NONSENSE = {
    "empty": b"",
    "text": b"hello",
    "every byte": bytes(range(256)),
    "half": packed(v=1, id="7", cmd="echo")[:-3],
    "more": packed(v=1, id="7", cmd="echo") + b"x",
    "a list": msgpack.packb([1, 2]),
    "nothing": msgpack.packb(None),
    "no command": packed(v=1, id="7"),
    "no id": packed(v=1, cmd="echo"),
    "a number for an id": packed(v=1, id=7, cmd="echo"),
    "a list for arguments": packed(v=1, id="7", cmd="echo", args=[1]),
    "numbers for keys": packed(v=1, id="7", cmd="echo", args={1: 2}),
    "version 2": packed(v=2, id="7", cmd="echo"),
    "version nil": packed(v=None, id="7", cmd="echo"),
    "deep": b"\x91" * 5000,
    "as large as may be": b"\xc6" + (MAX_CONTROL_BYTES - 5).to_bytes(4, "big") + bytes(MAX_CONTROL_BYTES - 5),
}


@pytest.mark.parametrize("name", NONSENSE)
def test_nonsense_is_answered_and_obeyed_by_nobody(server: Serving, context: Any, name: str) -> None:
    with connect(context, zmq.DEALER, server.endpoint) as client:
        client.send(NONSENSE[name])
        reply = decode_reply(receive(client)[-1])
        assert (reply.id, reply.ok, reply.result) == ("", False, None)
        assert reply.error is not None
        assert reply.error.code == "bad_request"
        assert reply.error.message
        assert "\n" not in reply.error.message
        assert len(reply.error.message) < 2000
        client.send(encode_request(Request(id="8", cmd="echo")))
        assert decode_reply(receive(client)[-1]).id == "8"
    assert server.asked == ["echo"]


def test_what_a_later_version_may_add_is_let_pass(server: Serving, context: Any) -> None:
    with connect(context, zmq.DEALER, server.endpoint) as client:
        client.send(packed(v=1, id="7", cmd="echo", colour="red"))
        assert decode_reply(receive(client)[-1]).ok
        client.send(packed(id="8", cmd="echo"))
        assert decode_reply(receive(client)[-1]).ok


def test_a_request_too_large_ends_the_connection_and_nothing_else(server: Serving, context: Any) -> None:
    with (
        connect(context, zmq.DEALER, server.endpoint) as client,
        ControlClient(server.endpoint, DEADLINE_S) as other,
        client.get_monitor_socket(zmq.EVENT_DISCONNECTED) as monitor,
    ):
        client.send(encode_request(Request(id="1", cmd="echo")))
        receive(client)
        client.send(bytes(MAX_CONTROL_BYTES + 1))
        assert monitor.poll(round(DEADLINE_S * 1000)), "it was not cut off"
        assert other.call("echo", a=1) == {"a": 1}
        client.disable_monitor()


def test_a_client_that_goes_away_before_its_answer(server: Serving, context: Any) -> None:
    with connect(context, zmq.DEALER, server.endpoint) as client:
        client.send(encode_request(Request(id="1", cmd="wait")))
        assert server.waiting.wait(DEADLINE_S)
    with ControlClient(server.endpoint, DEADLINE_S) as other:
        assert other.call("echo", a=1) == {"a": 1}
        server.go_on.set()
        assert other.call("echo", a=2) == {"a": 2}


def test_connections_that_say_nothing_or_no_zeromq(server: Serving) -> None:
    path = server.endpoint.removeprefix("ipc://")
    with socket.socket(socket.AF_UNIX) as silent, socket.socket(socket.AF_UNIX) as garbage:
        silent.connect(path)
        garbage.connect(path)
        garbage.sendall(bytes(range(256)) * 20)
        with ControlClient(server.endpoint, DEADLINE_S) as client:
            assert client.call("echo", a=1) == {"a": 1}


def test_many_clients_at_once(server: Serving) -> None:
    results: list[Any] = []

    def ask(number: int) -> None:
        with ControlClient(server.endpoint, DEADLINE_S) as client:
            results.extend(client.call("echo", a=(number, index)) for index in range(20))

    threads = [threading.Thread(target=ask, args=(number,)) for number in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(DEADLINE_S)
    assert sorted(tuple(result["a"]) for result in results) == [(n, i) for n in range(8) for i in range(20)]


def test_the_socket_is_for_this_user_only(server: Serving) -> None:
    directory = Path(server.endpoint.removeprefix("ipc://")).parent
    assert stat.S_IMODE(directory.stat().st_mode) == 0o700


def test_a_second_daemon_is_kept_away_and_the_first_goes_on(server: Serving) -> None:
    path = server.endpoint.removeprefix("ipc://")
    with pytest.raises(
        ControlError,
        match=rf"control socket {path} is in use by process {os.getpid()}: end that daemon \(daqctl shutdown\)",
    ):
        Serving(server.endpoint)
    with ControlClient(server.endpoint, DEADLINE_S) as client:
        assert client.call("echo", a=1) == {"a": 1}


def test_the_socket_can_be_had_again_after_the_end(endpoint: str) -> None:
    for _ in range(3):
        serving = Serving(endpoint)
        with ControlClient(endpoint, DEADLINE_S) as client:
            assert client.call("echo", a=1) == {"a": 1}
        serving.close()
        assert not Path(endpoint.removeprefix("ipc://")).exists()


def test_the_socket_of_a_daemon_that_was_killed_is_taken_over(endpoint: str) -> None:
    path = Path(endpoint.removeprefix("ipc://"))
    path.parent.mkdir(mode=0o700)
    with socket.socket(socket.AF_UNIX) as dead:
        dead.bind(str(path))
    path.with_suffix(".lock").touch()
    serving = Serving(endpoint)
    with ControlClient(endpoint, DEADLINE_S) as client:
        assert client.call("echo", a=1) == {"a": 1}
    serving.close()


@pytest.fixture
def ring(tmp_path: Path) -> KeyRing:
    return KeyRing(tmp_path / "keys")


@pytest.fixture
def keyed(ring: KeyRing) -> Iterator[Serving]:
    serving = Serving("tcp://127.0.0.1:*", ring.server)
    yield serving
    serving.close()


def test_two_daemons_at_one_tcp_port(ring: KeyRing, keyed: Serving) -> None:
    with pytest.raises(ControlError, match=f"^cannot listen at {keyed.endpoint}: Address already in use by .*process"):
        Serving(keyed.endpoint, ring.server)
    with ControlClient(keyed.endpoint, DEADLINE_S, ring.client()) as client:
        assert client.call("echo", a=1) == {"a": 1}


def test_no_commands_over_tcp_without_keys() -> None:
    with pytest.raises(ControlError, match=r"^tcp://127\.0\.0\.1:\* takes commands only with keys"):
        Serving("tcp://127.0.0.1:*")


def refused(ring: KeyRing, keyed: Serving, *, keys: bool = True, name: str = "alice", server: str = "daq") -> str:
    """What a client is told that is not let in."""
    with (
        ControlClient(keyed.endpoint, DEADLINE_S, ring.client(name, server) if keys else None) as client,
        pytest.raises(UnreachableError, match=f"^the daemon at {keyed.endpoint} refuses this client: ") as caught,
    ):
        client.call("echo", a=1)
    assert keyed.asked == []
    return str(caught.value).partition("refuses this client: ")[2]


def test_a_client_without_a_key_is_told_so(ring: KeyRing, keyed: Serving) -> None:
    assert "key" in refused(ring, keyed, keys=False)


def test_a_client_whose_key_is_not_allowed_is_told_so(ring: KeyRing, keyed: Serving) -> None:
    assert refused(ring, keyed, name="mallory").startswith("it does not know this key")


def test_a_client_that_takes_us_for_another_is_told_so(ring: KeyRing, keyed: Serving) -> None:
    assert "the server key is not its own" in refused(ring, keyed, server="mallory")


def test_keys_are_for_tcp(ring: KeyRing, endpoint: str) -> None:
    with pytest.raises(UnreachableError, match="takes no keys"):
        ControlClient(endpoint, DEADLINE_S, ring.client())


def test_keys_that_do_not_belong_together(ring: KeyRing) -> None:
    keys = ring.client()
    mixed = replace(keys, own=replace(keys.own, secret=ring.client("mallory").own.secret))
    with pytest.raises(UnreachableError, match=r"^the secret key does not belong to the public key"):
        ControlClient("tcp://127.0.0.1:1", DEADLINE_S, mixed)


def test_a_directory_that_others_can_write(endpoint: str) -> None:
    directory = Path(endpoint.removeprefix("ipc://")).parent
    directory.mkdir()
    directory.chmod(0o777)
    with pytest.raises(
        ControlError, match=rf"{directory} belongs to somebody else or others may write to it.*chmod 700"
    ):
        Serving(endpoint)


def test_a_directory_that_cannot_be_made(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(ControlError, match=rf"cannot use the runtime directory {tmp_path}/file/run: Not a directory"):
        Serving(f"ipc://{tmp_path}/file/run/bench.ipc")


def test_a_file_system_without_locks(endpoint: str, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*_: object) -> None:
        raise OSError(37, "No locks available")

    monkeypatch.setattr("fcntl.flock", fail)
    with pytest.raises(ControlError, match=r"no lock for .*bench\.lock: No locks available: choose a local directory"):
        Serving(endpoint)


def test_no_socket_is_told_at_once(endpoint: str) -> None:
    with (
        ControlClient(endpoint, 1e6) as client,
        pytest.raises(UnreachableError, match=r"no daemon is at ipc://.*bench\.ipc"),
    ):
        client.call("status")


def test_nobody_behind_the_socket(endpoint: str) -> None:
    Path(endpoint.removeprefix("ipc://")).parent.mkdir(parents=True, exist_ok=True)
    Path(endpoint.removeprefix("ipc://")).touch()
    with (
        ControlClient(endpoint, 0.05) as client,
        pytest.raises(UnreachableError, match=r"no daemon answers at .* within 0\.05 s"),
    ):
        client.call("status")


def test_an_address_that_is_none() -> None:
    with pytest.raises(UnreachableError, match=r"cannot connect to 'nonsense': Invalid argument; give ipc://PATH or"):
        ControlClient("nonsense")
    with pytest.raises(UnreachableError, match="cannot connect to 'ipc:///"):
        ControlClient(f"ipc:///{'x' * 200}")


@pytest.mark.parametrize("comment", ["\udc80", 1 << 100])
def test_what_cannot_be_sent_is_refused(server: Serving, comment: Any) -> None:
    with ControlClient(server.endpoint, DEADLINE_S) as client:
        with pytest.raises(RefusedError, match="start: cannot be sent: ") as caught:
            client.call("start", comment=comment)
        assert caught.value.code == "bad_arguments"
        assert client.call("echo", a=1) == {"a": 1}


class Answering:
    """A ROUTER in the place of a daemon, that answers what the test says."""

    def __init__(self, context: Any, answers: Callable[[bytes], list[bytes]]) -> None:
        self._socket = context.socket(zmq.ROUTER)
        self._socket.set(zmq.LINGER, 1000)
        self._socket.bind("tcp://127.0.0.1:*")
        self.endpoint = self._socket.getsockopt_string(zmq.LAST_ENDPOINT)
        self._answers = answers
        self._thread = threading.Thread(target=self._answer)
        self._thread.start()

    def _answer(self) -> None:
        with contextlib.closing(self._socket) as router:
            assert router.poll(round(DEADLINE_S * 1000))
            client, frame = router.recv_multipart()
            for answer in self._answers(frame):
                router.send_multipart([client, answer])

    def join(self) -> None:
        self._thread.join(DEADLINE_S)


def test_somebody_else_is_there(context: Any) -> None:
    other = Answering(context, lambda frame: [b"hello"])
    with (
        ControlClient(other.endpoint, DEADLINE_S) as client,
        pytest.raises(UnreachableError, match=r"answers nonsense \(not msg"),
    ):
        client.call("status")
    other.join()


def test_answers_to_calls_that_were_given_up_are_passed_over(context: Any) -> None:
    def answers(frame: bytes) -> list[bytes]:
        own = msgpack.unpackb(frame)["id"]
        return [packed(v=1, id="of old", ok=True, result={"a": 1}), packed(v=1, id=own, ok=True, result={"a": 2})]

    other = Answering(context, answers)
    with ControlClient(other.endpoint, DEADLINE_S) as client:
        assert client.call("status") == {"a": 2}
    other.join()


def test_a_daemon_that_cannot_read_the_request_says_so(context: Any) -> None:
    """As one of another version would: it does not know whose request it was."""
    refusal = packed(v=1, id="", ok=False, error={"code": "bad_request", "message": "not a request: v: 2 is too new"})
    other = Answering(context, lambda frame: [refusal])
    with ControlClient(other.endpoint, DEADLINE_S) as client, pytest.raises(RefusedError, match="too new") as caught:
        client.call("status")
    assert caught.value.code == "bad_request"
    other.join()


def test_a_client_does_not_wait_for_ever_for_the_end(endpoint: str) -> None:
    """A command is under way when the daemon ends: it is given a second, then the socket closes."""
    serving = Serving(endpoint)
    with ControlClient(endpoint, 0.01) as client:
        with pytest.raises(UnreachableError):
            client.call("wait")
        wait_until("it is being obeyed", serving.waiting.is_set)
        serving.close()


def test_close_without_start(endpoint: str) -> None:
    asyncio.run(control_server(endpoint, None).stop())
    assert not Path(endpoint.removeprefix("ipc://")).exists()
