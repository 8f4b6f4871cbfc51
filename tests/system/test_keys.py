"""Keys, with the real programs: with an allowed one they read and command, without one they get nothing."""

import contextlib
import os
import re
import socket
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
import zmq

from astropix_runtime.errors import UnreachableError
from astropix_runtime.sockets.request_client import secure_client
from daqd.control import ControlClient
from monitor.errors import HistoryError
from monitor.receiving.history import run_hits
from protocol.wire.messages import Request, Stat, decode_reply, encode_request
from tests.key_ring import KeyRing
from tests.system.laboratory import Daemon, Laboratory, Settings
from tests.system.processes import DEADLINE_S, wait_until
from tests.system.programs import program_path


@pytest.fixture
def ring(laboratory: Laboratory) -> KeyRing:
    return KeyRing(laboratory.folder / "keys")


def keyed(ring: KeyRing) -> Settings:
    """A daemon that takes only keys, for the stream and for commands."""
    return {
        "emulator": {"rate_hz": 2000.0},
        "stream": {"bind": "tcp://127.0.0.1:*"},
        "control": {"endpoint": "tcp://127.0.0.1:*"},
        "security": ring.section,
    }


def arguments(ring: KeyRing, name: str = "alice", server: str = "daq") -> list[str | Path]:
    """What the programs of a client are told."""
    return ["--server-key", ring.public(server), "--key", ring.secret(name)]


def control_endpoint(daemon: Daemon) -> str:
    return daemon.program.wait_for_output(r"listens at (tcp://\S+)")[1]


def call(daemon: Daemon, ring: KeyRing, command: str) -> dict[str, object]:
    with ControlClient(control_endpoint(daemon), DEADLINE_S, ring.client()) as client:
        return client.call(command)


@pytest.fixture
def daemon(laboratory: Laboratory, ring: KeyRing) -> Daemon:
    return laboratory.configure(keyed(ring)).start()


def test_with_a_key(laboratory: Laboratory, ring: KeyRing, daemon: Daemon) -> None:
    ctl = ["--endpoint", control_endpoint(daemon), *arguments(ring)]
    with laboratory.subscribe(daemon.endpoint, server_key=ring.public("daq"), key=ring.secret("alice")) as subscriber:
        subscriber.wait_until_heard()
        assert laboratory.run("daqctl", *ctl, "start", "--readouts", "50").code == 0
        subscriber.wait_for_end(run=1)
        assert len(subscriber.hits(run=1)) > 0
    status = laboratory.run("daqctl", *ctl, "status", "--json")
    assert Stat.model_validate(status.json()["status"]).publisher.refused == 0
    assert laboratory.run("daqctl", *ctl, "shutdown").code == 0
    assert daemon.program.wait() == 0
    assert daemon.run(1).check_closed().state == "finished"


def test_joining_late_with_a_key(laboratory: Laboratory, ring: KeyRing, daemon: Daemon) -> None:
    call(daemon, ring, "start")
    stat = wait_until("hits", lambda: _some_hits(call(daemon, ring, "status")))
    keys = {"server_key": ring.public("daq"), "key": ring.secret("alice")}
    with laboratory.subscribe(daemon.endpoint, history=True, **keys) as late:
        late.wait_for_hits(2000)
        call(daemon, ring, "stop")
        late.wait_for_end(run=1)
        np.testing.assert_array_equal(late.hits(run=1), daemon.run(1).hits)
    np.testing.assert_array_equal(
        np.concatenate(list(run_hits(stat.catch_up, 1, keys=ring.client()))), daemon.run(1).hits
    )


def _some_hits(status: dict[str, object]) -> Stat | None:
    stat = Stat.model_validate(status["status"])
    return stat if stat.ledger and stat.ledger["hits"] > 500 else None


@pytest.fixture
def context() -> Iterator["zmq.Context[zmq.Socket[bytes]]"]:
    with zmq.Context() as context:
        yield context


def raw_connection(endpoint: str) -> socket.socket:
    return socket.create_connection(("127.0.0.1", int(endpoint.rpartition(":")[2])))


