"""From readouts to hits: the one decoder behind all interfaces."""

from bisect import bisect_left
from collections.abc import Iterable
from dataclasses import dataclass
from itertools import chain
from typing import Any, Self

import numpy as np
import numpy.typing as npt

from protocol.accounting import (
    classes_of,
    count_dropped,
    count_hits,
    count_rejoined,
    count_rest,
    count_undisturbed,
    padded_stream,
    words_at,
    words_of,
)
from protocol.block import ReadoutBlock, ReadoutLike
from protocol.hit import AbstractAstroPixHit, AstroPix4Hit, HitTable, join_tables
from protocol.layout import Words
from protocol.ledger import Ledger
from protocol.padding_groups import PaddingGroups, has_groups
from protocol.scan import Positions, Removed, Scanner, Spans
from protocol.stream_bytes import GROUP_BYTES, IDLE_BYTE, MAX_CHIPS, PADDING_BYTE

_BLOCK_BYTES = 1 << 18
"""Data decoded at a time: small enough for the processor's cache."""

_SHORT_BYTES = 2048
"""Up to so many, one hit after the other is faster than whole-array steps, as long as no rule concerns any."""

_NO_CLASSES = np.zeros(0, np.uint8)


@dataclass(frozen=True)
class Decoded:
    """Hits with the words they were decoded from, and the class of each byte if it was asked for.

    `start`, `end`: where their bytes are in the readouts, padding inside them included; bytes carried from an earlier
    call are counted from -1 down.
    """

    table: HitTable
    words: Words
    classes: npt.NDArray[np.uint8]
    start: Positions
    end: Positions


class BegunHit(bytes):
    """The bytes of a hit that the end of a readout cut; what follows decides about it.

    `removed`: how many bytes 0xFF of the hit can have been removed with the padding after them; a hit's size or more
    where any number can.
    """

    removed: int

    def __new__(cls, data: bytes = b"", removed: int = GROUP_BYTES) -> Self:
        """`data`, with what is known of its end."""
        begun = super().__new__(cls, data)
        begun.removed = removed
        return begun


