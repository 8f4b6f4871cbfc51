"""Readouts in hexadecimal, each byte by what the decoder took it for.

Decodes readout by readout, so that what a readout left open shows as such, and the next one says what became of it.
"""

import shutil
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import groupby
from typing import Any

import numpy as np

from apx.terminal import moment, styled
from protocol.block import ReadoutBlock
from protocol.ledger import ByteClass
from protocol.readout_decoder import ReadoutDecoder
from protocol.text import counted

IDLE, PADDING, HIT, OTHER_HIT, CARRIED, ORPHAN, DROPPED = "ipHhcod"
"""A letter for what a byte was taken for; hits take turns in two of them."""

_LETTERS = {
    ByteClass.IDLE: IDLE,
    ByteClass.PADDING: PADDING,
    ByteClass.HIT: HIT,
    ByteClass.CARRIED: CARRIED,
    ByteClass.ORPHAN: ORPHAN,
    ByteClass.DROPPED: DROPPED,
}
_LETTER_OF_CLASS = np.array([_LETTERS[each] for each in ByteClass], dtype="U1")
_MEANINGS = {
    IDLE: "idle",
    PADDING: "padding",
    HIT: "hit",
    OTHER_HIT: "next hit",
    CARRIED: "cut hit, the next readout decides",
    ORPHAN: "orphan",
    DROPPED: "dropped",
}
_STYLES = {
    IDLE: "dim",
    PADDING: "blue",
    HIT: "black on green",
    OTHER_HIT: "black on cyan",
    CARRIED: "black on yellow",
    ORPHAN: "bold white on red",
    DROPPED: "white on magenta",
}
_WIDE, _NARROW = 32, 16
_INDENT = "  "


@dataclass(frozen=True)
class ExaminedReadout:
    """A readout's bytes and, for each, the letter of what it was taken for.

    `carried_before`: bytes of a begun hit that earlier readouts left open; `carried_fate`: what this one made of them.
    """

    readout_id: int
    timestamp_ns: int
    data: bytes
    letters: str
    hits: int
    carried_before: int
    carried_fate: str

    def to_dict(self) -> dict[str, Any]:
        """As JSON can carry it."""
        return {
            "readout_id": self.readout_id,
            "timestamp": self.timestamp_ns,
            "hits": self.hits,
            "data": self.data.hex(),
            "classes": self.letters,
            "carried_before": self.carried_before,
            "carried_fate": self.carried_fate,
        }


class HexView:
    """Lines of text for the readouts that go through `decoder`; without colour, letters stand below the bytes."""

    def __init__(self, decoder: ReadoutDecoder, *, colour: bool) -> None:
        self._decoder = decoder
        self._colour = colour
        columns = shutil.get_terminal_size((120, 24)).columns if sys.stdout.isatty() else 120
        self._per_line = _WIDE if columns >= len(_INDENT) + 6 + 3 * _WIDE else _NARROW

    def examine(self, block: ReadoutBlock) -> ExaminedReadout:
        """Decode the next readout; `block` holds it alone."""
        decoder = self._decoder
        before, ledger = len(decoder.carried), decoder.ledger
        rejoined_hits, restored_hits = ledger.rejoined_hits, ledger.restored_hits
        restored_bytes = ledger.restored_bytes
        lost_before = ledger.dropped + ledger.orphan
        decoded = decoder.examine(block, classify=True)
        lost_here = np.count_nonzero((decoded.classes == ByteClass.DROPPED) | (decoded.classes == ByteClass.ORPHAN))
        # Of what was carried, the rest; only layer frames carry what can become orphans.
        lost = ledger.dropped + ledger.orphan - lost_before - int(lost_here)
        rejoined, restored = ledger.rejoined_hits > rejoined_hits, ledger.restored_hits > restored_hits
        fate = ", ".join(self._fates(before, lost, rejoined, restored)) if before else ""
        # what was already there of the hit whose rest opens this readout
        begun = before - lost + ledger.restored_bytes - restored_bytes if rejoined else 0
        return ExaminedReadout(
            int(block.readout_id[0]),
            int(block.timestamp[0]),
            block.data,
            self._alternating(decoded.classes, begun),
            len(decoded.table),
            before,
            fate,
        )

    @staticmethod
    def _fates(before: int, lost: int, rejoined: bool, restored: bool) -> Iterator[str]:
        if lost:
            yield f"{lost} dropped"
        if lost < before:
            kept = "a hit with 0xFF restored" if restored else "still open"
            if rejoined:
                kept = "completed here, 0xFF restored" if restored else "completed here"
            yield f"{before - lost} {kept}" if lost else kept

    def _alternating(self, classes: np.ndarray[Any, np.dtype[np.uint8]], begun: int) -> str:
        """Letters of the classes, hits in turn; `begun`: bytes of the first hit that came before."""
        letters = _LETTER_OF_CLASS[classes]
        in_hit = np.flatnonzero(classes == ByteClass.HIT)
        # within one readout all hits are whole, but for the first, whose beginning may have been carried
        number = (np.arange(len(in_hit)) + begun) // self._decoder.hit_bytes
        letters[in_hit[number % 2 == 1]] = OTHER_HIT
        return "".join(letters.tolist())

    def legend(self) -> str:
        """What letters and colours mean."""
        if self._colour:
            return "  ".join(styled(f" {meaning} ", _STYLES[letter], True) for letter, meaning in _MEANINGS.items())
        return ", ".join(f"{letter} {meaning}" for letter, meaning in _MEANINGS.items())

    def lines(self, readout: ExaminedReadout) -> Iterator[str]:
        """A heading, what became of carried bytes, and the bytes."""
        when = f"  {moment(readout.timestamp_ns)}" if readout.timestamp_ns else ""
        heading = (
            f"readout {readout.readout_id}{when}  {counted(len(readout.data), 'byte')}  {counted(readout.hits, 'hit')}"
        )
        yield styled(heading, "bold", self._colour)
        if readout.carried_before:
            yield f"{_INDENT}{counted(readout.carried_before, 'byte')} carried from before: {readout.carried_fate}"
        for start in range(0, len(readout.data), self._per_line):
            data = readout.data[start : start + self._per_line]
            letters = readout.letters[start : start + self._per_line]
            yield f"{_INDENT}{start:04x}  {self._hex(data, letters)}"
            if not self._colour:
                yield f"{_INDENT}{'':6}{'  '.join(letters)}"

    def _hex(self, data: bytes, letters: str) -> str:
        if not self._colour:
            return data.hex(" ")
        pieces, start = [], 0
        for letter, group in groupby(letters):
            stop = start + len(list(group))
            pieces.append(styled(data[start:stop].hex(" "), _STYLES[letter], True))
            start = stop
        return " ".join(pieces)

    def last_line(self) -> str:
        """What becomes of bytes still carried at the end of the file."""
        carried = counted(len(self._decoder.carried), "byte")
        fate = "a hit with 0xFF restored" if len(self._decoder.flush()) else "dropped, the rest is missing"
        return f"end: {carried} carried: {fate}"
