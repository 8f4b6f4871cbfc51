"""GECCO register protocol: bytes worked out by hand from the facts of the board, then any bytes in any pieces."""

import itertools

import pytest
from hypothesis import given
from hypothesis import strategies as st

from protocol.errors import GeccoError
from protocol.registers.gecco import (
    RESYNC_ANSWER_BYTES,
    RESYNC_QUESTION,
    RESYNC_ZEROS,
    ReadRequest,
    Register,
    Request,
    RequestParser,
    SpiConfig,
    WriteRequest,
    encode_requests,
    spi_clock_hz,
)

requests = st.one_of(
    st.builds(WriteRequest, st.integers(0, 255), st.binary(min_size=1, max_size=300)),
    st.builds(ReadRequest, st.integers(0, 255), st.integers(1, 65535)),
)


def cut(data: bytes, cuts: list[int]) -> list[bytes]:
    edges = [0, *sorted(cut % (len(data) + 1) for cut in cuts), len(data)]
    return [data[start:stop] for start, stop in itertools.pairwise(edges)]


@pytest.mark.parametrize(
    ("request_", "wire"),
    [
        (WriteRequest(Register.INJECTION_DATA, b"\x55"), "01 07 0001 55"),
        (ReadRequest(Register.IDENTITY, 4), "00 50 0004"),
        (ReadRequest(Register.SPI_READ_FIFO, 2048), "00 18 0800"),
        (ReadRequest(Register.SPI_READ_FIFO, 65535), "00 18 ffff"),
        (ReadRequest(Register.INTERRUPT), "00 46 0001"),
        (WriteRequest(Register.SPI_WRITE_FIFO, bytes.fromhex("0400000000000000")), "01 17 0008 0400000000000000"),
        (WriteRequest(Register.CHIP, bytes(258)), "01 00 0102" + 258 * "00"),
    ],
)
def test_golden_bytes(request_: Request, wire: str) -> None:
    assert request_.encode() == bytes.fromhex(wire)
    assert RequestParser().feed(bytes.fromhex(wire)) == [request_]


def test_registers_and_bits_are_those_of_the_board() -> None:
    assert [int(register) for register in Register] == [
        0x00, 0x02, 0x03, 0x04, 0x05, 0x06, 0x07, 0x0C, 0x15, 0x16, 0x17, 0x18, 0x3C, 0x3D, 0x46, 0x50,
    ]  # fmt: skip
    assert [int(bit) for bit in SpiConfig] == [1, 2, 4, 8, 16, 32, 64, 128]
    assert SpiConfig.READ_FIFO_EMPTY == 1 << 4
    assert SpiConfig.MODULE_RESET == 1 << 7


@pytest.mark.parametrize(("size", "headers"), [(65535, 1), (65536, 2), (131070, 2), (131071, 3)])
def test_a_long_write_is_split_and_no_byte_lost(size: int, headers: int) -> None:
    data = bytes(index * 7 % 251 for index in range(size))
    wire = WriteRequest(Register.CHIP, data).encode()
    assert len(wire) == size + 4 * headers
    assert wire[:4] == bytes.fromhex("0100") + min(size, 65535).to_bytes(2, "big")
    written = RequestParser().feed(wire)
    assert {request.register for request in written} == {Register.CHIP}
    assert b"".join(request.data for request in written if isinstance(request, WriteRequest)) == data


def test_queued_requests() -> None:
    queue = [ReadRequest(Register.SPI_CONFIG), WriteRequest(Register.INJECTION_DATA, b"\x01"), ReadRequest(0x18, 3)]
    assert encode_requests(queue) == bytes.fromhex("00150001 0107000101 00180003")


@pytest.mark.parametrize(
    ("request_", "message"),
    [
        (ReadRequest(0x18, 0), r"0 bytes cannot be read from register 0x18 \(SPI_READ_FIFO\) at once: 1 to 65535 can"),
        (ReadRequest(0x18, 65536), "65536 bytes cannot"),
        (ReadRequest(256), "no register 256"),
        (WriteRequest(-1, b"x"), "no register -1"),
        (WriteRequest(0x99, b""), "write to register 0x99 needs at least one byte"),
    ],
)
def test_what_cannot_be_said_is_refused(request_: Request, message: str) -> None:
    with pytest.raises(GeccoError, match=message):
        request_.encode()


