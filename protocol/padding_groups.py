"""Padding inside readouts: aligned groups of eight 0xFF (docs/formats.md, "Stream").

The firmware sends such a group wherever its FIFO runs dry during a read, also in the middle of a hit. It can be nothing
else: of eight bytes of the chip at least one is idle or a hit's first byte, neither of which is 0xFF.
"""

from dataclasses import dataclass
from functools import cached_property

import numpy as np
import numpy.typing as npt

from protocol.block import ReadoutBlock
from protocol.ledger import ByteClass
from protocol.scan import Flags, Positions
from protocol.stream_bytes import GROUP_BYTES, PADDING_BYTE

_GROUP = bytes((PADDING_BYTE,)) * GROUP_BYTES
_GROUP_WORD = np.uint64(int.from_bytes(_GROUP, "little"))


def has_groups(block: ReadoutBlock) -> bool:
    """Whether `block` may hold groups of padding: False is certain, and found out quickly."""
    return _GROUP in block.data


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
        offsets, size_bytes = block.offsets, len(block.data)
        if np.bitwise_or.reduce(offsets[:-1]) % GROUP_BYTES:
            start = _groups_at(block.data, _group_positions(offsets))
            kept = _kept(start, size_bytes)
            data = np.frombuffer(block.data, np.uint8)[kept].tobytes()
        else:
            words = np.frombuffer(block.data, "<u8", size_bytes // GROUP_BYTES)
            is_data = words != _GROUP_WORD
            start = GROUP_BYTES * (~is_data).nonzero()[0]
            data = words[is_data].tobytes() + block.data[GROUP_BYTES * len(words) :]
        removed = ReadoutBlock(
            data, block.readout_id, block.timestamp, offsets - GROUP_BYTES * start.searchsorted(offsets)
        )
        return cls(start, removed, size_bytes)

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


def _group_positions(offsets: Positions) -> Positions:
    """Where the whole groups of 8 bytes of each readout begin."""
    groups = (offsets[1:] - offsets[:-1]) // GROUP_BYTES
    before = groups.cumsum() - groups
    positions: Positions = np.arange(int(groups.sum())) * GROUP_BYTES
    positions += (offsets[:-1] - GROUP_BYTES * before).repeat(groups)
    return positions


def _groups_at(data: bytes, positions: Positions) -> Positions:
    """Those of `positions` where a group of padding begins."""
    if not len(positions):
        return positions
    every_offset = np.ndarray((len(data) - GROUP_BYTES + 1,), "<u8", data, 0, (1,))
    of_padding: Flags = every_offset.take(positions) == _GROUP_WORD
    return positions[of_padding]


def _kept(start: Positions, size_bytes: int) -> Flags:
    """Which of `size_bytes` bytes are not in the groups that begin at `start`."""
    kept = np.ones(size_bytes, np.bool_)
    kept[(start[:, None] + np.arange(GROUP_BYTES)).ravel()] = False
    return kept
