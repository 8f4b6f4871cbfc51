"""Hits of many readouts, found together and handed out readout by readout.

A loop over readouts that asks each for its hits would pay for a decoder and its whole-array steps with every few hits.
So the readouts of a file share the work. Handed out are only hits that do not depend on who decodes them: of readouts
that cut no hit at either end, and in which every byte is idle, padding or of a hit. All others decode for themselves.
"""

from collections.abc import Callable
from functools import cached_property

import numpy as np

from protocol.block import ReadoutBlock
from protocol.hit import AbstractAstroPixHit
from protocol.ledger import ByteClass
from protocol.readout_decoder import ReadoutDecoder


class SharedHits:
    """The hits of the readouts in `block`, found when they are first asked for; `make_decoder`: one for them all."""

    def __init__(self, block: ReadoutBlock, make_decoder: Callable[[], ReadoutDecoder]) -> None:
        self._block = block
        self._make_decoder = make_decoder

    def of(self, index: int) -> list[AbstractAstroPixHit] | None:
        """New objects for the hits of readout `index`; None where that has to be decoded by itself."""
        return self._found.hits(index)

    @cached_property
    def _found(self) -> "_Found":
        return _Found(self._block, self._make_decoder())


class _Found:
    def __init__(self, block: ReadoutBlock, decoder: ReadoutDecoder) -> None:
        bounds = block.offsets
        decoded = decoder.examine(block, classify=True)
        # Of the hits that begin before a bound, the last one may go on beyond, or be settled by what comes there.
        before = decoded.start.searchsorted(bounds) - 1
        # Padding may stand within a hit, so its length does not say whether all of its bytes are there.
        until = np.append(0, (decoded.classes == ByteClass.HIT).cumsum())
        whole = np.append(until[decoded.end] - until[decoded.start] == decoder.hit_bytes, True)
        end = np.append(decoded.end, 0)  # taken for `before` = -1: no hit
        cut = (end[before] > bounds) | ((end[before] == bounds) & ~whole[before])
        odd = (decoded.classes > ByteClass.HIT).nonzero()[0].searchsorted(bounds)
        plain = ~cut[:-1] & ~cut[1:] & (odd[1:] == odd[:-1])
        hit_class = decoder.hit_class
        self._plain: list[bool] = plain.tolist()
        self._first: list[int] = (before + 1).tolist()
        self._hit_class = hit_class
        self._table = decoded.table
        self._data = hit_class.data_of(decoded.words)
        self._size = hit_class.LAYOUT.size_bytes

    def hits(self, index: int) -> list[AbstractAstroPixHit] | None:
        if not self._plain[index]:
            return None
        first, stop, size = self._first[index], self._first[index + 1], self._size
        return list(self._hit_class.from_rows(self._table[first:stop].tolist(), self._data[first * size : stop * size]))
