"""Named bit fields of a hit, and their extraction from many hits at once.

The board sends each byte with its least significant bit first. Read as one little-endian integer, the bytes of
a hit therefore carry their bits in the order of time: the bit that the chip sent first is bit 0. A field is
then a shift and a mask away, with its own bits in reverse order, and one table look-up puts them right. The same
look-up can do more on its way, like turning a Gray code into a number. So no byte is ever reversed. The bytes of a
longer hit are several such integers.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import cached_property

import numpy as np
import numpy.typing as npt

Words = npt.NDArray[np.uint64]
"""Wire bytes of hits as little-endian integers: shape (n,) for hits of up to 8 bytes, (n, words of a hit) for longer
ones. Bits beyond the hit's last byte are 0."""

Column = npt.NDArray[np.uint32]
"""A field of each hit."""

WORD_BYTES = 8
_WORD_BITS = 8 * WORD_BYTES
MAX_TABLE_BITS = 20

MAX_HIT_BYTES = 64
"""A layer frame could hold more; a hit of this size has room for 50 fields."""

_FEW = 128
"""Hits below which taking all fields in one step is faster than one field after the other."""


def word_count(size_bytes: int) -> int:
    """How many words hold `size_bytes` bytes."""
    return -(-size_bytes // WORD_BYTES)


def reverse_bits(values: npt.NDArray[np.uint64], width: int) -> npt.NDArray[np.uint64]:
    """`values` with the order of their lowest `width` bits reversed."""
    reversed_values = np.zeros_like(values)
    for bit in range(width):
        reversed_values |= ((values >> np.uint64(bit)) & np.uint64(1)) << np.uint64(width - 1 - bit)
    return reversed_values


def gray_to_binary(gray: npt.NDArray[np.uint64]) -> npt.NDArray[np.uint64]:
    """The numbers that reflected binary (Gray) codes of up to 32 bits stand for."""
    binary = gray.copy()
    for shift in (1, 2, 4, 8, 16):
        binary ^= binary >> np.uint64(shift)
    return binary


def binary_to_gray(binary: npt.NDArray[np.uint64]) -> npt.NDArray[np.uint64]:
    """Inverse of `gray_to_binary`."""
    return binary ^ (binary >> np.uint64(1))


@dataclass(frozen=True)
class Field:
    """`width` bits from `first_bit` on, counted from the first bit of the hit, most significant bit first.

    `gray` says that the field is a Gray code; its value is the number it stands for.
    """

    name: str
    first_bit: int
    width: int
    gray: bool = False

    def __post_init__(self) -> None:
        if not 1 <= self.width <= MAX_TABLE_BITS:
            raise ValueError(f"field {self.name}: {self.width} bits wide, not within 1…{MAX_TABLE_BITS}")

    @cached_property
    def _shift(self) -> np.uint64:
        return np.uint64(self.first_bit % _WORD_BITS)

    @cached_property
    def _mask(self) -> np.uint64:
        return np.uint64((1 << self.width) - 1)

    @property
    def _bits_in_first_word(self) -> int:
        return min(self.width, _WORD_BITS - self.first_bit % _WORD_BITS)

    @cached_property
    def table(self) -> npt.NDArray[np.uint32]:
        """Value of the field for each pattern of its bits as they lie in the word; 2^width entries."""
        patterns = reverse_bits(np.arange(1 << self.width, dtype=np.uint64), self.width)
        return (gray_to_binary(patterns) if self.gray else patterns).astype(np.uint32)

    def extract(self, words: Words) -> Column:
        """The field of each hit."""
        bits = ((words if words.ndim == 1 else words[:, self.first_bit // _WORD_BITS]) >> self._shift) & self._mask
        if (in_first := self._bits_in_first_word) < self.width:
            rest = words[:, self.first_bit // _WORD_BITS + 1] << np.uint64(in_first)
            bits |= rest & self._mask
        return self.table.take(bits.view(np.int64), mode="clip")

    def insert(self, words: Words, values: npt.ArrayLike) -> None:
        """Set the field of each hit, which must be zero before; `values` are cut to `width` bits."""
        bits = np.asarray(values).astype(np.uint64) & self._mask
        if self.gray:
            bits = binary_to_gray(bits)
        bits = reverse_bits(bits, self.width)
        if words.ndim == 1:
            words |= bits << self._shift
            return
        word = self.first_bit // _WORD_BITS
        words[:, word] |= bits << self._shift
        if (in_first := self._bits_in_first_word) < self.width:
            words[:, word + 1] |= bits >> np.uint64(in_first)


class HitLayout:
    """The bit fields of a hit of `size_bytes` bytes.

    `fields` are what the hit says, one column of the decoded table each; `composites` are other views of the
    same bits, of which derived quantities are made.
    """

    def __init__(self, size_bytes: int, fields: tuple[Field, ...], composites: tuple[Field, ...] = ()) -> None:
        if not 1 <= size_bytes <= MAX_HIT_BYTES:
            raise ValueError(f"a hit of {size_bytes} bytes: only 1 to {MAX_HIT_BYTES} are possible")
        for field in fields + composites:
            if field.first_bit < 0 or field.first_bit + field.width > 8 * size_bytes:
                raise ValueError(f"field {field.name} ends beyond the {8 * size_bytes} bits of the hit")
        self.size_bytes = size_bytes
        self.fields = fields
        self.composites = composites
        self._by_name = {field.name: field for field in fields + composites}

    def __getitem__(self, name: str) -> Field:
        return self._by_name[name]

    def columns(self, words: Words) -> Iterator[Column]:
        """`fields`, then `composites` of each hit, as `Field.extract` gives them, in order."""
        if len(words) > _FEW or words.ndim > 1:
            return (field.extract(words) for field in self.fields + self.composites)
        shifts, masks, begins, table = self._all_fields
        bits = words >> shifts
        bits &= masks
        bits += begins
        return iter(table.take(bits.view(np.int64), mode="clip"))

    @cached_property
    def _all_fields(self) -> tuple[Words, Words, Words, npt.NDArray[np.uint32]]:
        """Shift and mask of each field and composite, as columns; where its table begins in one of all; that one."""
        fields = self.fields + self.composites
        tables = [field.table for field in fields]
        begins = np.cumsum([0, *map(len, tables[:-1])]).astype(np.uint64)
        shifts = np.array([field.first_bit for field in fields], np.uint64)
        masks = np.array([len(table) - 1 for table in tables], np.uint64)
        return shifts[:, None], masks[:, None], begins[:, None], np.concatenate(tables)

    def encode(self, values: Mapping[str, npt.ArrayLike]) -> npt.NDArray[np.uint8]:
        """Wire bytes of hits, shape (n, size_bytes), from the values of fields by name; bits of other fields are 0.

        Arrays and scalars are broadcast against each other; each is cut to the bits of its field.
        """
        columns = np.broadcast_arrays(*(np.atleast_1d(np.asarray(value)) for value in values.values()))
        words = self.words(np.zeros((len(columns[0]), self.size_bytes), np.uint8))
        for name, column_values in zip(values, columns, strict=True):
            self[name].insert(words, column_values)
        return self.wire(words)

    def words(self, wire: npt.NDArray[np.uint8]) -> Words:
        """Hits as integers, from their wire bytes: shape (n, size_bytes)."""
        padded = np.zeros((len(wire), word_count(self.size_bytes) * WORD_BYTES), np.uint8)
        padded[:, : self.size_bytes] = wire
        words: Words = padded.view("<u8")
        return words[:, 0] if words.shape[1] == 1 else words

    def wire(self, words: Words) -> npt.NDArray[np.uint8]:
        """Inverse of `words`."""
        flat: npt.NDArray[np.uint8] = words.astype("<u8").view(np.uint8)
        return flat.reshape(-1, word_count(self.size_bytes) * WORD_BYTES)[:, : self.size_bytes].copy()
