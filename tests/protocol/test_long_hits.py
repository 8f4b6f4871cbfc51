"""Hits of more than 8 bytes: their fields, and both decoders, compared with those that go byte by byte."""

import itertools
from collections.abc import Sequence

import numpy as np
import numpy.typing as npt
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from protocol import AbstractAstroPixReadout, LayerFrameDecoder, StreamDecoder
from protocol.hit import AbstractAstroPixHit, HitTable, reverse_bit_order, wire_first_bytes
from protocol.layer_frames import encode_frames
from protocol.layer_hit import AbstractLayerHit, with_layer_columns
from protocol.layer_readout import LayerFrames
from protocol.layer_scan import FrameLayout
from protocol.layout import Column, Field, HitLayout
from tests.protocol.layer_sequential import SequentialFrames
from tests.protocol.sequential import IDLE, PADDING, SequentialDecoder

COLUMNS = [
    ("chip_id", "<u1"), ("payload", "<u1"), ("readout_id", "<u4"), ("timestamp", "<u8"), ("decoding_order", "<u2"),
    ("row", "<u1"), ("column", "<u1"), ("across", "<u4"), ("last", "<u4"), ("tot_us", "<f8"),
]  # fmt: skip


class _LongContent(AbstractAstroPixHit):
    @classmethod
    def derive(cls, table: HitTable, composites: Sequence[Column]) -> None:
        table["tot_us"] = table["across"] / 10


def layout(size: int) -> HitLayout:
    """`across` lies in two words."""
    return HitLayout(
        size,
        (
            Field("chip_id", 0, 5),
            Field("payload", 5, 3),
            Field("row", 8, 8),
            Field("column", 16, 8),
            Field("across", 55, 20),
            Field("last", 8 * size - 4, 4, gray=True),
        ),
    )


class TenBytes(_LongContent):
    PAYLOAD, LAYOUT, DTYPE = 1, layout(10), np.dtype(COLUMNS)

    @classmethod
    def first_bytes(cls, chips: int | None) -> npt.NDArray[np.bool_]:
        return wire_first_bytes(cls.PAYLOAD, chips)


class SeventeenBytes(TenBytes):
    PAYLOAD, LAYOUT = 0, layout(17)


class TenLayerBytes(_LongContent, AbstractLayerHit):
    PAYLOAD, LAYOUT, DTYPE = 1, TenBytes.LAYOUT, with_layer_columns(TenBytes.DTYPE)


class TenReadout(AbstractAstroPixReadout):
    HIT_CLASS = TenBytes


class TenLayerReadout(LayerFrames, AbstractAstroPixReadout):
    HIT_CLASS = TenLayerBytes


def wire_of(hit_class: type[TenBytes], random: np.random.Generator, count: int) -> bytes:
    """Random hits with a valid first byte, rich in bytes that mean something."""
    data = random.choice(
        np.array([IDLE, PADDING, *range(256)], np.uint8), (count, hit_class.LAYOUT.size_bytes),
        p=np.array([0.1, 0.2] + [0.7 / 256] * 256),
    )  # fmt: skip
    data[:, 0] = random.choice(hit_class.first_bytes(4).nonzero()[0], count)
    return data.tobytes()


@given(st.binary(min_size=10, max_size=10), st.sampled_from([1, 200]))
def test_fields_are_where_the_layout_says(data: bytes, count: int) -> None:
    wire = np.frombuffer(data * count, np.uint8).reshape(count, 10)
    bits = "".join(f"{byte:08b}"[::-1] for byte in data)
    words = TenBytes.LAYOUT.words(wire)
    columns = list(TenBytes.LAYOUT.columns(words))
    for field, column in zip(TenBytes.LAYOUT.fields, columns, strict=True):
        number = int(bits[field.first_bit : field.first_bit + field.width], 2)
        if field.gray:
            number = int("".join(str(f"{number:04b}"[: end + 1].count("1") % 2) for end in range(4)), 2)
        assert column.tolist() == [number] * count
    assert TenBytes.LAYOUT.wire(words).tobytes() == data * count
    names = [field.name for field in TenBytes.LAYOUT.fields]
    encoded = TenBytes.LAYOUT.encode(dict(zip(names, columns, strict=True)))
    decoded = TenBytes.LAYOUT.columns(TenBytes.LAYOUT.words(encoded))
    for before, after in zip(columns, decoded, strict=True):
        np.testing.assert_array_equal(before, after)


def test_a_hit_and_a_readout_of_them_are_objects() -> None:
    wire = TenBytes.LAYOUT.encode({"chip_id": [2, 0], "payload": 1, "row": [200, 3], "across": 12345, "last": [9, 0]})
    first, second = TenReadout(b"\xbc" + wire.tobytes(), 4, 5).decode()
    assert (first.chip_id, first.row, first.across, first.last, first.tot_us) == (2, 200, 12345, 9, 1234.5)
    assert (second.decoding_order, second.readout_id, second.timestamp) == (1, 4, 5)
    assert first == TenBytes(reverse_bit_order(wire[0].tobytes()))
    assert first.data == reverse_bit_order(wire[0].tobytes())


