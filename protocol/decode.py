"""From readouts to hits: the one decoder behind all interfaces."""

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any, Self

import numpy as np
import numpy.typing as npt

from protocol.block import ReadoutBlock, ReadoutLike
from protocol.hit import AbstractAstroPixHit, AstroPix4Hit, HitTable, join_tables
from protocol.layout import Words
from protocol.ledger import ByteClass, Ledger
from protocol.scan import Flags, Positions, Scanner, Spans, ranges
from protocol.stream_bytes import IDLE_BYTE, MAX_CHIPS, PADDING_BYTE

_BLOCK_BYTES = 1 << 18
"""Data decoded at a time: small enough for the processor's cache."""

_OUTSIDE = bytes(
    {IDLE_BYTE: ByteClass.IDLE, PADDING_BYTE: ByteClass.PADDING}.get(byte, ByteClass.ORPHAN) for byte in range(256)
)
"""What each byte is outside of hits."""


@dataclass(frozen=True)
class Decoded:
    """Hits with the words they were decoded from, and the class of each byte if it was asked for.

    `start`, `end`: their bytes in the readouts, those that were carried before counted from -1 down.
    """

    table: HitTable
    words: Words
    classes: npt.NDArray[np.uint8]
    start: Positions
    end: Positions


class StreamDecoder:
    """Decodes the readouts of one run in order; never raises for what the bytes are (docs/formats.md).

    `chips`: number of chips in the chain, ids 0…chips-1 (1…31); None where it is not known, which takes any first byte
    for that of a hit and so mistakes more garbage for hits. `ValueError` outside that range.
    `full_readout_bytes`: length of a readout as the board sends it, padding included; None where it is not known. What
    a readout is short of that, and no more, can be bytes of a hit that were taken for padding. So it is known of a hit
    that is cut whether it goes on in the next readout; without it, a rest that looks like idle or a first byte is
    mistaken, and 0xFF before the cut is lost.

    `ledger` counts every byte and hit so far. A hit cut by the end of a readout is carried to the next; how the calls
    are cut makes no difference.
    """

    def __init__(
        self,
        chips: int | None = None,
        hit_class: type[AbstractAstroPixHit] = AstroPix4Hit,
        full_readout_bytes: int | None = None,
    ) -> None:
        if chips is not None and not 1 <= chips <= MAX_CHIPS:
            raise ValueError(f"{chips} chips in a chain: 1 to {MAX_CHIPS} can be told apart")
        self.chips = chips
        self.hit_class = hit_class
        self.full_readout_bytes = full_readout_bytes
        self.ledger = Ledger()
        self._first_bytes = hit_class.first_bytes(chips)
        self._scanner = Scanner(hit_class.LAYOUT.size_bytes, self._first_bytes, IDLE_BYTE, PADDING_BYTE)
        self._carry = b""
        self._last_readout = (0, 0, 0)  # id, time stamp and hits of the last readout that had bytes
        self._stripped = hit_class.LAYOUT.size_bytes  # from its end, as padding; never more than this

    @property
    def hit_bytes(self) -> int:
        """Bytes of a hit in the stream."""
        return self.hit_class.LAYOUT.size_bytes

    @property
    def carried(self) -> bytes:
        """The begun hit that waits for the next readout; empty if none."""
        return self._carry

    def decode(self, readouts: Iterable[ReadoutLike] | ReadoutBlock) -> HitTable:
        """Hits that `readouts` bring, in order: structured array (n,) of `hit_class.DTYPE`; empty for none.

        A hit that was cut belongs to the readout that completed it.
        """
        block = readouts if isinstance(readouts, ReadoutBlock) else ReadoutBlock.from_readouts(readouts)
        tables = [self._decode(part, classify=False).table for part in block.cut(_BLOCK_BYTES)]
        return join_tables(tables, self.hit_class.DTYPE)

    def examine(self, readouts: Iterable[ReadoutLike] | ReadoutBlock, *, classify: bool = False) -> Decoded:
        """Like `decode`, with the hits' words; with `classify`, `classes` says what each byte was taken for.

        `classes`: u1 of `ByteClass`, one for each byte of the readouts. The bytes of a hit that is cut by the end of
        the last readout are `CARRIED`; bytes carried from an earlier call are not in it.
        """
        block = readouts if isinstance(readouts, ReadoutBlock) else ReadoutBlock.from_readouts(readouts)
        return self._decode(block, classify=classify)

    def flush(self) -> HitTable:
        """End of the run: what is carried is a hit whose last bytes were 0xFF. Zero or one row, as from `decode`.

        The hit belongs to the last readout that had bytes and comes last in it. Where that one is known to have had
        less padding than the hit lacks, the hit's rest was never read, and it is dropped.
        """
        if not self._carry:
            return np.zeros(0, self.hit_class.DTYPE)
        if self._stripped < self.hit_bytes - len(self._carry):
            return self._drop_carried()
        everything, length = np.ones(1, np.bool_), np.full(1, len(self._carry))
        words = self._words(_padded(self._carry), np.zeros(1, np.int64), length, length, everything)
        readout_id, timestamp, hits = self._last_readout
        table = self.hit_class.table(words)
        table["readout_id"], table["timestamp"], table["decoding_order"] = readout_id, timestamp, hits
        self._count_hits(table, everything, length)
        self.ledger.carried = 0
        self._carry = b""
        self._last_readout = (readout_id, timestamp, hits + 1)
        return table

    def _drop_carried(self) -> HitTable:
        ledger = self.ledger
        first = np.zeros(1, np.int64)
        table = self.hit_class.table(self._words(_padded(self._carry), first, first, first, np.zeros(1, np.bool_)))
        _add(ledger.chip_dropped, table["chip_id"])
        ledger.dropped_hits += 1
        ledger.dropped += len(self._carry)
        ledger.carried = 0
        self._carry = b""
        return table[:0]

    def state(self) -> dict[str, Any]:
        """All that the decoder remembers, as JSON can carry it; `from_state` goes on from there."""
        return {
            "chips": self.chips,
            "carry": self._carry.hex(),
            "full_readout_bytes": self.full_readout_bytes,
            "last_readout": list(self._last_readout),
            "stripped": self._stripped,
            "ledger": self.ledger.to_dict(),
        }

    @classmethod
    def from_state(cls, state: dict[str, Any], hit_class: type[AbstractAstroPixHit] = AstroPix4Hit) -> Self:
        """A decoder that goes on where the one that gave `state` was; `ValueError` where it is not a state."""
        try:
            decoder = cls(state["chips"], hit_class, state["full_readout_bytes"])
            decoder.carry_over(bytes.fromhex(state["carry"]))
            readout_id, timestamp, hits = (int(value) for value in state["last_readout"])
            decoder._last_readout = (readout_id, timestamp, hits)
            decoder._stripped = _stripped_of(state, decoder.hit_bytes)
            decoder.ledger = Ledger.from_dict(state["ledger"])
        except (KeyError, TypeError, AttributeError, OverflowError) as error:
            raise ValueError(f"not the state of a decoder: {error!r}") from error
        return decoder

    def carry_over(self, begun: bytes) -> None:
        """Take `begun` for a hit begun in a readout before; `ValueError` if it cannot be one."""
        if begun and (len(begun) >= self.hit_class.LAYOUT.size_bytes or not self._first_bytes[begun[0]]):
            raise ValueError(f"{begun.hex()} is not the beginning of a hit")
        self.ledger.bytes_read += len(begun) - len(self._carry)
        self.ledger.carried = len(begun)
        self._carry = begun

    def possible_after(self, readouts: ReadoutBlock) -> list[Self]:
        """Fresh decoders, one for each state that this one could be in after `readouts`, whatever came before them.

        Their ledgers count from here. `ValueError` where `readouts` have fewer bytes than can wait for the next one.
        """
        longest = self.hit_class.LAYOUT.size_bytes - 1
        lengths = readouts.offsets[1:] - readouts.offsets[:-1]
        filled = lengths.nonzero()[0]
        decoders: list[Self] = []
        for begun in possible_carries(readouts.data, longest):
            decoder = type(self)(self.chips, self.hit_class, self.full_readout_bytes)
            try:
                decoder.carry_over(begun)
            except ValueError:
                continue
            last = filled[-1]
            decoder._last_readout = (int(readouts.readout_id[last]), int(readouts.timestamp[last]), 0)
            decoder._stripped_before(lengths[filled])
            decoders.append(decoder)
        return decoders

    def _decode(self, block: ReadoutBlock, *, classify: bool) -> Decoded:
        carried = len(self._carry)
        padded = _padded(self._carry, block.data)
        stream = padded[: carried + len(block.data)]
        lengths = block.offsets[1:] - block.offsets[:-1]
        filled = lengths.nonzero()[0]
        starts = block.offsets[filled] + carried
        spans = self._scanner.scan(stream, starts, self._stripped_before(lengths[filled]))
        whole = ~spans.dropped
        if spans.carried:
            whole[-1] = False
        start, end, gap, restored = spans.start[whole], spans.end[whole], spans.gap[whole], spans.restored[whole]
        words = self._words(padded, start, end, gap, restored)
        table = self.hit_class.table(words)
        # A hit belongs to the readout of its last byte; one that got its last bytes back, to the readout that told so.
        ended = restored & (gap == end)
        first_hit = (end - ~ended).searchsorted(starts)
        hits = np.empty_like(first_hit)
        hits[:-1] = first_hit[1:]
        hits[-1:] = len(table)
        hits -= first_hit
        table["readout_id"] = block.readout_id[filled].repeat(hits)
        table["timestamp"] = block.timestamp[filled].repeat(hits)
        table["decoding_order"] = np.arange(len(table)) - first_hit.repeat(hits)
        if len(filled):
            last = filled[-1]
            self._last_readout = (int(block.readout_id[last]), int(block.timestamp[last]), int(hits[-1]))
        self.ledger.readouts += len(block)
        self.ledger.bytes_read += len(block.data)
        self.ledger.rejoined_hits += _rejoined(start, ended, first_hit, starts)
        self._count_hits(table, restored, end - start)
        self._count_rest(padded, stream, spans, words)
        self._carry = stream[spans.start[-1] :].tobytes() if spans.carried else b""
        classes = self._classify(stream, spans)[carried:] if classify else np.zeros(0, np.uint8)
        return Decoded(table, words, classes, start - carried, end - carried)

    def _stripped_before(self, lengths: Positions) -> Positions:
        """How many bytes can have gone with the padding before each readout of `lengths`; notes it of the last."""
        if self.full_readout_bytes is None:
            return np.full(len(lengths), self.hit_bytes)
        stripped = np.append(self._stripped, (self.full_readout_bytes - lengths).clip(0, self.hit_bytes))
        self._stripped = int(stripped[-1])
        return stripped[:-1]

    def _words(
        self,
        padded: npt.NDArray[np.uint8],
        start: Positions,
        end: Positions,
        gap: Positions,
        restored: Flags,
    ) -> Words:
        """The hits as little-endian words; of the restored ones, what is missing of them is 0xFF before `gap`."""
        every_offset = np.ndarray((len(padded) - 7,), "<u8", padded, 0, (1,))
        words = every_offset.take(start)
        size = self.hit_bytes
        if restored.any():
            cut = restored.nonzero()[0]
            before = (8 * (gap[cut] - start[cut])).astype(np.uint64)
            missing = (8 * (size - end[cut] + start[cut])).astype(np.uint64)
            one = np.uint64(1)
            begun = words[cut] & ((one << before) - one)
            words[cut] = begun | ((one << missing) - one) << before | (words[cut] ^ begun) << missing
        if size < 8:
            words &= np.uint64((1 << 8 * size) - 1)
        return words

    def _count_hits(self, table: HitTable, restored: Flags, present_bytes: Positions) -> None:
        ledger, size = self.ledger, self.hit_class.LAYOUT.size_bytes
        present = int(present_bytes.sum())
        ledger.hits += len(table)
        ledger.hit += present
        _add(ledger.chip_hits, table["chip_id"])
        if restored.any():
            ledger.restored_hits += int(np.count_nonzero(restored))
            ledger.restored_bytes += len(table) * size - present
            _add(ledger.chip_restored, table["chip_id"][restored])

    def _count_rest(
        self, padded: npt.NDArray[np.uint8], stream: npt.NDArray[np.uint8], spans: Spans, hit_words: Words
    ) -> None:
        """Bytes that are in no hit: dropped, carried, and what lies between, which is the stream less all these."""
        ledger, size = self.ledger, self.hit_class.LAYOUT.size_bytes
        inside = int((spans.end - spans.start).sum())
        carried = stream[spans.start[-1] :] if spans.carried else stream[:0]
        # Words are always full: missing bytes are 0xFF in them, and must not be taken from those of the stream.
        missing = len(hit_words) * size + len(carried) - inside
        idle, padding = (
            _count(stream, byte) - _count(hit_words, byte) - _count(carried, byte) for byte in (IDLE_BYTE, PADDING_BYTE)
        )
        if spans.dropped.any():
            start, end = spans.start[spans.dropped], spans.end[spans.dropped]
            words = self._words(padded, start, end, end, np.ones(len(start), np.bool_))
            missing += len(words) * size
            idle -= _count(words, IDLE_BYTE)
            padding -= _count(words, PADDING_BYTE)
            ledger.dropped_hits += len(words)
            ledger.dropped += int((end - start).sum())
            _add(ledger.chip_dropped, self.hit_class.table(words)["chip_id"])
        padding += missing
        ledger.carried = len(carried)
        ledger.idle += idle
        ledger.padding += padding
        ledger.orphan += len(stream) - inside - idle - padding

    @staticmethod
    def _classify(stream: npt.NDArray[np.uint8], spans: Spans) -> npt.NDArray[np.uint8]:
        classes = np.frombuffer(bytearray(stream).translate(_OUTSIDE), np.uint8)
        kinds = np.where(spans.dropped, np.uint8(ByteClass.DROPPED), np.uint8(ByteClass.HIT))
        if spans.carried:
            kinds[-1] = ByteClass.CARRIED
        classes[ranges(spans.start, spans.end)] = kinds.repeat(spans.end - spans.start)
        return classes


