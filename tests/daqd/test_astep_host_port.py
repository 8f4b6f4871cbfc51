"""How the A-STEP firmware takes requests: what it skips, swallows, writes at once, and what hangs it."""

import pytest

from daqd.emulator.astep_host_port import HostPort, RegisterBus
from tests.daqd.emulated_bench import HandClock

UNREADABLE = 0x49
END = 0xB3
BAUD = 921_600


class RecordingBus(RegisterBus):
    """Every address reads as itself, but `UNREADABLE` and those from `END` on; remembers what was written and read."""

    def __init__(self) -> None:
        self.written: list[tuple[int, bytes]] = []
        self.reads: list[int] = []

    def write(self, address: int, data: bytes) -> None:
        self.written.append((address, data))

    def read(self, address: int, length: int) -> bytes:
        self.reads.append(address)
        return b"" if address == UNREADABLE or address >= END else bytes((address,)) * length


def port(baud: int = 0) -> tuple[HostPort, RecordingBus, HandClock]:
    clock, bus = HandClock(), RecordingBus()
    return HostPort(bus, clock, baud), bus, clock


def say(to: HostPort, *requests: str) -> str:
    return to.exchange(bytes.fromhex("".join(requests))).hex()


def test_only_bits_0_and_1_begin_a_request() -> None:
    host, bus, clock = port()
    assert say(host, "00 04 08 a4 fc 10 02000200") == "0000"
    assert host.skipped_bytes == 5
    clock.sleep(1e-3)
    assert say(host, "fa 10 0100") == "10"  # the upper bits of a header mean nothing
    clock.sleep(1e-3)
    assert say(host, "03 10 0100 77") == ""  # write wins
    assert bus.written == [(0x10, b"\x77")]


def test_data_are_written_as_they_arrive() -> None:
    host, bus, _ = port()
    say(host, "01 20 0300 aa")
    assert bus.written == [(0x20, b"\xaa")]
    say(host, "bb cc 05 fe 0300 01 02 03")
    assert bus.written[1:] == [(0x20, b"\xbb\xcc"), (0xFE, b"\x01"), (0xFF, b"\x02"), (0x00, b"\x03")]
    assert not host.pending


@pytest.mark.parametrize("request_", ["02 10 0000", "06 00 0000", "06 b3 0000"])
def test_a_length_of_zero_is_65536(request_: str) -> None:
    host, _, _ = port()
    answer = bytes.fromhex(say(host, request_))
    if request_ == "06 00 0000":
        # The last address, 0xFF, cannot be read.
        assert host.hung
        assert len(answer) == (END - 1) * 256
    elif request_ == "06 b3 0000":
        assert not host.hung
        assert len(answer) == (END - 1) * 256
    else:
        assert answer == b"\x10" * 65_536


def test_a_write_of_length_zero_takes_65536_bytes() -> None:
    host, bus, _ = port()
    host.exchange(bytes.fromhex("01 20 0000") + bytes(65_536) + bytes.fromhex("01 21 0100 55"))
    assert bus.written[-1] == (0x21, b"\x55")
    assert sum(len(data) for address, data in bus.written if address == 0x20) == 65_536


def test_unreadable_addresses_in_the_middle_give_fewer_bytes() -> None:
    host, _, _ = port()
    assert say(host, "06 48 0300") == "484a"
    assert not host.hung


@pytest.mark.parametrize("request_", ["02 49 0100", "06 48 0200", "02 b3 0100", "06 b0 1000"])
def test_a_read_whose_last_address_cannot_be_read_hangs_until_reset(request_: str) -> None:
    host, _, clock = port()
    say(host, request_)
    assert host.hung
    clock.sleep(100.0)
    assert host.exchange(bytes(70_000)) == b""
    assert say(host, "02000100") == ""
    host.reset()
    assert say(host, "02000100") == "00"


@pytest.mark.parametrize(("length", "heard"), [(4, True), (60, True), (70, False), (2048, False)])
def test_a_uart_swallows_requests_behind_long_reads(length: int, heard: bool) -> None:
    host, _, _ = port(BAUD)
    answer = host.exchange(bytes((2, 0x10)) + length.to_bytes(2, "little") + bytes.fromhex("02110100"))
    assert answer == b"\x10" * length + (b"\x11" if heard else b"")


@pytest.mark.parametrize("length", [1, 4, 60, 70, 2048])
def test_a_fast_link_swallows_requests_behind_every_read(length: int) -> None:
    host, _, clock = port()
    answer = host.exchange(bytes((2, 0x10)) + length.to_bytes(2, "little") + bytes.fromhex("02110100"))
    assert answer == b"\x10" * length
    assert host.swallowed_bytes >= 3
    clock.sleep(length * 1e-6)
    assert say(host, "02110100") == "11"


def test_the_uart_listens_again_when_64_bytes_are_left_to_send() -> None:
    host, _, clock = port(BAUD)
    byte_s = 10 / BAUD
    host.exchange(bytes.fromhex("02 10 0004"))
    clock.sleep((4 + 1024 - 64 - 1) * byte_s - 1e-6)
    assert say(host, "00") == ""
    assert host.swallowed_bytes == 1
    clock.sleep(2e-6)
    assert say(host, "02110100") == "11"


def test_writes_follow_each_other_without_waiting() -> None:
    host, bus, _ = port()
    say(host, "01200100aa", "01210100bb", "02220100", "01230100cc")
    assert bus.written == [(0x20, b"\xaa"), (0x21, b"\xbb")]
