"""Padding inside readouts: aligned groups of eight 0xFF (docs/formats.md, "Stream").

The firmware sends such a group wherever its FIFO runs dry during a read, also in the middle of a hit. It can be nothing
else: of eight bytes of the chip at least one is idle or a hit's first byte, neither of which is 0xFF.
"""

from dataclasses import dataclass
from functools import cached_property
from itertools import pairwise

import numpy as np
import numpy.typing as npt

from protocol.block import ReadoutBlock
from protocol.ledger import ByteClass
from protocol.scan import Flags, Positions
from protocol.stream_bytes import GROUP_BYTES, PADDING_BYTE

_GROUP = bytes((PADDING_BYTE,)) * GROUP_BYTES
_HALF_GROUP_WORD = np.uint32(0xFFFFFFFF)
_GROUP_WORD = np.uint64(int.from_bytes(_GROUP, "little"))

_SHORT_BYTES = 4096
"""Up to so many, searching for a group byte by byte is faster than in whole-array steps."""


def has_groups(block: ReadoutBlock) -> bool:
    """Whether `block` may hold groups of padding: False is certain, and found quickly."""
    data = block.data
    # Eight bytes, wherever they begin, contain an aligned word of four; looking at these is ten times faster.
    if len(data) > _SHORT_BYTES and not (np.frombuffer(data, "<u4", len(data) // 4) == _HALF_GROUP_WORD).any():
        return False
    return _GROUP in data


@dataclass(frozen=True)
class PaddingGroups:
    """The groups of padding in a block of readouts.

    `start`: where they begin in the block's data, ascending. `removed`: the same readouts without them.
    """

    start: Positions
    removed: ReadoutBlock
    _block_bytes: int

    @classmethod
    def of(cls, block: ReadoutBlock) -> "PaddingGroups":
        """All groups of a block; each readout's groups of 8 bytes are counted from its own first byte."""
        data, offsets = block.data, block.offsets
        starts: list[Positions] = []
        pieces: list[bytes] = []
        for first, stop in pairwise(_stretches(offsets)):
            words = np.frombuffer(data, "<u8", (stop - first) // GROUP_BYTES, first)
            is_data = words != _GROUP_WORD
            starts.append(first + GROUP_BYTES * (~is_data).nonzero()[0])
            pieces += words[is_data].tobytes(), data[first + words.nbytes : stop]
        start = np.concatenate(starts) if starts else offsets[:0]
        left = offsets - GROUP_BYTES * start.searchsorted(offsets)
        return cls(start, ReadoutBlock(b"".join(pieces), block.readout_id, block.timestamp, left), len(data))

    @property
    def size_bytes(self) -> int:
        """Bytes in all groups."""
        return GROUP_BYTES * len(self.start)

    def sent_at(self, positions: Positions) -> Positions:
        """Where the bytes at `positions` of `removed.data` are in the block's data; negative ones stay as they are."""
        return positions + GROUP_BYTES * self._gaps.searchsorted(positions, side="right")

    def classes(self, of_removed: npt.NDArray[np.uint8]) -> npt.NDArray[np.uint8]:
        """`ByteClass` of each byte of the block, from those of `removed`."""
        classes = np.full(self._block_bytes, ByteClass.PADDING, np.uint8)
        classes[_kept(self.start, self._block_bytes)] = of_removed
        return classes

    @cached_property
    def _gaps(self) -> Positions:
        """Positions in `removed.data` before which a group was."""
        return self.start - GROUP_BYTES * np.arange(len(self.start))


def _stretches(offsets: Positions) -> list[int]:
    """Where stretches of readouts begin that are all multiples of 8 bytes long but for the last; and the end of all.

    Within a stretch, all readouts have their groups at the same places modulo 8.
    """
    odd = (offsets[1:] - offsets[:-1]) % GROUP_BYTES != 0
    bounds: list[int] = np.unique(np.concatenate((offsets[:1], offsets[1:][odd], offsets[-1:]))).tolist()
    return bounds


def _kept(start: Positions, size_bytes: int) -> Flags:
    """Which of `size_bytes` bytes are not in the groups that begin at `start`."""
    kept = np.ones(size_bytes, np.bool_)
    kept[(start[:, None] + np.arange(GROUP_BYTES)).ravel()] = False
    return kept
