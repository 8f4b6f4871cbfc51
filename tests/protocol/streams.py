"""Hypothesis strategies: runs as a board may deliver them, and runs of any bytes at all."""

import itertools
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TypeVar

from hypothesis import strategies as st

from protocol.readout import AstroPix4Readout
from protocol.readout_description import ReadoutDescription
from tests.protocol.firmware_reads import readouts_of, whole_words
from tests.protocol.sequential import IDLE, PADDING, FoundHit

T = TypeVar("T")
Draw = st.DrawFn

FIRST_READOUT = 5
CHIPS = st.sampled_from([None, 1, 2, 4, 31])


def first_byte(chip_id: int) -> int:
    """The wire byte that a hit of the chip begins with."""
    return 0xE0 | int(f"{chip_id:05b}"[::-1], 2)


@dataclass(frozen=True)
class Run:
    """Readouts of `readout_bytes` as the board delivered them, padding included, and the hits that must come out."""

    chips: int | None
    readout_bytes: int
    raw: list[bytes]
    hits: list[FoundHit]
    idle: int

    def description(self) -> ReadoutDescription:
        """What the header of their file says."""
        return ReadoutDescription(chips=self.chips, full_readout_bytes=self.readout_bytes)

    def readouts(self) -> list[AstroPix4Readout]:
        """The readouts, numbered from `FIRST_READOUT`; time stamp = 10 × id."""
        return numbered(self.raw, self.description())


def numbered(chunks: Sequence[bytes], description: ReadoutDescription | None = None) -> list[AstroPix4Readout]:
    """Readouts of `chunks`, numbered from `FIRST_READOUT`; time stamp = 10 × id."""
    readouts = [AstroPix4Readout(data, number, 10 * number) for number, data in enumerate(chunks, FIRST_READOUT)]
    for readout in readouts:
        readout.description = description or readout.description
    return readouts


def hits(chips: int | None) -> st.SearchStrategy[bytes]:
    """Wire bytes of any hit; rich in bytes that look like something else."""
    tricky = st.sampled_from([IDLE, PADDING, 0xE0, 0xF0, 0xE8, 0x00])
    rest = st.lists(st.one_of(st.integers(0, 255), tricky), min_size=7, max_size=7).map(bytes)
    first = st.integers(0, (chips or 31) - 1).map(lambda chip: bytes([first_byte(chip)]))
    return st.builds(bytes.__add__, first, rest)


@st.composite
def runs(draw: Draw) -> Run:
    """Any hits, any idles between, in readouts as the firmware makes them: padding is wherever its FIFO ran dry."""
    chips = draw(CHIPS)
    idles = st.integers(1, 4).map(lambda number: bytes([IDLE]) * number)
    pieces = draw(st.lists(st.one_of(hits(chips), hits(chips), idles), max_size=24))
    stream = whole_words(b"".join(pieces))
    readout_bytes = draw(st.sampled_from([8, 16, 24, 40]))
    raw = readouts_of(stream, draw(st.lists(st.booleans(), max_size=40)), readout_bytes)
    raw += [bytes([PADDING]) * readout_bytes] * draw(st.integers(0, 1))
    idle = sum(len(piece) for piece in pieces if piece[0] == IDLE) + len(stream) - len(b"".join(pieces))
    return Run(chips, readout_bytes, raw, _expected(pieces, raw), idle)


def _expected(pieces: list[bytes], raw: list[bytes]) -> list[FoundHit]:
    """A hit belongs to the readout of its last byte, or if that went with the padding, to the next that has bytes."""
    group = bytes([PADDING]) * 8
    words = [[data[at : at + 8] for at in range(0, len(data), 8) if data[at : at + 8] != group] for data in raw]
    filled = [number for number, of_readout in enumerate(words) if of_readout]
    owner = [number for number, of_readout in enumerate(words) for _ in range(8 * len(of_readout))]
    stream = b"".join(b"".join(of_readout) for of_readout in words)
    found: list[FoundHit] = []
    end = 0
    for piece in pieces:
        end += len(piece)
        if piece[0] == IDLE:
            continue
        belongs_to = owner[end - 1]
        last_of_readout = end == len(stream) or owner[end] != belongs_to
        if last_of_readout and piece[-1] == PADDING:
            belongs_to = next((number for number in filled if number > belongs_to), belongs_to)
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
                [*[PADDING] * 20, IDLE, 0xE0, 0x01],
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
