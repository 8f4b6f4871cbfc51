"""The FTDI link: the real pyftdi and pyusb, an emulated FT2232H behind them."""

import errno
import os
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import usb.backend.libusb1
import usb.core

from daqd.emulator.ft2232h import EmulatedFt2232h
from daqd.errors import BoardError, BoardLost, LinkTimeout
from daqd.transports.ftdi import FtdiLink, libusb
from tests.daqd.usb_bench import CountingBoard, UsbBench, ask, counted


@pytest.fixture
def bench(tmp_path: Path) -> UsbBench:
    return UsbBench(tmp_path)


@pytest.fixture
def link(bench: UsbBench) -> Iterator[FtdiLink]:
    link = bench.link()
    link.open()
    yield link
    link.close()


def test_the_device_is_set_up_as_a_synchronous_fifo(bench: UsbBench, link: FtdiLink) -> None:
    assert bench.device.bit_mode == 0x40
    assert bench.device.latency_ms == 2
    assert link.name == "ftdi 210276A1B2C3"
    link.close()
    link.close()
    assert bench.device.bit_mode == 0


def test_nothing_gets_through_in_another_mode(bench: UsbBench, link: FtdiLink) -> None:
    bench.device.bit_mode = 0
    link.write(ask(5))
    with pytest.raises(LinkTimeout, match=r"0 of 5 bytes within 0.1 s"):
        link.read(5, 0.1)


@pytest.mark.parametrize("length", [1, 509, 510, 511, 1020, 2048, 16320, 16321, 65535])
def test_answers_of_any_length_come_whole(link: FtdiLink, length: int) -> None:
    for start in (0, length):
        link.write(ask(length))
        assert link.read(length, 1) == counted(start, length)


def test_answers_come_in_order_however_they_are_read(link: FtdiLink) -> None:
    link.write(ask(1000, 1, 3000))
    lengths = [1, 509, 490, 1, 2048, 952]
    assert b"".join(link.read(length, 1) for length in lengths) == counted(0, 4001)


def test_only_a_packet_that_is_not_full_waits_for_the_latency_timer(bench: UsbBench, link: FtdiLink) -> None:
    for length, waited_s in ((2040, 0.0), (2048, 0.002), (510, 0.0), (1, 0.002)):
        start = bench.clock()
        link.write(ask(length))
        link.read(length, 1)
        assert bench.clock() - start == pytest.approx(waited_s), length


def test_what_is_under_way_is_fetched_along_without_waiting(bench: UsbBench, link: FtdiLink) -> None:
    link.write(ask(*[2048] * 16))
    start = bench.clock()
    for index in range(15):
        assert link.read(2048, 1, under_way=(15 - index) * 2048) == counted(index * 2048, 2048)
    assert bench.clock() == start
    assert link.read(2048, 1) == counted(15 * 2048, 2048)
    assert bench.clock() - start == pytest.approx(0.002)


def test_a_time_out_says_what_came_and_keeps_none_of_it(bench: UsbBench, link: FtdiLink) -> None:
    start = bench.clock()
    link.write(ask(600))
    with pytest.raises(LinkTimeout, match=r"600 of 601 bytes within 0\.5 s") as caught:
        link.read(601, 0.5)
    assert caught.value.partial == counted(0, 600)
    assert 0.5 <= bench.clock() - start < 0.51
    link.write(ask(3))
    assert link.read(3, 1) == counted(600, 3)


def test_what_an_earlier_connection_left_is_not_read(bench: UsbBench) -> None:
    first = bench.link()
    first.open()
    first.write(ask(5000))
    first.close()
    second = bench.link()
    second.open()
    second.write(ask(2))
    assert second.read(2, 1) == counted(5000, 2)
    second.close()


def test_what_the_board_still_sends_for_an_earlier_connection_is_not_read(bench: UsbBench) -> None:
    link = bench.link()
    purge = bench.device.control_out

    def refill(request: int, value: int) -> None:
        purge(request, value)
        if (request, value) == (0, 2):  # the last purge
            bench.device._to_host += bytes(70_000)

    bench.device.control_out = refill
    link.open()
    link.write(ask(2))
    assert link.read(2, 1) == counted(0, 2)
    link.close()


