"""Hits as the A-STEP firmware delivers them: with layer and FPGA time stamp."""

from abc import ABC
from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from protocol.hit import HIT_DTYPE, AbstractAstroPixHit, AstroPix4Content, AstroPix4Hit, HitTable, reverse_bit_order
from protocol.layout import Column
from protocol.stream_bytes import MAX_CHIPS


def with_layer_columns(dtype: np.dtype[np.void]) -> np.dtype[np.void]:
    """The columns of layer frames: those of the chip's hits, then `layer` and `fpga_timestamp`."""
    return np.dtype([*((name, dtype[name]) for name in dtype.names or ()), ("layer", "<u1"), ("fpga_timestamp", "<u8")])


LAYER_HIT_DTYPE = with_layer_columns(HIT_DTYPE)
"""Columns of the decoded table of layer frames: those of `HIT_DTYPE`, then two more; 53 bytes a row, packed."""


class AbstractLayerHit(AbstractAstroPixHit, ABC):
    """One hit out of a layer frame: the bytes of the chip, their bits already in order.

    `layer`: as the frame says. `fpga_timestamp`: the FPGA's counter when the first byte of the hit had come, as wide as
    configured. Hits are equal when bits, layer and FPGA time stamp are.
    """

    layer: int
    fpga_timestamp: int

    def __init__(
        self,
        data: bytes,
        readout_id: int = 0,
        timestamp: int = 0,
        decoding_order: int = 0,
        layer: int = 0,
        fpga_timestamp: int = 0,
    ) -> None:
        super().__init__(data, readout_id, timestamp, decoding_order)
        self.layer = layer
        self.fpga_timestamp = fpga_timestamp

    @classmethod
    def first_bytes(cls, chips: int | None) -> npt.NDArray[np.bool_]:
        """Which bytes of a frame can be a hit's first: `chip_id << 3 | PAYLOAD`."""
        allowed = np.zeros(256, np.bool_)
        allowed[[chip << 3 | cls.PAYLOAD for chip in range(MAX_CHIPS if chips is None else chips)]] = True
        return allowed

    def _content(self) -> tuple[bytes, int, int]:
        return self._data, self.layer, self.fpga_timestamp

    def __eq__(self, other: object) -> bool:
        if isinstance(other, type(self)):
            return self._content() == other._content()
        return False if isinstance(other, AbstractAstroPixHit) else NotImplemented

    def __hash__(self) -> int:
        return hash(self._content())


def in_order(wire: npt.NDArray[np.uint8]) -> npt.NDArray[np.uint8]:
    """Wire bytes of hits, shape (n, bytes), as they stand in layer frames: the bits of each byte turned round."""
    return np.frombuffer(reverse_bit_order(wire.tobytes()), np.uint8).reshape(wire.shape)


class AstroPix4LayerHit(AstroPix4Content, AbstractLayerHit):
    """One hit of AstroPix 4 out of a layer frame: the same 8 bytes as `AstroPix4Hit`, their bits already in order.

    `ts_dec1`, `ts_dec2`: leading and trailing edge in counts of **25 ns**: the Gray-coded counter, and the clock phase
    `ts_neg` below its last bit; 18 bits, then 2^18 is added to the second where it is smaller than the first.
    `tot_us = (ts_dec2 - ts_dec1) / 40`, 0…6553.575 µs.
    """

    CLOCK_CYCLES_PER_US = 40
    CLOCK_ROLLOVER = 1 << 18
    DTYPE = LAYER_HIT_DTYPE

    @classmethod
    def derive(cls, table: HitTable, composites: Sequence[Column]) -> None:
        """Edges in counts of 25 ns and time over threshold in µs (facts of the firmware's data)."""
        one = np.uint32(1)
        leading, trailing = composites
        leading = leading << one | table["ts_neg1"]
        trailing = trailing << one | table["ts_neg2"]
        trailing += (trailing < leading).astype(np.uint32) * np.uint32(cls.CLOCK_ROLLOVER)
        table["ts_dec1"] = leading
        table["ts_dec2"] = trailing
        table["tot_us"] = (trailing - leading) / cls.CLOCK_CYCLES_PER_US

    @classmethod
    def encode(
        cls,
        chip_id: npt.ArrayLike,
        row: npt.ArrayLike,
        column: npt.ArrayLike,
        ts_dec1: npt.ArrayLike,
        ts_dec2: npt.ArrayLike,
        *,
        ts_tdc1: npt.ArrayLike = 0,
        ts_tdc2: npt.ArrayLike = 0,
    ) -> npt.NDArray[np.uint8]:
        """The 8 bytes of hits as they stand in frames, shape (n, 8): the inverse of the decoder.

        Arrays and scalars are broadcast against each other; each is cut to the bits of its field (`ts_dec*`: modulo
        2^18, the lowest bit becomes `ts_neg*`).
        """
        leading, trailing = np.asarray(ts_dec1), np.asarray(ts_dec2)
        wire = AstroPix4Hit.encode(
            chip_id, row, column, leading >> 1, trailing >> 1,
            ts_neg1=leading & 1, ts_tdc1=ts_tdc1, ts_neg2=trailing & 1, ts_tdc2=ts_tdc2,
        )  # fmt: skip
        return in_order(wire)
