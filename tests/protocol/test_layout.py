"""Bit fields: where they lie, what they are worth, and back."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from protocol.hit import AstroPix4Hit
from protocol.layout import Field, HitLayout, binary_to_gray, gray_to_binary, reverse_bits

WORD = st.integers(0, 2**64 - 1)


def bits_as_sent(wire: bytes) -> str:
    """The chip sends each byte with its least significant bit first."""
    return "".join(f"{byte:08b}"[::-1] for byte in wire)


@st.composite
def fields(draw: st.DrawFn) -> Field:
    width = draw(st.integers(1, 20))
    return Field("it", draw(st.integers(0, 64 - width)), width, gray=draw(st.booleans()))


def test_bits_are_reversed() -> None:
    assert reverse_bits(np.array([0b0001, 0b1011, 0xF0], np.uint64), 4).tolist() == [0b1000, 0b1101, 0]


def test_gray_code_of_three_bits() -> None:
    gray = np.array([0b000, 0b001, 0b011, 0b010, 0b110, 0b111, 0b101, 0b100], np.uint64)
    assert gray_to_binary(gray).tolist() == list(range(8))


@given(st.lists(st.integers(0, 2**32 - 1)))
def test_gray_code_there_and_back(numbers: list[int]) -> None:
    binary = np.array(numbers, np.uint64)
    assert gray_to_binary(binary_to_gray(binary)).tolist() == numbers
    neighbours = binary_to_gray(binary) ^ binary_to_gray(binary + np.uint64(1))
    assert all(int(difference).bit_count() == 1 for difference in neighbours)


@given(fields(), st.binary(min_size=8, max_size=8))
def test_a_field_is_its_bits_in_the_order_they_were_sent(field: Field, wire: bytes) -> None:
    words = np.frombuffer(wire, "<u8")
    number = int(bits_as_sent(wire)[field.first_bit : field.first_bit + field.width], 2)
    if field.gray:
        number = int(gray_to_binary(np.array([number], np.uint64))[0])
    assert field.extract(words).tolist() == [number]


@given(fields(), st.lists(WORD, max_size=5))
def test_insert_is_the_inverse_of_extract(field: Field, numbers: list[int]) -> None:
    values = np.array([number % (1 << field.width) for number in numbers], np.uint64)
    words = np.zeros(len(values), np.uint64)
    field.insert(words, values)
    assert field.extract(words).tolist() == values.tolist()
    outside = ~np.uint64(((1 << field.width) - 1) << field.first_bit)
    assert not (words & outside).any()


def test_what_is_too_large_for_a_field_is_cut() -> None:
    words = np.zeros(1, np.uint64)
    Field("it", 8, 5).insert(words, 0x3F)
    assert words.tolist() == [0x1F00]


@pytest.mark.parametrize("width", [0, 21])
def test_impossible_width_is_refused(width: int) -> None:
    with pytest.raises(ValueError, match="bits wide"):
        Field("it", 0, width)


def test_fields_must_lie_within_the_hit() -> None:
    with pytest.raises(ValueError, match="ends beyond the 40 bits"):
        HitLayout(5, (Field("it", 36, 5),))
    with pytest.raises(ValueError, match="only 1 to 64"):
        HitLayout(65, ())


@given(st.integers(1, 8), st.data())
def test_words_hold_the_wire_bytes(size: int, data: st.DataObject) -> None:
    layout = HitLayout(size, ())
    hits = data.draw(st.lists(st.binary(min_size=size, max_size=size), max_size=4))
    wire = np.frombuffer(b"".join(hits), np.uint8).reshape(-1, size)
    words = layout.words(wire)
    assert words.tolist() == [int.from_bytes(hit, "little") for hit in hits]
    assert layout.wire(words).tobytes() == b"".join(hits)


def test_the_fields_of_astropix4_cover_each_bit_once() -> None:
    covered = [bit for each in AstroPix4Hit.LAYOUT.fields for bit in range(each.first_bit, each.first_bit + each.width)]
    assert covered == list(range(64))


@pytest.mark.parametrize("count", [0, 1, 127, 128, 129, 1000])
def test_all_fields_at_once_are_the_fields_one_by_one(count: int) -> None:
    words = np.random.default_rng(count).integers(0, 1 << 64, count, np.uint64)
    layout = AstroPix4Hit.LAYOUT
    for field, values in zip(layout.fields + layout.composites, layout.columns(words), strict=True):
        assert values.tolist() == field.extract(words).tolist()