class StreamDecoder:
    """Decodes the readouts of one run in order; never raises for what the bytes are (docs/formats.md).

    `chips`: number of chips in the chain, ids 0…chips-1 (1…31); None where it is not known: any first byte then counts
    as that of a hit, so more garbage is mistaken for hits. `ValueError` outside that range.
    `full_readout_bytes`: length of a readout as the board sends it, padding included; None where it is not known. A
    multiple of 8 says that the board sends whole groups of 8 bytes, as the firmware does. Then it is certain how many
    bytes 0xFF of a hit were removed at the end of a readout. Otherwise the decoder judges by what follows, and can be
    mistaken (docs/decisions/0020).

    `ledger` counts every byte and hit so far. A hit cut by the end of a readout is carried to the next; it makes no
    difference how readouts are distributed over calls.
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
        self._removed = _removed_by(full_readout_bytes)
        self._scanner = Scanner(hit_class.LAYOUT.size_bytes, self._first_bytes, IDLE_BYTE, PADDING_BYTE, self._removed)
        self._carry = b""
        self._last_readout = (0, 0, 0)  # id, time stamp and hits of the last readout that had bytes
        self._stripped = hit_class.LAYOUT.size_bytes  # bytes of a hit removed from its end; never more than this

    @property
    def hit_bytes(self) -> int:
        """Bytes of a hit in the stream."""
        return self.hit_class.LAYOUT.size_bytes

    @property
    def carried(self) -> "BegunHit":
        """The begun hit that waits for the next readout; empty if none."""
        return BegunHit(self._carry, self._stripped)

    def decode(self, readouts: Iterable[ReadoutLike] | ReadoutBlock) -> HitTable:
        """Hits that `readouts` bring, in order: structured array (n,) of `hit_class.DTYPE`; empty for none.

        A hit that was cut belongs to the readout that completed it.
        """
        block = readouts if isinstance(readouts, ReadoutBlock) else ReadoutBlock.from_readouts(readouts)
        if len(block.data) <= _BLOCK_BYTES:
            return self._table(block)
        return join_tables([self._table(part) for part in block.cut(_BLOCK_BYTES)], self.hit_class.DTYPE)

    def examine(self, readouts: Iterable[ReadoutLike] | ReadoutBlock, *, classify: bool = False) -> Decoded:
        """Like `decode`, with the hits' words; with `classify`, `classes` says what each byte was taken for.

        `classes`: u1 of `ByteClass`, one for each byte of the readouts. The bytes of a hit that is cut by the end of
        the last readout are `CARRIED`; bytes carried from an earlier call are not in it.
        """
        block = readouts if isinstance(readouts, ReadoutBlock) else ReadoutBlock.from_readouts(readouts)
        if not has_groups(block):
            return self._decode(block, classify=classify)
        groups = PaddingGroups.of(block)
        decoded = self._decode_around(groups, block, classify=classify)
        return Decoded(
            decoded.table,
            decoded.words,
            groups.classes(decoded.classes) if classify else _NO_CLASSES,
            groups.sent_at(decoded.start),
            groups.sent_at(decoded.end - 1) + 1,
        )

    def flush(self) -> HitTable:
        """End of the run: what is carried is a hit whose last bytes were 0xFF. Zero or one row, as from `decode`.

        The hit belongs to the last readout that had bytes and comes last in it. Where fewer bytes than the hit lacks
        can have been removed from that one, the hit's rest was never read, and it is dropped.
        """
        if not self._carry:
            return np.zeros(0, self.hit_class.DTYPE)
        never_read = self._stripped < self.hit_bytes - len(self._carry)
        if never_read and (self._removed is not Removed.UNKNOWN or not self._stripped):
            return self._drop_carried()
        cut = Spans.cut(len(self._carry), restored=True)
        table = self.hit_class.table(words_of(padded_stream(self._carry), self.hit_bytes, cut))
        readout_id, timestamp, hits = self._last_readout
        table["readout_id"], table["timestamp"], table["decoding_order"] = readout_id, timestamp, hits
        count_hits(self.ledger, self.hit_bytes, table["chip_id"], cut)
        self.ledger.carried = 0
        self._carry = b""
        self._last_readout = (readout_id, timestamp, hits + 1)
        return table

    def _drop_carried(self) -> HitTable:
        cut = Spans.cut(len(self._carry), restored=False)
        table = self.hit_class.table(words_of(padded_stream(self._carry), self.hit_bytes, cut))
        count_dropped(self.ledger, table["chip_id"], cut)
        self.ledger.carried = 0
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
        """Take `begun` for a hit begun in an earlier readout; `ValueError` if it cannot be one.

        A `BegunHit` also says how many of its bytes may have been removed; of other bytes, that is not known.
        """
        if begun and (len(begun) >= self.hit_class.LAYOUT.size_bytes or not self._first_bytes[begun[0]]):
            raise ValueError(f"{begun.hex()} is not the beginning of a hit")
        self.ledger.bytes_read += len(begun) - len(self._carry)
        self.ledger.carried = len(begun)
        self._carry = bytes(begun)
        self._stripped = begun.removed if isinstance(begun, BegunHit) else self.hit_bytes

    def possible_after(self, readouts: ReadoutBlock) -> list[Self]:
        """Fresh decoders, one for each state that this one could be in after `readouts`, whatever came before them.

        Their ledgers count from here. `ValueError` where `readouts` have fewer bytes than can wait for the next one.
        """
        longest = self.hit_class.LAYOUT.size_bytes - 1
        sent = readouts.offsets
        if has_groups(readouts):
            readouts = PaddingGroups.of(readouts).removed
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
            decoder._stripped = decoder._stripped_from(int(sent[last + 1] - sent[last]))
            decoders.append(decoder)
        return decoders

    def _table(self, block: ReadoutBlock) -> HitTable:
        if has_groups(block):
            return self._decode_around(PaddingGroups.of(block), block, classify=False).table
        return self._decode(block, classify=False).table

    def _decode_around(self, groups: PaddingGroups, block: ReadoutBlock, *, classify: bool) -> Decoded:
        """Decode `block` without its `groups` of padding; positions and classes are those of what is left."""
        self.ledger.bytes_read += groups.size_bytes
        self.ledger.padding += groups.size_bytes
        return self._decode(groups.removed, block.offsets, classify=classify)

    def _decode(self, block: ReadoutBlock, sent: Positions | None = None, *, classify: bool) -> Decoded:
        """Decode readouts without groups of padding inside; `sent`: their offsets before these were taken out."""
        if not classify and not self._carry and len(block.data) <= _SHORT_BYTES:
            bounds = block.offsets.tolist()
            if (found := self._scanner.undisturbed(block.data, bounds)) is not None:
                return self._take_undisturbed(block, bounds if sent is None else sent.tolist(), bounds, found)
        return self._decode_in_steps(block, block.offsets if sent is None else sent, classify=classify)

    def _take_undisturbed(
        self, block: ReadoutBlock, sent: list[int], bounds: list[int], found: list[list[int]]
    ) -> Decoded:
        """What `_decode_in_steps` would give and note of a short block, as `Scanner.undisturbed` has `found` it."""
        data, size = block.data, self.hit_bytes
        hits = [len(starts) for starts in found]
        start = np.array(list(chain.from_iterable(found)), np.int64)
        words = words_at(padded_stream(data), size, start)
        table = self.hit_class.table(words)
        if len(table):
            table["readout_id"] = block.readout_id.repeat(hits)
            table["timestamp"] = block.timestamp.repeat(hits)
            table["decoding_order"] = list(chain.from_iterable(map(range, hits)))
        if data:
            last = bisect_left(bounds, len(data)) - 1  # of those that are not empty
            self._last_readout = (int(block.readout_id[last]), int(block.timestamp[last]), hits[last])
            self._stripped = self._stripped_from(sent[last + 1] - sent[last])
        self.ledger.readouts += len(block)
        count_undisturbed(self.ledger, size, data, words, table["chip_id"].tolist())
        return Decoded(table, words, _NO_CLASSES, start, start + size)

    def _decode_in_steps(self, block: ReadoutBlock, sent: Positions, *, classify: bool) -> Decoded:
        ledger, size, carried = self.ledger, self.hit_bytes, len(self._carry)
        padded = padded_stream(self._carry, block.data)
        stream = padded[: carried + len(block.data)]
        filled = (block.offsets[1:] - block.offsets[:-1]).nonzero()[0]
        starts = block.offsets[filled] + carried
        spans = self._scanner.scan(stream, starts, self._stripped_before((sent[1:] - sent[:-1])[filled]))
        hits = spans.hits()
        words = words_of(padded, size, hits)
        table = self.hit_class.table(words)
        first_hit = hits.first_after(starts)
        self._give_to_readouts(table, first_hit, block, filled)
        ledger.readouts += len(block)
        ledger.bytes_read += len(block.data)
        count_hits(ledger, size, table["chip_id"], hits)
        count_rejoined(ledger, hits, first_hit, starts)
        if not spans.intact and spans.dropped.any():
            lost = spans.lost()
            lost_words = words_of(padded, size, lost)
            count_dropped(ledger, self.hit_class.table(lost_words)["chip_id"], lost)
            count_rest(ledger, size, stream, spans, np.concatenate((words, lost_words)))
        else:
            count_rest(ledger, size, stream, spans, words)
        self._carry = stream[spans.start[-1] :].tobytes() if spans.carried else b""
        classes = classes_of(stream, spans)[carried:] if classify else _NO_CLASSES
        return Decoded(table, words, classes, hits.start - carried, hits.end - carried)

    def _give_to_readouts(self, table: HitTable, first_hit: Positions, block: ReadoutBlock, filled: Positions) -> None:
        """Fill the columns that the readouts give; `first_hit` of each of those that are `filled`."""
        if not len(filled):
            return
        hits = np.empty_like(first_hit)
        hits[:-1] = first_hit[1:]
        hits[-1] = len(table)
        hits -= first_hit
        if len(table):
            table["readout_id"] = block.readout_id[filled].repeat(hits)
            table["timestamp"] = block.timestamp[filled].repeat(hits)
            table["decoding_order"] = np.arange(len(table)) - first_hit.repeat(hits)
        last = filled[-1]
        self._last_readout = (int(block.readout_id[last]), int(block.timestamp[last]), int(hits[-1]))

    def _stripped_before(self, lengths: Positions) -> Positions:
        """`_stripped_from` of the readout before each of `lengths`, the first of an earlier call; keeps the last."""
        if self._removed is Removed.BY_LENGTH:
            after = (self.full_readout_bytes or 0) - lengths
            np.maximum(after, 0, out=after)
        else:
            after = -lengths & (GROUP_BYTES - 1)
        stripped = np.empty(len(lengths) + 1, np.int64)
        stripped[0] = self._stripped
        np.minimum(after, self.hit_bytes, out=stripped[1:])
        self._stripped = int(stripped[-1])
        return stripped[:-1]

    def _stripped_from(self, length: int) -> int:
        """How many bytes 0xFF of a hit can have been removed from the end of a readout that has `length` bytes left."""
        if self._removed is Removed.BY_LENGTH:
            return min(max((self.full_readout_bytes or 0) - length, 0), self.hit_bytes)
        return min(-length & (GROUP_BYTES - 1), self.hit_bytes)


def _removed_by(full_readout_bytes: int | None) -> Removed:
    if full_readout_bytes is None:
        return Removed.UNKNOWN
    return Removed.BY_LENGTH if full_readout_bytes % GROUP_BYTES else Removed.BY_GROUPS


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
