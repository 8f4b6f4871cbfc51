"""Where the bytes of a stretch of the stream went, once its hits are found: words of the hits, counts, classes."""

from typing import Any

import numpy as np
import numpy.typing as npt

from protocol.layout import MAX_HIT_BYTES, WORD_BYTES, Words, word_count
from protocol.ledger import ByteClass, Ledger
from protocol.scan import Positions, Spans, ranges
from protocol.stream_bytes import IDLE_BYTE, PADDING_BYTE

Stream = npt.NDArray[np.uint8]

_FEW_BYTES = 4096
"""Up to so many, counting them as plain bytes is faster than as an array."""

_OUTSIDE = bytes(
    {IDLE_BYTE: ByteClass.IDLE, PADDING_BYTE: ByteClass.PADDING}.get(byte, ByteClass.ORPHAN) for byte in range(256)
)
"""What each byte is outside of hits."""


_AFTER = bytes(MAX_HIT_BYTES)


def padded_stream(*pieces: bytes) -> Stream:
    """The bytes of `pieces` and zeros after them, so that a hit's words can be taken at each of their positions."""
    return np.frombuffer(b"".join((*pieces, _AFTER)), np.uint8)


def words_at(padded: Stream, size: int, start: Positions) -> Words:
    """The words of the `size` bytes from each `start` on; `padded` has `MAX_HIT_BYTES` more after the last start."""
    every_offset = np.ndarray((len(padded) - WORD_BYTES + 1,), "<u8", padded, 0, (1,))
    if size > WORD_BYTES:
        start = start[:, None] + np.arange(0, word_count(size) * WORD_BYTES, WORD_BYTES)
    words: Words = every_offset.take(start)
    if used := size % WORD_BYTES:
        last = words[:, -1] if size > WORD_BYTES else words
        last &= np.uint64((1 << 8 * used) - 1)
    return words


def words_of(padded: Stream, size: int, spans: Spans) -> Words:
    """The words of spans of at most `size` bytes; what is missing of restored and dropped ones is 0xFF."""
    words = words_at(padded, size, spans.start)
    if not spans.intact:
        cut = (spans.restored | spans.dropped).nonzero()[0]
        start, end = spans.start[cut], spans.end[cut]
        if size > WORD_BYTES:
            for row, first, gap, last in zip(cut, start, spans.gap[cut], end, strict=True):
                whole = padded[first:gap].tobytes() + bytes((PADDING_BYTE,)) * int(size - last + first)
                whole += padded[gap:last].tobytes()
                words[row] = np.frombuffer(whole.ljust(words.shape[1] * WORD_BYTES, b"\0"), "<u8")
            return words
        before = (8 * (spans.gap[cut] - start)).astype(np.uint64)
        missing = (8 * (size - end + start)).astype(np.uint64)
        one = np.uint64(1)
        begun = words[cut] & ((one << before) - one)
        words[cut] = begun | ((one << missing) - one) << before | (words[cut] ^ begun) << missing
        if size < WORD_BYTES:
            words &= np.uint64((1 << 8 * size) - 1)
    return words


def count_undisturbed(ledger: Ledger, size: int, stream: bytes, words: Words, chip_ids: list[int]) -> None:
    """Count a stretch of whole hits of `size` bytes, given by their words, and what is between them."""
    inside, within = len(words) * size, words.tobytes()
    idle = stream.count(IDLE_BYTE) - within.count(IDLE_BYTE)
    padding = stream.count(PADDING_BYTE) - within.count(PADDING_BYTE)
    ledger.bytes_read += len(stream)
    ledger.hits += len(words)
    ledger.hit += inside
    ledger.idle += idle
    ledger.padding += padding
    ledger.orphan += len(stream) - inside - idle - padding
    for chip in chip_ids:
        ledger.chip_hits[chip] += 1


def count_hits(ledger: Ledger, size: int, chip_ids: npt.NDArray[Any], hits: Spans) -> None:
    """Count hits of `size` bytes, some of which may have been restored."""
    if not len(hits):
        return
    present = len(hits) * size if hits.intact else hits.inside
    ledger.hits += len(chip_ids)
    ledger.hit += present
    _add(ledger.chip_hits, chip_ids)
    if present < len(chip_ids) * size:
        ledger.restored_hits += int(np.count_nonzero(hits.restored))
        ledger.restored_bytes += len(chip_ids) * size - present
        _add(ledger.chip_restored, chip_ids[hits.restored])


def count_dropped(ledger: Ledger, chip_ids: npt.NDArray[Any], lost: Spans) -> None:
    """Count hits that were begun and not completed."""
    ledger.dropped_hits += len(lost)
    ledger.dropped += lost.inside
    _add(ledger.chip_dropped, chip_ids)


def count_rest(ledger: Ledger, size: int, stream: Stream, spans: Spans, words: Words) -> None:
    """Count the bytes between spans, which are the stream less the spans; `words`: of all but a carried one.

    Words are always full: what is missing of them is 0xFF, and must not be taken from those of the stream.
    """
    carried = stream[spans.start[-1] :] if spans.carried else stream[:0]
    idle = _count(stream, IDLE_BYTE) - _count(words, IDLE_BYTE) - _count(carried, IDLE_BYTE)
    padding = _count(stream, PADDING_BYTE) - _count(words, PADDING_BYTE) - _count(carried, PADDING_BYTE)
    inside = len(words) * size + len(carried) if spans.intact else spans.inside
    padding += len(words) * size + len(carried) - inside
    ledger.carried = len(carried)
    ledger.idle += idle
    ledger.padding += padding
    ledger.orphan += len(stream) - inside - idle - padding


def count_rejoined(ledger: Ledger, hits: Spans, first_hit: Positions, bounds: Positions) -> None:
    """Count hits that were begun before one of `bounds` and end after it; `first_hit`: as `Spans.first_after`."""
    if not len(hits):
        return
    cut = hits.start.take(first_hit, mode="clip") < bounds
    if not cut.any():
        return
    cut &= ~hits.ended.take(first_hit, mode="clip")
    cut &= first_hit < len(hits)
    cut[:-1] &= first_hit[1:] != first_hit[:-1]  # a hit that is cut twice counts once, at its last cut
    ledger.rejoined_hits += int(np.count_nonzero(cut))


def classes_of(stream: Stream, spans: Spans) -> Stream:
    """`ByteClass` of each byte."""
    classes = np.frombuffer(bytearray(stream).translate(_OUTSIDE), np.uint8)
    kinds = np.where(spans.dropped, np.uint8(ByteClass.DROPPED), np.uint8(ByteClass.HIT))
    if spans.carried:
        kinds[-1] = ByteClass.CARRIED
    classes[ranges(spans.start, spans.end)] = kinds.repeat(spans.end - spans.start)
    return classes


def _count(values: npt.NDArray[Any], byte: int) -> int:
    """How many bytes of an array are `byte`."""
    if values.nbytes <= _FEW_BYTES:
        return values.tobytes().count(byte)
    return int(np.count_nonzero(values.view(np.uint8) == byte))


def _add(counts: list[int], chip_ids: npt.NDArray[Any]) -> None:
    for chip, number in enumerate(np.bincount(chip_ids).tolist()):
        counts[chip] += number
