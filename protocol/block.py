"""Readouts in columns: what files are read into and the decoder works on."""

from collections.abc import Iterable
from dataclasses import dataclass
from itertools import accumulate
from typing import Protocol, Self

import numpy as np
import numpy.typing as npt


class ReadoutLike(Protocol):
    """What a readout must offer to be put into a block."""

    readout_id: int
    timestamp: int

    def data(self) -> bytes:
        """The readout's bytes, trailing padding removed."""


@dataclass(frozen=True)
class ReadoutBlock:
    """Any number of readouts in order.

    `data`: their bytes, one after the other; readout `i` is `data[offsets[i]:offsets[i + 1]]`.
    `readout_id`: u4 (n,). `timestamp`: u8 (n,), ns since the epoch. `offsets`: i8 (n + 1,), from 0 to `len(data)`.
    """

    data: bytes
    readout_id: npt.NDArray[np.uint32]
    timestamp: npt.NDArray[np.uint64]
    offsets: npt.NDArray[np.int64]

    @classmethod
    def from_columns(cls, chunks: list[bytes], readout_ids: list[int], timestamps: list[int]) -> Self:
        """A block of readouts given one by one, in three lists of equal length."""
        offsets = np.fromiter(accumulate(map(len, chunks), initial=0), np.int64, len(chunks) + 1)
        return cls(b"".join(chunks), np.array(readout_ids, np.uint32), np.array(timestamps, np.uint64), offsets)

    @classmethod
    def from_readouts(cls, readouts: Iterable[ReadoutLike]) -> Self:
        """A block of readout objects."""
        columns = [(readout.data(), readout.readout_id, readout.timestamp) for readout in readouts]
        chunks, readout_ids, timestamps = (
            (list(column) for column in zip(*columns, strict=True)) if columns else ((),) * 3
        )
        return cls.from_columns(list(chunks), list(readout_ids), list(timestamps))

    @classmethod
    def empty(cls) -> Self:
        """A block of no readouts."""
        return cls.from_columns([], [], [])

    def __len__(self) -> int:
        return len(self.readout_id)

    def __getitem__(self, part: slice) -> Self:
        """The readouts `part.start` to `part.stop` as a block (no step)."""
        start, stop, step = part.indices(len(self))
        if step != 1:
            raise ValueError("a block can only be cut into runs of consecutive readouts")
        stop = max(start, stop)
        first, last = int(self.offsets[start]), int(self.offsets[stop])
        return type(self)(
            self.data[first:last],
            self.readout_id[start:stop],
            self.timestamp[start:stop],
            self.offsets[start : stop + 1] - first,
        )

    def cut(self, size_bytes: int) -> Iterable[Self]:
        """The same readouts in blocks of about `size_bytes` of data, at least one readout each."""
        if len(self.data) <= size_bytes and len(self):
            yield self
            return
        start = 0
        while start < len(self):
            limit = int(self.offsets[start]) + size_bytes
            stop = max(start + 1, int(np.searchsorted(self.offsets, limit, side="right")) - 1)
            yield self if start == 0 and stop >= len(self) else self[start:stop]
            start = stop
