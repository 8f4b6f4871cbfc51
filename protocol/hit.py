"""Hits: one pixel's signal each, as an object (`AstroPix4Hit`) and as a row of a table (`HIT_DTYPE`)."""

from abc import ABC, abstractmethod
from collections.abc import Iterable, Sequence
from typing import Any, ClassVar, Self

import numpy as np
import numpy.typing as npt

from protocol.layout import Column, Field, HitLayout, Words, reverse_bits
from protocol.stream_bytes import MAX_CHIPS

HitTable = npt.NDArray[np.void]
"""Structured array, one row a hit."""

_REVERSED = reverse_bits(np.arange(256, dtype=np.uint64), 8).astype(np.uint8).tobytes()


def join_tables(tables: Sequence[HitTable], dtype: np.dtype[np.void]) -> HitTable:
    """Rows of `tables`, all of `dtype`, one after the other; the table itself where there is one, empty for none.

    NumPy copies structured rows field by field, 40 times slower than these bytes.
    """
    if len(tables) == 1:
        return tables[0]
    if not tables:
        return np.zeros(0, dtype)
    joined: HitTable = np.concatenate([np.ascontiguousarray(table).view(np.uint8) for table in tables]).view(dtype)
    return joined


def reverse_bit_order(data: bytes) -> bytes:
    """`data` with the bits of each byte in reverse order: wire bytes to hit data, and back."""
    return data.translate(_REVERSED)


def wire_first_bytes(payload: int, chips: int | None) -> npt.NDArray[np.bool_]:
    """Which of the 256 wire bytes are `chip_id << 3 | payload` with their bits reversed; of 31 chips if None."""
    allowed = np.zeros(256, np.bool_)
    for chip in range(MAX_CHIPS if chips is None else min(chips, MAX_CHIPS)):
        allowed[_REVERSED[chip << 3 | payload]] = True
    return allowed