def test_without_a_key_nothing_happens(
    laboratory: Laboratory, ring: KeyRing, daemon: Daemon, context: "zmq.Context[zmq.Socket[bytes]]"
) -> None:
    """To the stream and the control socket, with every kind of wrong key; the programs say why, the daemon counts."""
    control = control_endpoint(daemon)
    nobody: list[tuple[list[str | Path], str]] = [
        ([], "key"),
        (arguments(ring, "mallory"), "it does not know this key"),
        (arguments(ring, server="mallory"), "the server key is not its own"),
    ]
    plain = context.socket(zmq.DEALER)
    plain.set(zmq.LINGER, 0)
    plain.connect(control)
    for command in ("start", "stop", "shutdown"):
        plain.send(encode_request(Request(id="1", cmd=command, args={})))
    eavesdropper = context.socket(zmq.SUB)
    eavesdropper.set(zmq.LINGER, 0)
    eavesdropper.set(zmq.SUBSCRIBE, b"")
    eavesdropper.connect(daemon.endpoint)
    with plain, eavesdropper, raw_connection(control) as one, raw_connection(daemon.endpoint) as other:
        for peer in (one, other):
            peer.sendall(bytes(range(256)) * 16)
        for keys, why in nobody:
            watch = laboratory.run("apx-monitor", "watch", "--connect", daemon.endpoint, "--once", *keys)
            assert (watch.code, watch.stdout) == (1, "")
            (line,) = watch.stderr.splitlines()
            assert line.startswith(f"apx-monitor: the server at {daemon.endpoint} refuses this client: ")
            assert why in line
        refused = laboratory.run("daqctl", "--endpoint", control, *arguments(ring, "mallory"), "start")
        assert (refused.code, refused.stdout) == (1, "")
        (line,) = refused.stderr.splitlines()
        assert line.startswith(f"daqctl: the daemon at {control} refuses this client: it does not know this key")
        for keys in (None, ring.client("mallory"), ring.client(server="mallory")):
            for command in ("start", "stop", "shutdown"):
                with (
                    ControlClient(control, DEADLINE_S, keys) as client,
                    pytest.raises(UnreachableError, match="refuses this client"),
                ):
                    client.call(command)
        keyless = laboratory.run("daqctl", "--endpoint", control, "shutdown")
        assert (keyless.code, keyless.stdout) == (2, "")
        assert "takes commands only from clients with a key" in keyless.stderr
        assert call(daemon, ring, "status")["status"]["state"] == "idle"
        assert not eavesdropper.poll(0)
        assert not plain.poll(0)

    def counted() -> bool:
        stat = Stat.model_validate(call(daemon, ring, "status")["status"])
        return stat.publisher.refused >= 3 and stat.publisher.subscribers == 0

    wait_until("the refused ones are counted", counted)
    said = daemon.program.output
    mallory = re.escape(ring.client("mallory").own.public)
    assert re.search(rf"the stream refused 127\.0\.0\.1: its key {mallory} is not among the client_keys", said)
    assert re.search(rf"the control socket refused 127\.0\.0\.1: its key {mallory} is not among the client_keys", said)
    with laboratory.subscribe(daemon.endpoint, server_key=ring.public("daq"), key=ring.secret("alice")) as subscriber:
        subscriber.wait_until_heard()
    assert daemon.end() == 0


def test_the_past(daemon: Daemon, ring: KeyRing, context: "zmq.Context[zmq.Socket[bytes]]") -> None:
    """The socket of the past wants a key, too: who has none is not answered, and who has one is, beside him."""
    with (
        context.socket(zmq.DEALER) as stranger,
        context.socket(zmq.DEALER) as nobody,
        context.socket(zmq.DEALER) as alice,
    ):
        secure_client(stranger, ring.client("mallory"))
        secure_client(alice, ring.client())
        endpoint = str(call(daemon, ring, "status")["status"]["catch_up"])
        for client in (stranger, nobody, alice):
            client.set(zmq.LINGER, 0)
            client.connect(endpoint)
            client.send(encode_request(Request(id="1", cmd="runs", args={})))
        assert alice.poll(int(DEADLINE_S * 1000))
        assert decode_reply(alice.recv_multipart()[0]).ok
        mallory = re.escape(ring.client("mallory").own.public)
        daemon.program.wait_for_output(
            rf"the past refused 127\.0\.0\.1: its key {mallory} is not among the client_keys"
        )
        assert not stranger.poll(0)
        assert not nobody.poll(0)
    assert daemon.end() == 0


def test_connections_that_say_nothing(laboratory: Laboratory, ring: KeyRing) -> None:
    """So many that the daemon had no file left to write a run into, if its limit were the usual one."""
    daemon = laboratory.configure(keyed(ring))
    limited = ["sh", "-c", 'ulimit -S -n 128 && exec "$@"', "sh", program_path("daqd"), "run", "-c"]
    daemon.launch_command([*limited, str(daemon.config_path)]).wait_until_serving()
    with contextlib.ExitStack() as open_until_the_end:
        for endpoint in (control_endpoint(daemon), daemon.endpoint):
            for _ in range(200):
                open_until_the_end.enter_context(raw_connection(endpoint))
        for command in ("start", "rotate", "stop"):
            call(daemon, ring, command)
        with laboratory.subscribe(daemon.endpoint, server_key=ring.public("daq"), key=ring.secret("alice")) as client:
            client.wait_until_heard()
    assert daemon.run(1).check_closed().state == "finished"
    assert daemon.end() == 0