def test_register_names() -> None:
    assert Register.describe(0x15) == "0x15 (SPI_CONFIG)"
    assert Register.describe(0xAB) == "0xAB"


def test_why_is_for_people_only() -> None:
    assert ReadRequest(0x15, 1, "is it empty") == ReadRequest(0x15)


@given(st.lists(requests, max_size=8), st.lists(st.integers(0), max_size=12))
def test_any_pieces_give_the_same_requests(said: list[Request], cuts: list[int]) -> None:
    parser = RequestParser()
    heard = [request for piece in cut(encode_requests(said), cuts) for request in parser.feed(piece)]
    assert heard == said
    assert parser.pending_bytes == 0


@given(st.lists(requests, min_size=1, max_size=3))
def test_byte_by_byte(said: list[Request]) -> None:
    parser = RequestParser()
    assert [request for byte in encode_requests(said) for request in parser.feed(bytes((byte,)))] == said


@given(st.binary(max_size=400), st.lists(st.integers(0), max_size=6))
def test_any_bytes_are_requests_or_pending(noise: bytes, cuts: list[int]) -> None:
    whole, pieces = RequestParser(), RequestParser()
    heard = whole.feed(noise)
    assert [request for piece in cut(noise, cuts) for request in pieces.feed(piece)] == heard
    understood = sum(4 + (len(item.data) if isinstance(item, WriteRequest) else 0) for item in heard)
    assert understood + whole.pending_bytes == len(noise)


@pytest.mark.parametrize(
    ("wire", "request_"),
    [
        ("fe 15 0001", ReadRequest(0x15)),
        ("50 15 0001", ReadRequest(0x15)),
        ("ff 07 0001 55", WriteRequest(0x07, b"\x55")),
        ("09 07 0002 5566", WriteRequest(0x07, b"\x55\x66")),
        ("00 07 0000", ReadRequest(0x07, 0)),
        ("01 07 0000 55", WriteRequest(0x07, b"\x55")),
    ],
)
def test_of_a_header_only_bit_0_counts_and_a_write_of_nothing_takes_a_byte(wire: str, request_: Request) -> None:
    assert RequestParser().feed(bytes.fromhex(wire)) == [request_]


def test_three_times_ff_begins_a_write_of_65281_bytes() -> None:
    parser = RequestParser()
    assert parser.feed(b"\xff\xff\xff\x01" + bytes(65280)) == []
    assert parser.feed(bytes(1)) == [WriteRequest(0xFF, bytes(65281))]


def test_what_an_astep_board_is_asked_is_a_read_of_1024_bytes_and_a_stray_byte() -> None:
    parser = RequestParser()
    assert parser.feed(bytes.fromhex("0600040000")) == [ReadRequest(0x00, 1024)]
    assert parser.pending_bytes == 1


@given(st.binary(max_size=300), st.booleans())
def test_resynchronised_from_anything(noise: bytes, long: bool) -> None:
    """Also from the longest write; the question, one zero later each time, is understood at the fourth time at last."""
    parser = RequestParser()
    parser.feed(noise + (b"\x01\x00\xff\xff" if long else b"") + RESYNC_ZEROS)
    for _ in range(5):
        if parser.feed(RESYNC_QUESTION) == [ReadRequest(0, RESYNC_ANSWER_BYTES)] and not parser.pending_bytes:
            break
        for request in parser.feed(bytes(1)):
            assert isinstance(request, ReadRequest)
            assert request.length in (0, 1024)
    assert parser.pending_bytes == 0
    assert parser.feed(bytes.fromhex("00500004")) == [ReadRequest(0x50, 4)]


@pytest.mark.parametrize(("divider", "clock_hz"), [(0, 50e6), (2, 16.667e6), (40, 1.2195e6), (255, 195.3e3)])
def test_spi_clock(divider: int, clock_hz: float) -> None:
    assert spi_clock_hz(divider) == pytest.approx(clock_hz, rel=1e-3)