@pytest.mark.parametrize("hit_class", [TenBytes, SeventeenBytes])
@pytest.mark.parametrize("known", [8192, 8191, None])
@settings(max_examples=60)
@given(seed=st.integers(0, 1 << 32), one_by_one=st.booleans(), damaged=st.booleans())
def test_the_stream_decoder_finds_what_the_rules_say(
    hit_class: type[TenBytes], known: int | None, seed: int, one_by_one: bool, damaged: bool
) -> None:
    random = np.random.default_rng(seed)
    size = hit_class.LAYOUT.size_bytes
    stream = b"".join(
        bytes([IDLE]) * int(random.integers(0, 4)) + wire_of(hit_class, random, int(random.integers(1, 4)))
        for _ in range(8)
    )
    if damaged:
        lost = int(random.integers(len(stream)))
        stream = stream[:lost] + stream[lost + int(random.integers(1, 9)) :]
    cuts = [0, *sorted(random.integers(0, len(stream), 5).tolist()), len(stream)]
    chunks = [stream[start:stop].rstrip(b"\xff") for start, stop in itertools.pairwise(cuts)]
    starts = hit_class.first_bytes(4)
    sequential = SequentialDecoder(lambda byte: bool(starts[byte]), size, known)
    sequential.run(list(enumerate(chunks)), flush=True)
    decoder = StreamDecoder(4, hit_class, known)
    readouts = [TenReadout(chunk, number, 10 * number) for number, chunk in enumerate(chunks)]
    pieces = [[readout] for readout in readouts] if one_by_one else [readouts]
    table = np.concatenate([*(decoder.decode(piece) for piece in pieces), decoder.flush()])
    expected = hit_class.table(
        hit_class.LAYOUT.words(np.frombuffer(b"".join(hit.data for hit in sequential.hits), np.uint8).reshape(-1, size))
    )
    for order, hit in enumerate(sequential.hits):
        expected[order]["readout_id"], expected[order]["timestamp"] = hit.readout_id, 10 * hit.readout_id
        expected[order]["decoding_order"] = hit.decoding_order
    np.testing.assert_array_equal(table, expected)
    counts = decoder.ledger.to_dict()
    assert {name: counts[name] for name in sequential.counts} == dict(sequential.counts)
    assert decoder.ledger.balanced


@pytest.mark.parametrize("bits", [16, 64])
@pytest.mark.parametrize("order", ["little", "big"])
@settings(max_examples=60)
@given(seed=st.integers(0, 1 << 32), one_by_one=st.booleans(), damaged=st.booleans())
def test_the_frame_decoder_finds_what_the_rules_say(
    bits: int, order: str, seed: int, one_by_one: bool, damaged: bool
) -> None:
    random = np.random.default_rng(seed)
    frame = FrameLayout(bits, order, 10)  # type: ignore[arg-type]
    hits = np.frombuffer(reverse_bit_order(wire_of(TenBytes, random, 20)), np.uint8).reshape(-1, 10)
    stamps = random.integers(0, 1 << 63, 20).astype(np.uint64)
    stream = encode_frames(hits, random.integers(1, 4, 20), stamps, frame).tobytes()
    if damaged:
        lost = int(random.integers(len(stream)))
        stream = stream[:lost] + stream[lost + int(random.integers(1, 9)) :]
    cuts = [0, *sorted(random.integers(0, len(stream), 5).tolist()), len(stream)]
    chunks = [stream[start:stop] for start, stop in itertools.pairwise(cuts)]
    sequential = SequentialFrames(4, 3, bits, order, 10).run(list(enumerate(chunks)), flush=True)
    decoder = LayerFrameDecoder(4, 3, frame, TenLayerBytes)
    readouts = [TenLayerReadout(chunk, number, 10 * number) for number, chunk in enumerate(chunks)]
    pieces = [[readout] for readout in readouts] if one_by_one else [readouts]
    table = np.concatenate([*(decoder.decode(piece) for piece in pieces), decoder.flush()])
    data = reverse_bit_order(b"".join(found.data for found in sequential.frames))
    expected = TenLayerBytes.table(TenLayerBytes.LAYOUT.words(np.frombuffer(data, np.uint8).reshape(-1, 10)))
    for row, found in enumerate(sequential.frames):
        expected[row]["readout_id"], expected[row]["timestamp"] = found.readout_id, 10 * found.readout_id
        expected[row]["decoding_order"], expected[row]["layer"] = found.decoding_order, found.layer
        expected[row]["fpga_timestamp"] = found.fpga_timestamp
    np.testing.assert_array_equal(table, expected)
    counts = decoder.ledger.to_dict()
    assert {name: counts[name] for name in sequential.counts} == dict(sequential.counts)
