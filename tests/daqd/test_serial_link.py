"""The serial link: the real pyserial, on emulated boards on a pseudo terminal and on TCP."""

import os
import stat
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from daqd.configuration.config import SerialSection
from daqd.emulator.board_model import Cable
from daqd.emulator.stream_device import PtyDevice, StreamDevice, TcpDevice
from daqd.errors import BoardError, BoardLost, LinkTimeout
from daqd.transports.serial_link import SerialLink
from tests.daqd.rfc2217_server import Rfc2217Server
from tests.daqd.usb_bench import CountingBoard, ask, counted
from tests.daqd.waiting import DEADLINE_S

pytestmark = pytest.mark.slow


def make_device(kind: str, folder: Path, baud: int = 0) -> StreamDevice:
    board = CountingBoard()
    cable = Cable(board)
    return PtyDevice(board, folder / "port", baud, cable) if kind == "pty" else TcpDevice(board, baud=baud, cable=cable)


@pytest.fixture(params=["pty", "tcp"])
def device(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[StreamDevice]:
    device = make_device(request.param, tmp_path)
    device.start()
    yield device
    device.close()


def link_to(url: str, lock_dir: Path) -> SerialLink:
    return SerialLink(SerialSection(url=url), lock_dir)


@pytest.fixture
def link(device: StreamDevice, tmp_path: Path) -> Iterator[SerialLink]:
    link = link_to(device.url, tmp_path)
    link.open()
    yield link
    link.close()


def reopen(link: SerialLink) -> None:
    """Open as soon as the device is there again."""
    for _ in range(500):
        try:
            link.open()
        except BoardLost:
            threading.Event().wait(0.01)
        else:
            return
    link.open()


@pytest.mark.parametrize("length", [1, 2048, 65535])
def test_answers_of_any_length_come_whole(link: SerialLink, length: int) -> None:
    for start in (0, length):
        link.write(ask(length))
        assert link.read(length, DEADLINE_S) == counted(start, length)


def test_answers_come_in_order_however_they_are_read(link: SerialLink) -> None:
    link.write(ask(1000, 1, 3000))
    lengths = [1, 509, 490, 1, 2048, 952]
    assert b"".join(link.read(length, DEADLINE_S) for length in lengths) == counted(0, 4001)


def test_a_long_question_comes_whole(link: SerialLink) -> None:
    link.write(ask(*[1] * 20_000))
    assert link.read(20_000, DEADLINE_S) == counted(0, 20_000)


def test_a_time_out_says_what_came_and_keeps_none_of_it(link: SerialLink) -> None:
    link.write(ask(600))
    with pytest.raises(LinkTimeout, match=r"\d+ of 601 bytes within 0\.3 s") as caught:
        link.read(601, 0.3)
    came = len(caught.value.partial)  # all of them, but where the machine is very busy
    assert f" {came} of 601 bytes" in f" {caught.value}"
    assert caught.value.partial == counted(0, came)
    link.write(ask(3))
    assert link.read(603 - came, DEADLINE_S) == counted(came, 603 - came)


def test_what_an_earlier_connection_left_is_not_read(device: StreamDevice, tmp_path: Path) -> None:
    first = link_to(device.url, tmp_path)
    first.open()
    first.write(ask(5000))
    first.read(1, DEADLINE_S)
    first.close()
    second = link_to(device.url, tmp_path)
    second.open()
    second.write(ask(2))
    assert second.read(2, DEADLINE_S) == counted(5000, 2)
    second.close()


def test_one_daemon_for_each_port(device: StreamDevice, link: SerialLink, tmp_path: Path) -> None:
    with pytest.raises(BoardError, match=f"is in use by process {os.getpid()}: end that one first"):
        link_to(device.url, tmp_path).open()
    link.write(ask(4))
    assert link.read(4, DEADLINE_S) == counted(0, 4)
    link.close()
    link.close()
    other = link_to(device.url, tmp_path)
    other.open()
    other.close()


def test_a_port_that_another_program_has(tmp_path: Path) -> None:
    device = make_device("pty", tmp_path)
    device.start()
    first, second = link_to(device.url, tmp_path), link_to(device.url, tmp_path / "elsewhere")
    first.open()
    with pytest.raises(BoardError, match="is in use by another program"):
        second.open()
    first.close()
    device.close()


def test_unplugged_and_plugged_in_again(device: StreamDevice, link: SerialLink) -> None:
    link.write(ask(4))
    assert link.read(4, DEADLINE_S) == counted(0, 4)
    device.cable.unplug()
    with pytest.raises(BoardLost):
        while True:  # what is lost shows at the latest with the next answer
            link.write(ask(1))
            link.read(1, DEADLINE_S)
    link.close()
    device.cable.plug_in()
    with pytest.raises(BoardLost, match="not open"):
        link.write(ask(4))
    reopen(link)
    link.write(ask(4))
    assert link.read(4, DEADLINE_S) == counted(0, 4)  # power-up: it counts from the beginning


def test_unplugging_ends_a_read_that_waits(device: StreamDevice, link: SerialLink) -> None:
    link.write(ask(4))
    unplug = threading.Timer(0.05, device.cable.unplug)
    unplug.start()
    # What had come is worth having.
    with pytest.raises(LinkTimeout) as caught:
        link.read(5, 3600)
    assert caught.value.partial == counted(0, 4)
    with pytest.raises(BoardLost):
        link.read(1, 3600)
    unplug.join()


def test_ports_that_are_not_there(tmp_path: Path) -> None:
    for url, what in (
        (str(tmp_path / "none"), "is not there"),
        ("socket://127.0.0.1:1", "cannot be opened: .*refused"),
        ("nonsense://x", "cannot be opened: invalid URL"),
    ):
        with pytest.raises(BoardLost, match=what):
            link_to(url, tmp_path).open()


@pytest.mark.skipif(os.geteuid() == 0, reason="root may open everything")
def test_a_port_that_this_user_may_not_open(tmp_path: Path) -> None:
    port = tmp_path / "port"
    port.touch()
    port.chmod(0)
    with pytest.raises(BoardError, match="usermod -aG dialout"):
        link_to(str(port), tmp_path).open()


def test_the_port_is_paced_as_a_uart_is(tmp_path: Path) -> None:
    # 24 000 bytes at 24 000 bits/s take ten seconds: less is impossible, more may be the machine's fault.
    device = make_device("pty", tmp_path, baud=24_000)
    device.start()
    link = link_to(device.url, tmp_path)
    link.open()
    link.write(ask(24_000))
    with pytest.raises(LinkTimeout) as caught:
        link.read(24_000, 0.2)
    came = len(caught.value.partial)
    assert came < 24_000
    assert link.read(100, DEADLINE_S) == counted(came, 100)
    link.close()
    device.close()


def test_the_link_to_the_terminal_goes_with_the_device(tmp_path: Path) -> None:
    device = make_device("pty", tmp_path)
    assert not Path(device.url).is_symlink()
    device.start()
    device.start()
    assert stat.S_ISCHR(Path(device.url).stat().st_mode)
    device.close()
    device.close()
    assert not Path(device.url).is_symlink()


def test_one_client_after_the_other(tmp_path: Path) -> None:
    device = make_device("tcp", tmp_path)
    device.start()
    for index in range(3):
        link = link_to(device.url, tmp_path)
        link.open()
        link.write(ask(10))
        assert link.read(10, DEADLINE_S) == counted(10 * index, 10)
        link.close()
    device.close()


@pytest.mark.filterwarnings("ignore:set(Daemon|Name):DeprecationWarning")  # pyserial's own
def test_a_port_that_a_serial_device_server_serves(tmp_path: Path) -> None:
    device = make_device("tcp", tmp_path)
    device.start()
    with Rfc2217Server(device.url) as server:
        link = link_to(server.url, tmp_path)
        link.open()
        for start, length in ((0, 4), (4, 20_000)):
            link.write(ask(length))
            assert link.read(length, DEADLINE_S) == counted(start, length)
        with pytest.raises(LinkTimeout):
            link.read(1, 0.1)
        device.cable.unplug()
        with pytest.raises((BoardLost, LinkTimeout)):
            link.write(ask(1))
            link.read(1, 1)
        link.close()
    device.close()