def test_found_by_how_serial_number_and_description_begin(bench: UsbBench) -> None:
    other = EmulatedFt2232h(CountingBoard(), "FT4ZZZ", "Dual RS232-HS", clock=bench.clock, sleep=bench.clock.sleep)
    bench.bus.plug_in(other)
    for settings in ({}, {"serial": "210276"}, {"serial": "210276A1B2C3", "description": ""}):
        link = bench.link(**settings)
        link.open()
        assert link.name == "ftdi 210276A1B2C3"
        link.close()
    with pytest.raises(BoardLost, match=r'device, serial number "9…", description "Digilent USB Device…" \(') as caught:
        bench.link(serial="9").open()
    assert "connected: 210276A1B2C3 (Digilent USB Device), FT4ZZZ (Dual RS232-HS)" in str(caught.value)
    with pytest.raises(BoardError, match=r"2 FTDI devices fit \(210276A1B2C3, FT4ZZZ\): give more of the serial"):
        bench.link(description="").open()


def test_a_device_that_this_user_may_not_open(bench: UsbBench, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(_: object) -> None:
        raise usb.core.USBError("Access denied (insufficient permissions)", -3, errno.EACCES)

    monkeypatch.setattr(bench.bus, "open_device", refuse)
    with pytest.raises(BoardError, match="may not open it: `sudo cp config/99-astropix") as error:
        bench.link().open()
    assert not isinstance(error.value, BoardLost)


def test_one_daemon_for_each_device(bench: UsbBench, link: FtdiLink, tmp_path: Path) -> None:
    with pytest.raises(BoardError, match=f"FTDI device 210276A1B2C3 is in use by process {os.getpid()}: end that one"):
        bench.link().open()
    # Another user's daemon keeps its locks elsewhere, and is stopped by the claim of the interface.
    with pytest.raises(BoardError, match="FTDI device 210276A1B2C3 is in use by another program"):
        bench.link(tmp_path / "elsewhere").open()
    link.write(ask(4))
    assert link.read(4, 1) == counted(0, 4)
    link.close()
    other = bench.link()
    other.open()
    other.close()


def test_unplugged_while_reading_gives_what_had_come(bench: UsbBench, link: FtdiLink) -> None:
    link.write(ask(700))
    sleep = bench.device._sleep

    def pull_out(seconds: float) -> None:
        sleep(seconds)
        bench.cable.unplug()

    assert link.read(1, 1, under_way=699) == counted(0, 1)
    link.write(ask(300))
    bench.device._sleep = pull_out
    with pytest.raises(LinkTimeout) as caught:
        link.read(5000, 1)
    assert caught.value.partial == counted(1, 509)
    with pytest.raises(BoardLost, match="No such device"):
        link.read(1, 1)


@pytest.mark.parametrize(
    "action", [lambda link: link.read(4, 1), lambda link: link.write(b"\0\1"), lambda link: link.open()]
)
def test_unplugged_and_plugged_in_again(bench: UsbBench, link: FtdiLink, action: Callable[[FtdiLink], Any]) -> None:
    link.write(ask(4))
    bench.cable.unplug()
    with pytest.raises(BoardLost):
        action(link)
    link.close()
    with pytest.raises(BoardLost, match="connected: none at all"):
        link.open()
    bench.cable.plug_in()
    with pytest.raises(BoardLost, match="not open"):
        link.write(ask(4))
    link.open()
    link.write(ask(4))
    assert link.read(4, 1) == counted(0, 4)  # power-up: it counts from the beginning


def test_a_replugged_device_has_to_be_opened_again(bench: UsbBench, link: FtdiLink) -> None:
    bench.cable.unplug()
    bench.cable.plug_in()
    with pytest.raises(BoardLost, match="is gone"):
        link.write(ask(4))


def test_twenty_times_unplugged(bench: UsbBench, link: FtdiLink) -> None:
    for _ in range(20):
        link.write(ask(2048, 2048))
        assert link.read(2048, 1, under_way=2048) == counted(0, 2048)
        bench.cable.unplug()
        with pytest.raises(BoardLost):
            link.write(ask(1))
        bench.cable.plug_in()
        link.open()


def test_no_libusb_at_all(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(usb.backend.libusb1, "get_backend", lambda find_library: None)
    with pytest.raises(BoardError, match="no libusb: install it"):
        libusb()
