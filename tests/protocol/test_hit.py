"""Hits as objects, rows and wire bytes."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from protocol import HIT_DTYPE, AbstractAstroPixHit, AstroPix4Hit
from protocol.hit import join_tables, reverse_bit_order
from tests.protocol.astropix3 import AstroPix3Hit
from tests.protocol.golden import GOLDEN, A, B

COLUMNS = {
    "chip_id": "u1",
    "payload": "u1",
    "readout_id": "u4",
    "timestamp": "u8",
    "decoding_order": "u2",
    "row": "u1",
    "column": "u1",
    "ts_neg1": "u1",
    "ts_coarse1": "u2",
    "ts_fine1": "u1",
    "ts_tdc1": "u1",
    "ts_neg2": "u1",
    "ts_coarse2": "u2",
    "ts_fine2": "u1",
    "ts_tdc2": "u1",
    "ts_dec1": "u4",
    "ts_dec2": "u4",
    "tot_us": "f8",
}


def hit_of(wire: bytes) -> AstroPix4Hit:
    return AstroPix4Hit(reverse_bit_order(wire), 3, 1_000, 2)


# ---- columns


def test_columns_are_those_that_readers_of_this_data_know() -> None:
    assert HIT_DTYPE.names == tuple(COLUMNS) == AstroPix4Hit.ATTRIBUTE_NAMES
    assert {name: HIT_DTYPE[name] for name in COLUMNS} == {name: np.dtype("<" + kind) for name, kind in COLUMNS.items()}
    assert HIT_DTYPE.itemsize == 44


@pytest.mark.parametrize("wire", GOLDEN, ids=bytes.hex)
def test_golden_vector_decodes(wire: bytes) -> None:
    hit = hit_of(wire)
    assert {name: getattr(hit, name) for name in GOLDEN[wire]} == GOLDEN[wire]
    assert (hit.readout_id, hit.timestamp, hit.decoding_order) == (3, 1_000, 2)


@pytest.mark.parametrize("wire", GOLDEN, ids=bytes.hex)
def test_golden_vector_encodes(wire: bytes) -> None:
    columns = GOLDEN[wire]
    encoded = AstroPix4Hit.encode(
        *(columns[name] for name in ("chip_id", "row", "column", "ts_dec1", "ts_dec2")),
        **{name: columns[name] for name in ("ts_neg1", "ts_tdc1", "ts_neg2", "ts_tdc2")},
    )
    assert encoded.tobytes() == wire


@given(st.binary(min_size=8, max_size=8))
def test_coarse_and_fine_are_one_gray_number(wire: bytes) -> None:
    hit = hit_of(wire)
    for coarse, fine, counts in (
        (hit.ts_coarse1, hit.ts_fine1, hit.ts_dec1),
        (hit.ts_coarse2, hit.ts_fine2, hit.ts_dec2 % (1 << 17)),
    ):
        gray, binary = coarse << 3 | fine, 0
        while gray:
            binary, gray = binary ^ gray, gray >> 1
        assert counts == binary
    assert hit.ts_dec1 <= hit.ts_dec2 < hit.ts_dec1 + (1 << 17)
    assert hit.tot_us == (hit.ts_dec2 - hit.ts_dec1) / 20


# ---- encoding


HIT = st.tuples(
    st.integers(0, 31),
    st.integers(0, 31),
    st.integers(0, 31),
    st.integers(0, 2**17 - 1),
    st.integers(0, 2**17 - 1),
    st.integers(0, 1),
    st.integers(0, 31),
    st.integers(0, 1),
    st.integers(0, 31),
)


@given(st.lists(HIT, min_size=1, max_size=5))
def test_encoded_hits_decode_to_what_they_were(hits: list[tuple[int, ...]]) -> None:
    names = ("chip_id", "row", "column", "ts_dec1", "ts_dec2", "ts_neg1", "ts_tdc1", "ts_neg2", "ts_tdc2")
    columns = dict(zip(names, np.array(hits).T, strict=True))
    wire = AstroPix4Hit.encode(**columns)
    assert wire.shape == (len(hits), 8)
    assert wire.dtype == np.uint8
    table = AstroPix4Hit.table(AstroPix4Hit.LAYOUT.words(wire))
    assert (table["payload"] == 7).all()
    table["ts_dec2"] %= 1 << 17
    assert [tuple(row) for row in table[list(names)].tolist()] == hits


def test_encode_broadcasts_and_cuts_to_the_bits_of_the_field() -> None:
    wire = AstroPix4Hit.encode(0, [1, 2, 3], 4, 5, (1 << 17) + 4, ts_tdc1=[31])
    table = AstroPix4Hit.table(AstroPix4Hit.LAYOUT.words(wire))
    assert table["row"].tolist() == [1, 2, 3]
    assert table["ts_tdc1"].tolist() == [31] * 3
    assert table["ts_dec2"].tolist() == [(1 << 17) + 4] * 3
    with pytest.raises(ValueError):
        AstroPix4Hit.encode([1, 2], [1, 2, 3], 0, 0, 0)


def test_first_bytes_of_the_chips_of_a_chain() -> None:
    assert np.flatnonzero(AstroPix4Hit.first_bytes(4)).tolist() == [0xE0, 0xE8, 0xF0, 0xF8]
    assert np.flatnonzero(AstroPix4Hit.first_bytes(1)).tolist() == [0xE0]
    for chips in (None, 31, 32):
        assert np.flatnonzero(AstroPix4Hit.first_bytes(chips)).tolist() == list(range(0xE0, 0xFF))


# ---- the object


def test_attribute_values() -> None:
    hit = hit_of(A)
    assert hit.attribute_values(["column", "row", "tot_us"]) == [9, 1, 31.05]
    assert hit.attribute_values() == [getattr(hit, name) for name in COLUMNS]
    assert hit.dict() == dict(zip(COLUMNS, hit.attribute_values(), strict=True))
    assert [type(value) for value in hit.attribute_values()] == [int] * 17 + [float]
    with pytest.raises(AttributeError):
        hit.attribute_values(["colour"])


def test_equal_by_content() -> None:
    assert hit_of(A) == AstroPix4Hit(reverse_bit_order(A), 99, 5, 0)
    assert hash(hit_of(A)) == hash(AstroPix4Hit(reverse_bit_order(A), 99, 5, 0))
    assert hit_of(A) != hit_of(B)
    assert hit_of(A) != A
    assert AstroPix3Hit(bytes(5)) != AstroPix4Hit(bytes(8))


def test_text_names_each_column() -> None:
    text = str(hit_of(A))
    assert text.startswith("AstroPix4Hit(chip_id = 0, payload = 7, readout_id = 3, timestamp = 1000,")
    assert all(f"{name} = " in text for name in COLUMNS)
    assert repr(hit_of(A)) == text


@pytest.mark.parametrize("size", [0, 7, 9])
def test_wrong_length_is_refused(size: int) -> None:
    with pytest.raises(ValueError, match=f"8 bytes long, not {size}"):
        AstroPix4Hit(bytes(size), 0, 0, 0)


def test_data_are_the_bytes_with_their_bits_in_reading_order() -> None:
    hit = hit_of(A)
    assert hit.data[0] == hit.chip_id << 3 | hit.payload
    assert reverse_bit_order(hit.data) == A


def test_objects_of_a_table_are_those_made_one_by_one() -> None:
    words = AstroPix4Hit.LAYOUT.words(np.frombuffer(b"".join(GOLDEN), np.uint8).reshape(-1, 8))
    table = AstroPix4Hit.table(words)
    table["readout_id"], table["timestamp"], table["decoding_order"] = 3, 1_000, 2
    hits = AstroPix4Hit.from_table(table, words)
    assert hits == [hit_of(wire) for wire in GOLDEN]
    assert [hit.dict() for hit in hits] == [hit_of(wire).dict() for wire in GOLDEN]


# ---- abstract and derived classes


def test_the_abstract_hit_refuses_to_be() -> None:
    with pytest.raises(TypeError, match="abstract"):
        AbstractAstroPixHit(bytes(8))


def test_a_layout_alone_is_not_enough() -> None:
    class Incomplete(AbstractAstroPixHit):
        LAYOUT = AstroPix4Hit.LAYOUT
        DTYPE = HIT_DTYPE

    with pytest.raises(TypeError, match="abstract"):
        Incomplete(bytes(8))


def test_a_hit_of_another_chip_has_its_own_columns() -> None:
    hit = AstroPix3Hit(reverse_bit_order(bytes.fromhex("2050041a01")), 5, 6, 7)
    assert AstroPix3Hit.DTYPE.names == AstroPix3Hit.ATTRIBUTE_NAMES
    assert (hit.dict()["payload"], hit.dict()["readout_id"]) == (4, 5)
    assert hit.dict()["tot"] == hit.dict()["tot_msb"] * 256 + hit.dict()["tot_lsb"]


# ---- tables


def test_joined_tables() -> None:
    table = AstroPix4Hit.table(np.arange(6, dtype=np.uint64))
    joined = join_tables([table[:2], table[2:2], table[::2]], HIT_DTYPE)
    assert joined.tolist() == table[:2].tolist() + table[::2].tolist()
    assert joined.dtype == HIT_DTYPE
    assert join_tables([table], HIT_DTYPE) is table
    assert (len(join_tables([], HIT_DTYPE)), join_tables([], HIT_DTYPE).dtype) == (0, HIT_DTYPE)