def _stripped_of(state: dict[str, Any], most: int) -> int:
    stripped = state["stripped"]
    if type(stripped) is not int or not 0 <= stripped <= most:
        raise ValueError(f"not the state of a decoder: {stripped!r} bytes taken for padding")
    return stripped


def possible_carries(stream: bytes, longest: int) -> list[bytes]:
    """The ends of `stream`, from none of it to `longest` bytes; `ValueError` where it is shorter than that."""
    if len(stream) < longest:
        raise ValueError(f"{longest} bytes can wait for the next readout; {len(stream)} are too few to tell which")
    return [stream[len(stream) - length :] for length in range(longest + 1)]


def _padded(*pieces: bytes) -> npt.NDArray[np.uint8]:
    """The bytes of `pieces` and eight more, so that a word can be taken at each of their positions."""
    return np.frombuffer(b"".join((*pieces, bytes(8))), np.uint8)


def _rejoined(start: Positions, ended: Flags, first_hit: Positions, bounds: Positions) -> int:
    """How many hits were begun before one of `bounds` and end after it; `first_hit`: the first that ends after each.

    `ended`: those whose end is the bound itself.
    """
    if not len(start):
        return 0
    cut = (start.take(first_hit, mode="clip") < bounds) & ~ended.take(first_hit, mode="clip")
    cut &= first_hit < len(start)
    cut[:-1] &= first_hit[1:] != first_hit[:-1]  # a hit that is cut twice counts once, at its last cut
    return int(np.count_nonzero(cut))


def _count(values: npt.NDArray[Any], byte: int) -> int:
    """How many bytes of an array are `byte`."""
    return int(np.count_nonzero(values.view(np.uint8) == byte)) if len(values) else 0


def _add(counts: list[int], chip_ids: npt.NDArray[Any]) -> None:
    for chip, number in enumerate(np.bincount(chip_ids).tolist()):
        counts[chip] += number
