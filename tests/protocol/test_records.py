"""The record scanner: any chunking, any damage."""

import itertools

import pytest
from hypothesis import given
from hypothesis import strategies as st

from protocol import ApxFormatError, AstroPix4Readout
from protocol.readout_description import MAX_READOUT_BYTES
from protocol.records import RecordScanner
from tests.protocol.streams import numbered

START = 100
Row = tuple[int, int, bytes]

READOUTS = st.lists(
    st.builds(AstroPix4Readout, st.binary(max_size=40), st.integers(0, 2**32 - 1), st.integers(0, 2**64 - 1)),
    max_size=8,
)


def feed(scanner: RecordScanner, chunks: list[bytes]) -> list[Row]:
    rows: list[Row] = []
    for chunk in chunks:
        block = scanner.feed(chunk)
        pieces = [block.data[start:stop] for start, stop in itertools.pairwise(block.offsets.tolist())]
        rows += zip(block.readout_id.tolist(), block.timestamp.tolist(), pieces, strict=True)
    return rows


def rows_of(readouts: list[AstroPix4Readout]) -> list[Row]:
    return [(readout.readout_id, readout.timestamp, readout.data()) for readout in readouts]


@given(READOUTS, st.data())
def test_any_chunking_gives_the_same_readouts(readouts: list[AstroPix4Readout], data: st.DataObject) -> None:
    stream = b"".join(readout.to_bytes() for readout in readouts)
    cuts = sorted(data.draw(st.lists(st.integers(0, len(stream)), max_size=8)))
    scanner = RecordScanner(START)
    chunks = [stream[start:stop] for start, stop in itertools.pairwise([0, *cuts, len(stream)])]
    assert feed(scanner, chunks) == rows_of(readouts)
    assert (scanner.offset, scanner.leftover_bytes) == (START + len(stream), 0)


def test_byte_by_byte() -> None:
    readouts = numbered([b"\xfe\xdc\xba" * 5, b"", b"\xbc"])
    stream = b"".join(readout.to_bytes() for readout in readouts)
    assert feed(RecordScanner(0), [bytes([byte]) for byte in stream]) == rows_of(readouts)


@given(READOUTS, st.data())
def test_a_cut_leaves_over_what_is_after_the_last_whole_record(
    readouts: list[AstroPix4Readout], data: st.DataObject
) -> None:
    records = [readout.to_bytes() for readout in readouts]
    ends = [0, *itertools.accumulate(map(len, records))]
    length = data.draw(st.integers(0, ends[-1]))
    whole = sum(end <= length for end in ends) - 1
    scanner = RecordScanner(START)
    assert feed(scanner, [b"".join(records)[:length]]) == rows_of(readouts[:whole])
    assert scanner.offset == START + ends[whole]
    assert scanner.leftover_bytes == length - ends[whole]


def long_record(length: int) -> bytes:
    return b"\xfe\xdc\xba" + bytes(12) + length.to_bytes(4, "little")


@pytest.mark.parametrize(
    ("damage", "reason"),
    [
        (b"\x00", "no record marker"),
        (b"\xfe\xdd", "no record marker"),
        (bytes(100), "no record marker"),
        (long_record(MAX_READOUT_BYTES + 1), "damage"),
    ],
)
@pytest.mark.parametrize("chunk_size", [1, 7, 1000])
def test_damage_is_told_with_its_place_after_the_readouts_before_it(
    damage: bytes, reason: str, chunk_size: int
) -> None:
    readouts = numbered([b"\xbc", b"\xbc\xbc"])
    good = b"".join(readout.to_bytes() for readout in readouts)
    stream = good + damage
    scanner = RecordScanner(START)
    rows: list[Row] = []
    with pytest.raises(ApxFormatError, match=reason) as caught:
        for position in range(0, len(stream), chunk_size):
            rows += feed(scanner, [stream[position : position + chunk_size]])
        rows += feed(scanner, [b""])
    assert rows == rows_of(readouts)
    assert caught.value.offset == scanner.offset == START + len(good)
    with pytest.raises(ApxFormatError):
        scanner.feed(good)


def test_the_longest_readout_is_awaited() -> None:
    scanner = RecordScanner(0)
    assert len(scanner.feed(long_record(MAX_READOUT_BYTES))) == 0
    assert scanner.leftover_bytes == 19


@given(st.lists(st.binary(max_size=30), max_size=5))
def test_any_bytes_give_readouts_or_the_one_error(chunks: list[bytes]) -> None:
    scanner = RecordScanner(0)
    try:
        feed(scanner, chunks)
    except ApxFormatError as error:
        assert error.offset == scanner.offset
    else:
        assert scanner.offset + scanner.leftover_bytes == sum(map(len, chunks))
