"""Another chip, as a user would add it: hits of 5 bytes in the manner of version 3, rows and columns apart."""

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from protocol import AbstractAstroPixHit, AbstractAstroPixReadout
from protocol.hit import HitTable
from protocol.layout import Column, Field, HitLayout


def starts_astropix3_hit(byte: int) -> bool:
    """Payload of 4 bytes: `001xxxxx` on the wire."""
    return byte >> 5 == 0b001


class AstroPix3Hit(AbstractAstroPixHit):
    """A row's or a column's hit; `tot` is put together from two fields, in counts."""

    LAYOUT = HitLayout(
        5,
        (
            Field("chip_id", 0, 5),
            Field("payload", 5, 3),
            Field("is_column", 8, 1),
            Field("location", 10, 6),
            Field("ts_count", 16, 8),
            Field("tot_msb", 28, 4),
            Field("tot_lsb", 32, 8),
        ),
    )
    DTYPE = np.dtype(
        [
            ("chip_id", "u1"),
            ("payload", "u1"),
            ("readout_id", "<u4"),
            ("timestamp", "<u8"),
            ("decoding_order", "<u2"),
            ("is_column", "u1"),
            ("location", "u1"),
            ("ts_count", "u1"),
            ("tot_msb", "u1"),
            ("tot_lsb", "u1"),
            ("tot", "<u2"),
        ]
    )

    @classmethod
    def first_bytes(cls, chips: int | None) -> npt.NDArray[np.bool_]:
        """See `starts_astropix3_hit`; the number of chips is not looked at."""
        return np.array([starts_astropix3_hit(byte) for byte in range(256)])

    @classmethod
    def derive(cls, table: HitTable, composites: Sequence[Column]) -> None:
        """Time over threshold in counts."""
        table["tot"] = table["tot_msb"].astype(np.uint16) << 8 | table["tot_lsb"]


class AstroPix3Readout(AbstractAstroPixReadout):
    """A readout of such hits, that can be written to files."""

    HIT_CLASS = AstroPix3Hit
    _UID = 3999
