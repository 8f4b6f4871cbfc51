"""A model of how the GECCO firmware fills readouts (docs/formats.md, "Stream"), apart from the emulated board.

The bytes of the chips pass a FIFO in words of 8. For each group of 8 bytes of a readout, the firmware sends a word if
there is one, and padding otherwise. Not modelled: losses on the link, and the partial word that a stop loses.
"""

from collections.abc import Iterable

import numpy as np
import numpy.typing as npt

from protocol.stream_bytes import GROUP_BYTES, IDLE_BYTE, PADDING_BYTE

PADDING_GROUP = bytes((PADDING_BYTE,)) * GROUP_BYTES


def whole_words(stream: bytes) -> bytes:
    """`stream` with idles at its end, so that it fills its last word."""
    return stream + bytes((IDLE_BYTE,)) * (-len(stream) % GROUP_BYTES)


def readouts_of(stream: bytes, filled: Iterable[bool], readout_bytes: int) -> list[bytes]:
    """Readouts of `readout_bytes` each, padding at their end included, until all of `stream` is read.

    `filled`: for each group, whether the FIFO has a word; it always has one after these.
    """
    words = [stream[start : start + GROUP_BYTES] for start in range(0, len(stream), GROUP_BYTES)]
    groups: list[bytes] = []
    for is_filled in filled:
        if not words:
            break
        groups.append(words.pop(0) if is_filled else PADDING_GROUP)
    groups += words
    per_readout = readout_bytes // GROUP_BYTES
    groups += [PADDING_GROUP] * (-len(groups) % per_readout)
    return [b"".join(groups[start : start + per_readout]) for start in range(0, len(groups), per_readout)]


def busy_readouts(stream: bytes, random: np.random.Generator, readout_bytes: int) -> list[bytes]:
    """Readouts of a busy chip: about a quarter are full, the others have gaps, rare or frequent, in random places."""
    words = np.frombuffer(stream, "<u8")
    per_readout = readout_bytes // GROUP_BYTES
    readouts: list[npt.NDArray[np.uint64]] = []
    taken = 0
    while taken < len(words):
        share = random.choice([1.0, 0.99, 0.9, 0.5, 0.1], p=[0.23, 0.3, 0.27, 0.1, 0.1])
        filled = random.random(per_readout) < share
        filled[filled.cumsum() > len(words) - taken] = False
        readout = np.full(per_readout, ~np.uint64(0), "<u8")
        count = int(filled.sum())
        readout[filled] = words[taken : taken + count]
        taken += count
        readouts.append(readout)
    return [readout.tobytes() for readout in readouts]
