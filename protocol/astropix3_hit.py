"""Hits of AstroPix 3: a row's or a column's, never a pixel's (docs/formats.md, "Hit of version 3").

A particle makes one hit of its row and one of its column. Which belong together, time stamps and time over threshold
can tell, but nothing in the data says.
"""

from collections.abc import Sequence
from typing import ClassVar

import numpy as np
import numpy.typing as npt

from protocol.hit import AbstractAstroPixHit, HitTable, wire_first_bytes
from protocol.layer_hit import AbstractLayerHit, in_order, with_layer_columns
from protocol.layout import Column, Field, HitLayout

ASTROPIX3_HIT_DTYPE: np.dtype[np.void] = np.dtype(
    [
        ("chip_id", "<u1"),
        ("payload", "<u1"),
        ("readout_id", "<u4"),
        ("timestamp", "<u8"),
        ("decoding_order", "<u2"),
        ("is_column", "<u1"),
        ("location", "<u1"),
        ("chip_timestamp", "<u1"),
        ("tot_msb", "<u1"),
        ("tot_lsb", "<u1"),
        ("tot_dec", "<u2"),
        ("tot_us", "<f8"),
    ]
)
"""Columns of the decoded table of AstroPix 3; 31 bytes a row, packed, little endian."""

ASTROPIX3_LAYER_HIT_DTYPE = with_layer_columns(ASTROPIX3_HIT_DTYPE)
"""The same out of layer frames; 40 bytes a row."""


class AstroPix3Content(AbstractAstroPixHit):
    """The 5 bytes of a hit, in whatever order of bits they come, and in whatever counts time is told."""

    COUNTS_PER_US: ClassVar[int]
    PAYLOAD = 4

    LAYOUT = HitLayout(
        5,
        (
            Field("chip_id", 0, 5),
            Field("payload", 5, 3),
            Field("is_column", 8, 1),
            Field("location", 10, 6),
            Field("chip_timestamp", 16, 8),
            Field("tot_msb", 28, 4),
            Field("tot_lsb", 32, 8),
        ),
        composites=(Field("tot_dec", 28, 12),),
    )

    chip_id: int
    payload: int
    is_column: int
    location: int
    chip_timestamp: int
    tot_msb: int
    tot_lsb: int
    tot_dec: int
    tot_us: float

    @classmethod
    def derive(cls, table: HitTable, composites: Sequence[Column]) -> None:
        """Time over threshold in counts and in µs."""
        (counts,) = composites
        table["tot_dec"] = counts
        table["tot_us"] = counts / cls.COUNTS_PER_US


class AstroPix3Hit(AstroPix3Content):
    """One hit of AstroPix 3: 5 bytes.

    `is_column`: whether `location` (0…63; 0…34 exist) is a column, or a row. `chip_timestamp`: the chip's counter, 8
    bits; `timestamp` is the host's clock, as for every hit. `tot_dec = tot_msb << 8 | tot_lsb`, in counts of 5 ns, 12
    bits; `tot_us = tot_dec / 200`, 0…20.475 µs.
    """

    COUNTS_PER_US = 200
    MAX_TOT_US = 20.475
    DTYPE = ASTROPIX3_HIT_DTYPE

    @classmethod
    def first_bytes(cls, chips: int | None) -> npt.NDArray[np.bool_]:
        """`001xxxxx` on the wire, x the chip's number with its bits reversed: neither idle nor padding."""
        return wire_first_bytes(cls.PAYLOAD, chips)

    @classmethod
    def encode(
        cls,
        chip_id: npt.ArrayLike,
        is_column: npt.ArrayLike,
        location: npt.ArrayLike,
        chip_timestamp: npt.ArrayLike,
        tot_dec: npt.ArrayLike,
    ) -> npt.NDArray[np.uint8]:
        """Wire bytes of hits, shape (n, 5): the inverse of the decoder.

        Arrays and scalars are broadcast against each other; each is cut to the bits of its field. Unused bits are 0.
        """
        values: dict[str, npt.ArrayLike] = {
            "chip_id": chip_id,
            "payload": cls.PAYLOAD,
            "is_column": is_column,
            "location": location,
            "chip_timestamp": chip_timestamp,
            "tot_dec": tot_dec,
        }
        return cls.LAYOUT.encode(values)


class AstroPix3LayerHit(AstroPix3Content, AbstractLayerHit):
    """One hit of AstroPix 3 out of a layer frame: the same 5 bytes as `AstroPix3Hit`, their bits already in order.

    The time over threshold is counted in **10 ns** there: `tot_us = tot_dec / 100`, 0…40.95 µs.
    """

    COUNTS_PER_US = 100
    MAX_TOT_US = 40.95
    DTYPE = ASTROPIX3_LAYER_HIT_DTYPE

    @classmethod
    def encode(
        cls,
        chip_id: npt.ArrayLike,
        is_column: npt.ArrayLike,
        location: npt.ArrayLike,
        chip_timestamp: npt.ArrayLike,
        tot_dec: npt.ArrayLike,
    ) -> npt.NDArray[np.uint8]:
        """The 5 bytes of hits as they stand in frames, shape (n, 5): the inverse of the decoder."""
        return in_order(AstroPix3Hit.encode(chip_id, is_column, location, chip_timestamp, tot_dec))
