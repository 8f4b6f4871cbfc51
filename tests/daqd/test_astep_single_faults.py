"""Requests to an A-STEP board with one byte lost or duplicated on the link: what becomes of them in each firmware."""

from collections.abc import Iterator

import pytest

from daqd.boards.astep_dialogue import SHORT_FILLER
from daqd.emulator.astep_host_port import HostPort, RegisterBus
from protocol.registers.astep import (
    REQUEST_FILLER,
    SAFE_LENGTH,
    RegisterRead,
    fifo_length,
    read_byte,
    read_register,
)
from protocol.registers.astep_register_map import REGISTER_MAPS, RegisterMap
from protocol.registers.astep_registers import Register
from tests.daqd.emulated_bench import HandClock

pytestmark = pytest.mark.slow

HARMLESS = 0x14
"""Up to here, zeros do no harm in any firmware: ids, clocks' readings and conversion counters lie there …"""

KEPT = (Register.CHIP_VERSION, Register.CLOCK_CTRL)
"""… and, in newer firmwares, these, which must stay."""

READABLE = {registers.since: [registers.can_read(address) for address in range(256)] for registers in REGISTER_MAPS}

maps = pytest.mark.parametrize("registers", REGISTER_MAPS, ids=lambda registers: str(registers.since))


class MapBus(RegisterBus):
    """Registers of a map: remembers writes, and how often the readout FIFO is read."""

    def __init__(self, registers: RegisterMap) -> None:
        self._readable = READABLE[registers.since]
        self._fifo = registers.address(Register.READOUT)
        self.writes: set[tuple[int, int]] = set()
        self.fifo_reads = 0

    def write(self, address: int, data: bytes) -> None:
        self.writes |= {(address, value) for value in data}

    def read(self, address: int, length: int) -> bytes:
        self.fifo_reads += address == self._fifo
        return bytes((address,)) * length if self._readable[address] else b""


def damaged(wire: bytes) -> Iterator[bytes]:
    for position in range(len(wire)):
        yield wire[:position] + wire[position + 1 :]
        yield wire[: position + 1] + wire[position:]


def outcome(registers: RegisterMap, wire: bytes, baud: int) -> tuple[HostPort, MapBus]:
    """After `wire` and the zeros of the driver, cheap ones first."""
    bus, clock = MapBus(registers), HandClock()
    host = HostPort(bus, clock, baud)
    host.exchange(wire)
    clock.sleep(2.0)
    for filler in (SHORT_FILLER, REQUEST_FILLER):
        if host.pending:
            host.exchange(filler)
            clock.sleep(2.0)
    return host, bus


@maps
@pytest.mark.parametrize("baud", [0, 921_600])
def test_reads_of_the_fifo_survive(registers: RegisterMap, baud: int) -> None:
    lengths = {fifo_length(wanted, registers) for wanted in (1024, 2048, 3500, 4096, 8192, 16_384, 65_535)}
    assert lengths & {1024, 2048, 4096} == {1024, 2048, 4096}
    for length in lengths:
        for wire in damaged(RegisterRead(Register.READOUT, length).encode(registers)):
            host, bus = outcome(registers, wire, baud)
            assert not host.hung
            assert not host.pending
            assert bus.fifo_reads <= 1
            assert all(value == 0 and address < HARMLESS for address, value in bus.writes), (length, wire)
            if registers.has(Register.CLOCK_CTRL):
                assert {address for address, _ in bus.writes}.isdisjoint(map(registers.address, KEPT[-1:]))


@maps
def test_reads_of_one_byte_survive_at_every_address(registers: RegisterMap) -> None:
    addresses = [address for address in range(256) if registers.can_read(address)]
    for address in set(addresses) - {registers.address(Register.READOUT)}:
        for wire in damaged(read_byte(address).encode(registers)):
            host, bus = outcome(registers, wire, 0)
            assert not host.hung
            assert not host.pending
            assert not bus.fifo_reads, (address, wire)
            assert all(value == 0 and written < 8 for written, value in bus.writes), (address, wire)


@maps
def test_short_reads_of_the_fifo_and_its_size_do_not_hang(registers: RegisterMap) -> None:
    lengths = {fifo_length(wanted, registers) for wanted in range(1, SAFE_LENGTH, 73)}
    requests = [RegisterRead(Register.READOUT, length) for length in lengths]
    for request in (*requests, read_register(Register.READOUT_SIZE)):
        for wire in damaged(request.encode(registers)):
            host, _ = outcome(registers, wire, 0)
            assert not host.hung, (request, wire)
            assert not host.pending


def test_the_requests_of_the_previous_driver_hang_the_firmware() -> None:
    registers = REGISTER_MAPS[-1]
    for request in (RegisterRead(Register.LAYER_0_FRAMES, 36, True), RegisterRead(Register.READOUT, 0x49)):
        assert any(outcome(registers, wire, 0)[0].hung for wire in damaged(request.encode(registers)))


@pytest.mark.parametrize(("wanted", "length"), [(1024, 1024), (1500, 1024), (8192, 8192), (65_535, 64_512)])
def test_lengths(wanted: int, length: int) -> None:
    assert fifo_length(wanted, REGISTER_MAPS[-1]) == length


def test_lengths_below_1024_end_at_a_readable_address() -> None:
    registers = REGISTER_MAPS[-1]
    for wanted in range(1, SAFE_LENGTH):
        length = fifo_length(wanted, registers)
        assert 0 < length <= wanted
        assert registers.can_read(length & 0xFF)
