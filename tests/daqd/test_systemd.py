"""The datagrams to the service manager, byte for byte, at a real socket."""

import logging
import os
import socket
import uuid
from collections.abc import Iterator
from pathlib import Path

import pytest

from daqd.process.systemd import ServiceManager
from tests.deadline import DEADLINE_S


@pytest.fixture(params=["path", "abstract"])
def address(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    if request.param == "path":
        return str(tmp_path / "notify")
    return f"@astropix-test-{uuid.uuid4().hex}"


@pytest.fixture
def listener(address: str) -> Iterator[socket.socket]:
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as listener:
        listener.bind("\0" + address[1:] if address.startswith("@") else address)
        listener.settimeout(DEADLINE_S)
        yield listener


def test_every_message(listener: socket.socket, address: str) -> None:
    with ServiceManager(address, clock_ns=lambda: 1_234_567_891) as manager:
        manager.ready("idle")
        manager.status("running: é")
        manager.feed()
        manager.reloading()
        manager.extend(2.5)
        manager.stopping("ending")
    assert [listener.recv(4096) for _ in range(6)] == [
        f"READY=1\nMAINPID={os.getpid()}\nSTATUS=idle".encode(),
        "STATUS=running: é".encode(),
        b"WATCHDOG=1",
        b"RELOADING=1\nMONOTONIC_USEC=1234567",
        b"EXTEND_TIMEOUT_USEC=2500000",
        b"STOPPING=1\nSTATUS=ending",
    ]


def test_words_of_others_are_no_keys(listener: socket.socket, address: str) -> None:
    with ServiceManager(address) as manager:
        manager.status("board says:\nWATCHDOG=trigger\r\u2028\0\ud800 end")
        manager.status("é" * 5000)
    assert listener.recv(4096) == b"STATUS=board says: WATCHDOG=trigger     end"
    assert listener.recv(4096).decode() == "STATUS=" + "é" * 500


@pytest.mark.parametrize(
    ("given", "watchdog_s"),
    [
        ({}, None),
        ({"WATCHDOG_USEC": "30000000"}, 30.0),
        ({"WATCHDOG_USEC": "30000000", "WATCHDOG_PID": str(os.getpid())}, 30.0),
        ({"WATCHDOG_USEC": "30000000", "WATCHDOG_PID": str(os.getpid() + 1)}, None),
        ({"WATCHDOG_USEC": "30000000", "WATCHDOG_PID": "me"}, None),
        ({"WATCHDOG_USEC": "0"}, None),
        ({"WATCHDOG_USEC": "-5"}, None),
        ({"WATCHDOG_USEC": "soon"}, None),
    ],
)
def test_what_the_environment_says(tmp_path: Path, given: dict[str, str], watchdog_s: float | None) -> None:
    environment = {"NOTIFY_SOCKET": str(tmp_path / "notify"), "HOME": "/", **given}
    with ServiceManager.from_environment(environment) as manager:
        assert manager.watchdog_s == watchdog_s
    assert environment == {"HOME": "/"}, "a child must not speak in our name"


def test_without_a_manager_nothing_is_said(caplog: pytest.LogCaptureFixture) -> None:
    environment = {"WATCHDOG_USEC": "1000"}
    with ServiceManager.from_environment(environment) as manager:
        assert manager.watchdog_s is None
        manager.ready("idle")
        manager.feed()
    assert not caplog.records
    assert not environment


@pytest.mark.parametrize("address", ["vsock:2:1234", "notify", "/" + "x" * 200, "/no/such/socket"])
def test_an_address_that_cannot_be_used_is_said_once(address: str, caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.WARNING), ServiceManager(address) as manager:
        for _ in range(3):
            manager.feed()
    assert len(caplog.records) == 1
    assert "service manager" in caplog.text


def test_a_manager_that_comes_back_is_told_again(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    path = tmp_path / "notify"
    with ServiceManager(str(path)) as manager:
        manager.feed()
        with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as listener:
            listener.bind(str(path))
            manager.feed()
            assert listener.recv(100) == b"WATCHDOG=1"
        manager.feed()
    assert len(caplog.records) == 2


def test_a_manager_that_does_not_read_is_not_waited_for(listener: socket.socket, address: str) -> None:
    with ServiceManager(address) as manager:
        for _ in range(5000):
            manager.feed()
    assert listener.recv(100) == b"WATCHDOG=1"
