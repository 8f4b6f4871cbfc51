"""Keys of the checker: who may read the alarms and acknowledge them at TCP addresses, and who may not."""

import logging
from collections.abc import Iterator
from pathlib import Path

import pytest

from astropix_runtime.errors import UnreachableError
from monitor.alarm_receiver import alarm_client
from monitor.client import StreamClient
from monitor.control import CheckerClient
from monitor.errors import ConfigError, KeysError
from monitor.events import AlarmMessage
from monitor.sanity.alarms.alarm_service import load_server_keys
from monitor.sanity.configuration import load_configuration
from protocol.wire.messages import Topic
from tests.deadline import DEADLINE_S
from tests.key_ring import KeyRing
from tests.monitor.sanity.test_alarm_service import Running
from tests.system.free_ports import free_ports


@pytest.fixture
def ring(tmp_path: Path) -> KeyRing:
    return KeyRing(tmp_path / "keys")


@pytest.fixture
def running(tmp_path: Path, ring: KeyRing) -> Iterator[Running]:
    """At TCP addresses, with the keys of `ring`, which are named relative to the file."""
    ports = free_ports("alarms", "control")
    text = '[security]\nserver_key = "keys/daq.key_secret"\nclient_keys = "keys/clients"\n'
    running = Running(
        tmp_path,
        text,
        control=f"tcp://127.0.0.1:{ports['control']}",
        publish=f"tcp://127.0.0.1:{ports['alarms']}",
    )
    with running:
        yield running


def told(running: Running, client: StreamClient) -> AlarmMessage | None:
    """The first message that comes, or None as soon as it is clear that none will."""
    with client:
        while not client.refusal:
            running.second()
            message = client.receive(0.02)
            if isinstance(message, AlarmMessage):
                return message
    return None


def test_with_a_key_the_alarms_are_told_and_commands_taken(running: Running, ring: KeyRing) -> None:
    running.second("error")
    endpoint = running.configuration.file.publish.bind
    message = told(running, alarm_client(endpoint, ring.public("daq"), ring.secret("alice")))
    assert message is not None
    assert [alarm.id for alarm in message.alarms] == ["daemon_state"]
    assert running.ask("ack", keys=ring.client(), ids=["daemon_state"]) == {"acknowledged": ["daemon_state"]}


def test_who_has_no_key_is_told_nothing_and_commands_nothing(
    running: Running, ring: KeyRing, caplog: pytest.LogCaptureFixture
) -> None:
    endpoint = running.configuration.file.publish.bind
    stranger = alarm_client(endpoint, ring.public("daq"), ring.secret("mallory"))
    with caplog.at_level(logging.WARNING):
        assert told(running, stranger) is None
    (line,) = caplog.messages
    assert line.startswith("the sanity checker refused 127.0.0.1: its key ")
    assert told(running, StreamClient(endpoint, [Topic.ALARM])) is None
    for keys in (ring.client("mallory"), None):
        with pytest.raises(UnreachableError, match="refuses this client: "):
            running.ask("ack", keys=keys, ids=["daemon_state"])
    ring.allow("mallory")
    assert told(running, alarm_client(endpoint, ring.public("daq"), ring.secret("mallory"))) is not None


def test_a_key_for_the_daemon_alone_is_not_shown_to_a_checker_without() -> None:
    with pytest.raises(KeysError, match="give --alarms-server-key and --key"):
        alarm_client("tcp://127.0.0.1:1", Path("daq.key"))
    with alarm_client("tcp://127.0.0.1:1", None, Path("not/there")) as client:
        assert client.refusal == ""


def test_ipc_sockets_take_no_keys(tmp_path: Path, ring: KeyRing) -> None:
    text = f'[security]\nserver_key = "{ring.secret("daq")}"\nclient_keys = "{ring.client_keys}"\n'
    with Running(tmp_path, text) as running:
        assert running.alarms == []
        assert told(running, StreamClient(running.configuration.file.publish.bind, [Topic.ALARM])) is not None


def test_keys_that_cannot_be_used_are_told(ring: KeyRing, tmp_path: Path) -> None:
    with pytest.raises(KeysError) as caught:
        load_server_keys(str(tmp_path / "no.key_secret"), str(tmp_path / "nowhere"))
    lines = str(caught.value).splitlines()
    assert [line.partition(": ")[0] for line in lines] == ["[security] server_key", "[security] client_keys"]
    ring.secret("daq").write_text(ring.secret("daq").read_text().replace("public-key", "x", 1))
    with pytest.raises(KeysError, match="there is no public-key in it"):
        load_server_keys(str(ring.secret("daq")), str(ring.client_keys))


SECURITY = '[security]\nserver_key = "a"\nclient_keys = "b"\n'


@pytest.mark.parametrize(
    ("text", "mistake"),
    [
        ('[security]\nserver_key = "a"\n', "security: server_key and client_keys go together"),
        ('[publish]\nbind = "tcp://0.0.0.0:5558"\n', 'publish: "tcp://0.0.0.0:5558" lets every machine'),
        ('[control]\nendpoint = "tcp://0.0.0.0:5559"\n', 'control: "tcp://0.0.0.0:5559" lets other machines silence'),
        (SECURITY + "[publish]\ninsecure = true\n", "publish: insecure = true and the keys of [security] contradict"),
        (SECURITY + '[publish]\nbind = "tcp://*:5558"\n[control]\nendpoint = "tcp://*:5559"\n', None),
    ],
)
def test_other_machines_need_keys(tmp_path: Path, text: str, mistake: str | None) -> None:
    path = tmp_path / "sanity.toml"
    path.write_text(text)
    if mistake is None:
        assert load_configuration(path).file.security.keys
        return
    with pytest.raises(ConfigError) as caught:
        load_configuration(path)
    (line,) = str(caught.value).splitlines()
    assert mistake in line


def test_a_client_of_the_control_socket_says_why_it_is_not_let_in(ring: KeyRing, running: Running) -> None:
    endpoint = running.configuration.file.control_endpoint
    with (
        CheckerClient(endpoint, DEADLINE_S, ring.client(server="mallory")) as client,
        pytest.raises(UnreachableError, match="refuses this client: "),
    ):
        client.call("alarms")
