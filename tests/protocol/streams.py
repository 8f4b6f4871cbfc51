"""Hypothesis strategies: runs as a board may deliver them, and runs of any bytes at all."""

import itertools
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TypeVar

from hypothesis import strategies as st

from protocol.readout import AstroPix4Readout
from tests.protocol.sequential import IDLE, PADDING, FoundHit, starts_astropix4_hit

T = TypeVar("T")
Draw = st.DrawFn

FIRST_READOUT = 5
CHIPS = st.sampled_from([None, 1, 2, 4, 31])


def first_byte(chip_id: int) -> int:
    """The wire byte that a hit of the chip begins with."""
    return 0xE0 | int(f"{chip_id:05b}"[::-1], 2)


@dataclass(frozen=True)
class Run:
    """Readouts as the board delivered them, padding included, and the hits that must come out."""

    chips: int | None
    raw: list[bytes]
    hits: list[FoundHit]
    idle: int

    def readouts(self) -> list[AstroPix4Readout]:
        """The readouts, numbered from `FIRST_READOUT`; time stamp = 10 × id."""
        return numbered(self.raw)


def numbered(chunks: Sequence[bytes]) -> list[AstroPix4Readout]:
    """Readouts of `chunks`, numbered from `FIRST_READOUT`; time stamp = 10 × id."""
    return [AstroPix4Readout(data, number, 10 * number) for number, data in enumerate(chunks, FIRST_READOUT)]


def hits(chips: int | None) -> st.SearchStrategy[bytes]:
    """Wire bytes of any hit; rich in bytes that look like something else."""
    tricky = st.sampled_from([IDLE, PADDING, 0xE0, 0xF0, 0xE8, 0x00])
    rest = st.lists(st.one_of(st.integers(0, 255), tricky), min_size=7, max_size=7).map(bytes)
    first = st.integers(0, (chips or 31) - 1).map(lambda chip: bytes([first_byte(chip)]))
    return st.builds(bytes.__add__, first, rest)


@st.composite
def runs(draw: Draw, chain: st.SearchStrategy[int | None] = CHIPS) -> Run:
    """Any hits, cut and interleaved with idles and padding in any way that the facts allow."""
    chips = draw(chain)
    fill = st.one_of(
        st.integers(1, 4).map(lambda number: bytes([IDLE]) * number),
        st.integers(1, 4).map(lambda number: bytes([PADDING]) * number),
    )
    pieces = draw(st.lists(st.one_of(hits(chips), hits(chips), fill), max_size=24))
    cuts = draw(st.lists(st.sampled_from(_allowed_cuts(pieces, chips)), unique=True, max_size=10).map(sorted))
    stream = b"".join(pieces)
    raw: list[bytes] = []
    owner: list[int] = []  # of each byte of the stream, the readout that brings it
    for start, stop in itertools.pairwise([0, *cuts, len(stream)]):
        owner += [len(raw)] * (stop - start)
        raw.append(stream[start:stop] + bytes([PADDING]) * draw(st.integers(0, 3)))
        raw += [bytes([PADDING]) * 4] * draw(st.sampled_from([0, 0, 0, 1]))
    idle = sum(len(piece) for piece in pieces if piece[0] == IDLE)
    return Run(chips, raw, _expected(pieces, raw, owner), idle)


def _allowed_cuts(pieces: list[bytes], chips: int | None) -> list[int]:
    """Where a readout may end so that what was sent can still be told from the bytes.

    Not within a hit before what looks like idle or a first byte, nor after 0xFF, which goes with the padding. After a
    hit that ends in 0xFF, not before padding, which would be taken for the rest of the hit.
    """
    starts_hit = starts_astropix4_hit(chips)
    allowed = [0]
    position = 0
    open_ended = False  # the last thing before the padding here, if any, is a hit that ends in 0xFF
    for piece in pieces:
        padding = piece[0] == PADDING
        hit = starts_hit(piece[0])
        for offset in range(len(piece)):
            if hit and offset:
                fine = piece[offset - 1] != PADDING and piece[offset] != IDLE and not starts_hit(piece[offset])
            else:
                fine = not (padding and open_ended)
            if fine:
                allowed.append(position + offset)
        open_ended = piece[-1] == PADDING if hit else padding and open_ended
        position += len(piece)
    return sorted({*allowed, position})


def _expected(pieces: list[bytes], raw: list[bytes], owner: list[int]) -> list[FoundHit]:
    """A hit belongs to the readout of its last byte, or if that went with the padding, to the next that has bytes."""
    filled = [index for index, data in enumerate(raw) if data.rstrip(bytes([PADDING]))]
    found: list[FoundHit] = []
    end = 0
    for piece in pieces:
        end += len(piece)
        if piece[0] in (IDLE, PADDING):
            continue
        of_last_byte = owner[end - 1]
        # What the readout holds after this hit; nothing but padding takes the hit's own last bytes of 0xFF along.
        after = b"".join(pieces)[end : end + owner[end:].count(of_last_byte)]
        belongs_to = of_last_byte
        if piece[-1] == PADDING and not after.strip(bytes([PADDING])):
            belongs_to = next((index for index in filled if index > of_last_byte), filled[-1])
        order = sum(hit.readout_id == FIRST_READOUT + belongs_to for hit in found)
        found.append(FoundHit(FIRST_READOUT + belongs_to, order, piece))
    return found


@st.composite
def any_runs(draw: Draw) -> tuple[int | None, list[bytes]]:
    """Number of chips, and readouts of any bytes; mostly of few different ones, so that things happen."""
    alphabet = draw(
        st.sampled_from(
            [
                list(range(256)),
                [IDLE, PADDING, 0xE0, 0xF0, 0x01, 0x02],
                [0xE0, 0x41, 0x42],
                [IDLE, 0xE0, 0x55],
                [0xE0, 0xF8, PADDING],
            ]
        )
    )
    length = st.sampled_from([0, 1, 3, 7, 8, 9, 16, 40])
    readout = length.flatmap(lambda size: st.lists(st.sampled_from(alphabet), min_size=size, max_size=size).map(bytes))
    return draw(CHIPS), draw(st.lists(readout, max_size=20))


def batches(data: st.DataObject, items: Sequence[T]) -> list[Sequence[T]]:
    """`items` in order, cut into any number of batches; some are empty."""
    cuts = sorted(data.draw(st.lists(st.integers(0, len(items)), max_size=6)))
    return [items[start:stop] for start, stop in itertools.pairwise([0, *cuts, len(items)])]