class AbstractAstroPixHit(ABC):
    """One hit of an AstroPix chip; concrete classes say how its bits are laid out.

    A class for a chip gives

    - `LAYOUT`: its bit fields;
    - `PAYLOAD`: what its first byte says of the number of bytes that follow;
    - `DTYPE`: the columns of its decoded table, in order: the fields, what `derive` computes, and
      `readout_id`, `timestamp` (ns since the epoch, host clock) and `decoding_order` (from 0 within a readout);
    - `first_bytes(chips)` and `derive(table, composites)`.

    Parameters: `data` is the hit's bytes with their bits already reversed (`LAYOUT.size_bytes` of them, else
    `ValueError`); the others are the columns of the same names.

    Each column is an attribute. Hits are equal when they are of the same class and their bits are equal, whichever
    readout brought them.
    """

    LAYOUT: ClassVar[HitLayout]
    PAYLOAD: ClassVar[int]
    DTYPE: ClassVar[np.dtype[np.void]]
    MAX_TOT_US: ClassVar[float] = float("inf")
    """The longest time over threshold that the chip's counter can give, where it is known."""
    ATTRIBUTE_NAMES: ClassVar[tuple[str, ...]] = ()

    readout_id: int
    timestamp: int
    decoding_order: int

    def __init_subclass__(cls, **kwargs: Any) -> None:
        super().__init_subclass__(**kwargs)
        if "DTYPE" in cls.__dict__:
            cls.ATTRIBUTE_NAMES = tuple(cls.DTYPE.names or ())

    def __init__(self, data: bytes, readout_id: int = 0, timestamp: int = 0, decoding_order: int = 0) -> None:
        size = self.LAYOUT.size_bytes
        if len(data) != size:
            raise ValueError(f"a hit of {type(self).__name__} is {size} bytes long, not {len(data)}")
        self._data = bytes(data)
        wire = np.frombuffer(reverse_bit_order(self._data), np.uint8).reshape(1, size)
        row = self.table(self.LAYOUT.words(wire))
        row["readout_id"], row["timestamp"], row["decoding_order"] = readout_id, timestamp, decoding_order
        self._set(row[0].item())

    def _set(self, values: Iterable[Any]) -> None:
        self.__dict__.update(zip(self.ATTRIBUTE_NAMES, values, strict=True))

    @classmethod
    @abstractmethod
    def first_bytes(cls, chips: int | None) -> npt.NDArray[np.bool_]:
        """Which of the 256 wire bytes can begin a hit in a chain of `chips` chips (None: not known)."""

    @classmethod
    @abstractmethod
    def derive(cls, table: HitTable, composites: Sequence[Column]) -> None:
        """Fill the derived columns of `table` in place; `composites`: those of `LAYOUT`, of each hit."""

    @classmethod
    def table(cls, words: Words) -> HitTable:
        """Decode hits: wire words (n,) → table (n,) of `DTYPE`, without the columns that the readout gives."""
        table = np.zeros(len(words), cls.DTYPE)
        if not len(words):
            return table
        columns = cls.LAYOUT.columns(words)
        for field in cls.LAYOUT.fields:
            table[field.name] = next(columns)
        cls.derive(table, tuple(columns))
        return table

    @classmethod
    def from_table(cls, table: HitTable, words: Words) -> list[Self]:
        """Hits as objects, from decoded rows and the words they were decoded from."""
        return cls.from_rows(table.tolist(), cls.data_of(words))

    @classmethod
    def data_of(cls, words: Words) -> bytes:
        """The bytes of hits, one after the other, bits already reversed, from their wire words."""
        return reverse_bit_order(cls.LAYOUT.wire(words).tobytes())

    @classmethod
    def from_rows(cls, rows: Sequence[tuple[Any, ...]], data: bytes) -> list[Self]:
        """Hits as objects, from rows of plain numbers and the bytes of all, bits already reversed."""
        size = cls.LAYOUT.size_bytes
        hits = []
        for index, values in enumerate(rows):
            hit = cls.__new__(cls)
            hit._data = data[index * size : (index + 1) * size]
            hit._set(values)
            hits.append(hit)
        return hits

    @property
    def data(self) -> bytes:
        """The hit's bytes, bits already reversed."""
        return self._data

    def attribute_values(self, names: Iterable[str] | None = None) -> list[Any]:
        """Values of the columns `names`, or of all in the order of `ATTRIBUTE_NAMES`."""
        return [getattr(self, name) for name in (self.ATTRIBUTE_NAMES if names is None else names)]

    def dict(self) -> dict[str, Any]:
        """Column names and values."""
        return {name: getattr(self, name) for name in self.ATTRIBUTE_NAMES}

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, AbstractAstroPixHit):
            return NotImplemented
        return type(self) is type(other) and self._data == other._data

    def __hash__(self) -> int:
        return hash((type(self), self._data))

    def __str__(self) -> str:
        columns = zip(self.ATTRIBUTE_NAMES, self.attribute_values(), strict=True)
        return f"{type(self).__name__}({', '.join(map('{0[0]} = {0[1]}'.format, columns))})"

    __repr__ = __str__


HIT_DTYPE: np.dtype[np.void] = np.dtype(
    [
        ("chip_id", "<u1"),
        ("payload", "<u1"),
        ("readout_id", "<u4"),
        ("timestamp", "<u8"),
        ("decoding_order", "<u2"),
        ("row", "<u1"),
        ("column", "<u1"),
        ("ts_neg1", "<u1"),
        ("ts_coarse1", "<u2"),
        ("ts_fine1", "<u1"),
        ("ts_tdc1", "<u1"),
        ("ts_neg2", "<u1"),
        ("ts_coarse2", "<u2"),
        ("ts_fine2", "<u1"),
        ("ts_tdc2", "<u1"),
        ("ts_dec1", "<u4"),
        ("ts_dec2", "<u4"),
        ("tot_us", "<f8"),
    ]
)
"""Columns of the decoded table of AstroPix 4 (docs/formats.md, "Hit"); 44 bytes a row, packed, little endian."""