def test_who_waits_is_told_and_let_in_when_allowed(laboratory: Laboratory, ring: KeyRing, daemon: Daemon) -> None:
    """Without a restart of either."""
    watch = laboratory.start("apx-monitor", "watch", "--connect", daemon.endpoint, *arguments(ring, "mallory"))
    watch.wait_for_output(rf"^the server at {daemon.endpoint} refuses this client: it does not know this key")
    sanity = laboratory.start("apx-sanity", "--connect", daemon.endpoint, *arguments(ring, "mallory"))
    sanity.wait_for_output(rf"^apx-sanity: the server at {daemon.endpoint} refuses this client: it does not know")
    ring.allow("mallory")
    watch.wait_for_output(r"^IDLE bench")
    assert watch.end() == 0
    sanity.end()


def test_replay_with_keys(laboratory: Laboratory, ring: KeyRing, daemon: Daemon) -> None:
    with ControlClient(control_endpoint(daemon), DEADLINE_S, ring.client()) as client:
        client.call("start", readouts=50)
    wait_until("the run has ended", lambda: call(daemon, ring, "status")["status"]["state"] == "configured")
    assert daemon.end() == 0
    run = daemon.run(1)
    section = ring.section
    keys = ["--server-key", section["server_key"], "--client-keys", section["client_keys"]]
    replay = laboratory.start(
        "daqd", "replay", *run.files, "--speed", "max", "--stay", "--bind", "tcp://127.0.0.1:*", *keys
    )
    endpoint = replay.wait_for_output(r"at (tcp://\S+)")[1]
    stranger = laboratory.run("apx-monitor", "watch", "--once", "--connect", endpoint)
    assert stranger.code == 1
    with laboratory.subscribe(endpoint, server_key=ring.public("daq"), key=ring.secret("alice")) as subscriber:
        subscriber.wait_for_end(run=1)
        assert len(subscriber.hits(run=1)) == run.record.ledger["hits"]
    alice = {"server_key": ring.public("daq"), "key": ring.secret("alice")}
    with laboratory.subscribe(endpoint, history=True, **alice) as late:
        late.wait_for_end(run=1)
        assert len(late.hits(run=1)) == run.record.ledger["hits"]
    catch_up = replay.wait_for_output(r"past at (tcp://\S+)")[1]
    with pytest.raises(HistoryError, match="nobody answers"):
        list(run_hits(catch_up, 1, timeout_s=0.5))
    assert replay.end() == 0


def test_open_to_everybody_is_said_at_every_start(laboratory: Laboratory) -> None:
    """The address is loopback, as all of this machine's tests are; what is said is the same."""
    daemon = laboratory.configure({"stream": {"insecure": True}}).start()
    daemon.program.wait_for_output(
        r"WARNING .*stream.insecure is set: every machine that reaches tcp://\S+ or tcp://\S+ can read it"
    )
    assert daemon.end() == 0


def test_no_start_without_keys_where_others_could_connect(laboratory: Laboratory) -> None:
    settings: Settings = {"stream": {"bind": "tcp://0.0.0.0:5556"}}
    refused = laboratory.run("daqd", "run", "-c", laboratory.configure(settings).config_path)
    assert refused.code == 2
    assert "lets every machine on the network read the stream: make keys (daqctl keygen)" in refused.stderr
    assert not (laboratory.folder / "data").exists()


def test_no_commands_over_tcp_without_keys(laboratory: Laboratory) -> None:
    settings: Settings = {"stream": {"insecure": True}, "control": {"endpoint": "tcp://127.0.0.1:*"}}
    refused = laboratory.run("daqd", "run", "-c", laboratory.configure(settings).config_path)
    assert refused.code == 2
    assert "lets everybody who can reach it command the board: use ipc://PATH, or make keys" in refused.stderr


@pytest.mark.skipif(os.name != "posix", reason="file permissions of POSIX")
def test_no_start_with_a_secret_key_that_others_can_read(laboratory: Laboratory, ring: KeyRing) -> None:
    daemon = laboratory.configure(keyed(ring))
    secret = ring.secret("daq")
    secret.chmod(0o640)
    refused = laboratory.run("daqd", "run", "-c", daemon.config_path)
    assert refused.code == 2
    advice = f"others may read this secret key: chmod 600 {secret}"
    assert refused.stderr == f"daqd: [security]: server_key: {secret}: {advice}\n"
    ring.secret("alice").chmod(0o644)
    reader = laboratory.run("apx-monitor", "watch", "--once", *arguments(ring))
    assert reader.code == 2
    assert f"chmod 600 {ring.secret('alice')}" in reader.stderr
    assert len(reader.stderr.splitlines()) == 1
