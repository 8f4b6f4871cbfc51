"""The register protocol of the A-STEP firmware: bytes by hand, any chunking, any bytes."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from protocol.errors import AstepError
from protocol.registers.astep import (
    MAX_LENGTH,
    RegisterRead,
    RegisterWrite,
    Request,
    RequestParser,
    encode_requests,
    read_register,
    write_register,
)
from protocol.registers.astep_register_map import NEWEST_MAP
from protocol.registers.astep_registers import Register, spi_divider, timestamp_ctrl

GOLDEN: list[tuple[Request, str]] = [
    (RegisterWrite(0x08, b"\x04"), "01 08 01 00 04"),
    (RegisterRead(0xA3, 4096), "02 a3 00 10"),
    (RegisterRead(0x00, 4, True), "06 00 04 00"),
    (RegisterWrite(0xAF, bytes((80, 0, 0, 0)), True), "05 af 04 00 50 00 00 00"),
    (RegisterRead(0x34, 258, True), "06 34 02 01"),
    (RegisterWrite(0xFF, b"\xff"), "01 ff 01 00 ff"),
]


@pytest.mark.parametrize(("request_", "wire"), GOLDEN)
def test_golden_requests(request_: Request, wire: str) -> None:
    assert request_.encode(NEWEST_MAP) == bytes.fromhex(wire)
    assert RequestParser().feed(bytes.fromhex(wire)) == [request_]


def test_whole_registers() -> None:
    match = Register.TIMESTAMP_DIVIDER_MATCH
    assert write_register(match, 80) == RegisterWrite(match, b"\x50\0\0\0", True)
    assert write_register(match, 80).encode(NEWEST_MAP) == bytes.fromhex("05af040050000000")
    assert write_register(Register.CHIP_VERSION, 4).encode(NEWEST_MAP) == bytes.fromhex("0108010004")
    assert read_register(Register.TIMESTAMP_COUNTER).encode(NEWEST_MAP) == bytes.fromhex("067c0800")
    assert read_register(Register.LAYER_0_STATUS).encode(NEWEST_MAP) == bytes.fromhex("02220100")
    with pytest.raises(AstepError, match="256 does not fit"):
        write_register(Register.SPI_DIVIDER, 256)


def test_long_writes_become_several_and_lose_nothing() -> None:
    data = bytes(index % 251 for index in range(70_000))
    to_a_port = RegisterWrite(0x91, data).encode(NEWEST_MAP)
    assert to_a_port[:4] == bytes.fromhex("0191ffff")
    assert to_a_port[4 + MAX_LENGTH :][:4] == bytes.fromhex("0191") + (70_000 - 65_535).to_bytes(2, "little")
    requests = RequestParser().feed(to_a_port)
    assert b"".join(each.data for each in requests if isinstance(each, RegisterWrite)) == data


@pytest.mark.parametrize(
    "request_",
    [RegisterWrite(0, b""), RegisterRead(0, 0), RegisterRead(0, 65_536), RegisterRead(256), RegisterRead(-1)],
)
def test_impossible_requests(request_: Request) -> None:
    with pytest.raises(AstepError):
        request_.encode(NEWEST_MAP)


def test_the_board_skips_zeros_and_what_is_no_header() -> None:
    parser = RequestParser()
    assert parser.feed(bytes.fromhex("0000 02a30100 00 a4 04 fa a30200")) == [
        RegisterRead(0xA3, 1),
        RegisterRead(0xA3, 2),
    ]
    assert parser.skipped_bytes == 2


def test_write_wins() -> None:
    assert RequestParser().feed(bytes.fromhex("03 08 01 00 04")) == [RegisterWrite(0x08, b"\x04")]


requests = st.one_of(
    st.builds(RegisterRead, st.integers(0, 0xFF), st.integers(1, MAX_LENGTH), st.booleans()),
    st.builds(RegisterWrite, st.integers(0, 0xFF), st.binary(min_size=1, max_size=40), st.booleans()),
)


@given(st.lists(requests, max_size=8), st.lists(st.integers(1, 9), min_size=1))
def test_any_requests_in_any_pieces(given_requests: list[Request], sizes: list[int]) -> None:
    data, parser, found = encode_requests(given_requests, NEWEST_MAP), RequestParser(), []
    position = index = 0
    while position < len(data):
        size = sizes[index % len(sizes)]
        found += parser.feed(data[position : position + size])
        position, index = position + size, index + 1
    assert found == given_requests
    assert (parser.pending_bytes, parser.skipped_bytes) == (0, 0)


@given(st.binary(max_size=200))
def test_any_bytes_whole_or_one_by_one(data: bytes) -> None:
    whole, single = RequestParser(), RequestParser()
    assert whole.feed(data) == [each for byte in data for each in single.feed(bytes((byte,)))]
    assert (whole.pending_bytes, whole.skipped_bytes) == (single.pending_bytes, single.skipped_bytes)


@pytest.mark.parametrize(("spi_hz", "divider"), [(1e6, 19), (10e6, 1), (20e6, 0), (156_250.0, 127), (78_125.0, 255)])
def test_spi_divider(spi_hz: float, divider: int) -> None:
    assert spi_divider(spi_hz) == divider


@pytest.mark.parametrize("spi_hz", [0.0, -1.0, 1000.0, 40e6])
def test_impossible_spi_clocks(spi_hz: float) -> None:
    with pytest.raises(AstepError, match="SPI clock"):
        spi_divider(spi_hz)


def test_timestamp_control() -> None:
    assert [timestamp_ctrl(bits) for bits in (16, 32, 48, 64)] == [0x03, 0x13, 0x23, 0x33]
    with pytest.raises(AstepError, match="24 bits"):
        timestamp_ctrl(24)