class AstroPix4Content(AbstractAstroPixHit):
    """The 8 bytes of a hit of AstroPix 4, in whatever order of bits they come, and in whatever counts time is told."""

    PAYLOAD = 7
    MAX_TOT_US = 6553.575

    LAYOUT = HitLayout(
        8,
        (
            Field("chip_id", 0, 5),
            Field("payload", 5, 3),
            Field("row", 8, 5),
            Field("column", 13, 5),
            Field("ts_neg1", 18, 1),
            Field("ts_coarse1", 19, 14),
            Field("ts_fine1", 33, 3),
            Field("ts_tdc1", 36, 5),
            Field("ts_neg2", 41, 1),
            Field("ts_coarse2", 42, 14),
            Field("ts_fine2", 56, 3),
            Field("ts_tdc2", 59, 5),
        ),
        composites=(Field("ts_dec1", 19, 17, gray=True), Field("ts_dec2", 42, 17, gray=True)),
    )

    chip_id: int
    payload: int
    row: int
    column: int
    ts_neg1: int
    ts_coarse1: int
    ts_fine1: int
    ts_tdc1: int
    ts_neg2: int
    ts_coarse2: int
    ts_fine2: int
    ts_tdc2: int
    ts_dec1: int
    ts_dec2: int
    tot_us: float


class AstroPix4Hit(AstroPix4Content):
    """One hit of AstroPix 4: 8 bytes.

    `ts_dec1`, `ts_dec2`: leading and trailing edge in counts of 50 ns (17 bits, then 2^17 is added to the second
    where it is smaller than the first); `tot_us = (ts_dec2 - ts_dec1) / 20`, 0…6553.55 µs.
    """

    CLOCK_CYCLES_PER_US = 20
    CLOCK_ROLLOVER = 1 << 17
    DTYPE = HIT_DTYPE

    @classmethod
    def first_bytes(cls, chips: int | None) -> npt.NDArray[np.bool_]:
        """`111xxxxx` on the wire, x the chip's number with its bits reversed; chip 31 would be padding."""
        return wire_first_bytes(cls.PAYLOAD, chips)

    @classmethod
    def derive(cls, table: HitTable, composites: Sequence[Column]) -> None:
        """Edges in clock counts and time over threshold in µs (facts of the chip: 20 MHz, 17 bits, Gray)."""
        leading, trailing = composites
        # The second edge comes after the first, by less than the counter's range.
        counts = (trailing - leading) & np.uint32(cls.CLOCK_ROLLOVER - 1)
        table["ts_dec1"] = leading
        table["ts_dec2"] = leading + counts
        table["tot_us"] = counts / cls.CLOCK_CYCLES_PER_US

    @classmethod
    def encode(
        cls,
        chip_id: npt.ArrayLike,
        row: npt.ArrayLike,
        column: npt.ArrayLike,
        ts_dec1: npt.ArrayLike,
        ts_dec2: npt.ArrayLike,
        *,
        ts_neg1: npt.ArrayLike = 0,
        ts_tdc1: npt.ArrayLike = 0,
        ts_neg2: npt.ArrayLike = 0,
        ts_tdc2: npt.ArrayLike = 0,
    ) -> npt.NDArray[np.uint8]:
        """Wire bytes of hits, shape (n, 8): the inverse of the decoder.

        Arrays and scalars are broadcast against each other; each is cut to the bits of its field (`ts_dec*`: modulo
        2^17).
        """
        values: dict[str, npt.ArrayLike] = {
            "chip_id": chip_id,
            "payload": cls.PAYLOAD,
            "row": row,
            "column": column,
            "ts_dec1": ts_dec1,
            "ts_neg1": ts_neg1,
            "ts_tdc1": ts_tdc1,
            "ts_dec2": ts_dec2,
            "ts_neg2": ts_neg2,
            "ts_tdc2": ts_tdc2,
        }
        return cls.LAYOUT.encode(values)
