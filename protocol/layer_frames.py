"""The stream of the A-STEP firmware: hits in frames that name their layer (docs/formats.md, "Layer frames")."""

from collections.abc import Iterable
from typing import Any, Self

import numpy as np
import numpy.typing as npt

from protocol.accounting import words_at
from protocol.block import ReadoutBlock, ReadoutLike
from protocol.decode import Decoded, possible_carries
from protocol.hit import AbstractAstroPixHit, HitTable, join_tables, reverse_bit_order
from protocol.layer_hit import AbstractLayerHit, AstroPix4LayerHit
from protocol.layer_scan import HEAD_BYTES, FrameLayout, FrameScanner, FrameSpans, max_frame_bytes
from protocol.layout import MAX_HIT_BYTES, WORD_BYTES, Words
from protocol.ledger import CHIP_SLOTS, ByteClass, Ledger
from protocol.scan import Positions, ranges
from protocol.stream_bytes import MAX_CHIPS, PADDING_BYTE, strip_padding
from protocol.text import counted

_BLOCK_BYTES = 1 << 18
"""Data decoded at a time: small enough for the processor's cache."""

_NO_BOUNDS = np.zeros(0, np.int64)


def without_padding(data: bytes, hit_bytes: int = WORD_BYTES) -> bytes:
    """`data` without all but the first of the 0xFF at its end; of hits of up to 8 bytes, the first 17.

    A frame can end in 0xFF, and any number of its last bytes can stand at the end of a readout, or make a readout of
    their own. But it never needs more bytes than these to be complete: what comes after them is padding for certain.
    """
    return data[: len(strip_padding(data)) + max_frame_bytes(hit_bytes) - 1]


def encode_frames(
    hits: npt.NDArray[np.uint8], layer: npt.ArrayLike, fpga_timestamp: npt.ArrayLike, layout: FrameLayout
) -> npt.NDArray[np.uint8]:
    """Frames of hits, shape (n, `layout.frame_bytes`): the inverse of the decoder.

    `hits`: their bytes, shape (n, `layout.data_bytes`), as `encode` of their class gives them. `layer`,
    `fpga_timestamp`: (n,) or scalars; the time stamp is cut to its width.
    """
    width, data_end = layout.timestamp_bits // 8, 2 + layout.data_bytes
    frames = np.empty((len(hits), layout.frame_bytes), np.uint8)
    frames[:, 0] = layout.length
    frames[:, 1] = layer
    frames[:, 2:data_end] = hits
    stamps = np.broadcast_to(np.asarray(fpga_timestamp, np.uint64), len(hits)).astype("<u8")
    stamp_bytes = stamps.view(np.uint8).reshape(-1, 8)[:, :width]
    frames[:, data_end:] = stamp_bytes if layout.timestamp_order == "little" else stamp_bytes[:, ::-1]
    return frames


class LayerFrameDecoder:
    """Decodes the readouts of one A-STEP run in order; never raises for what the bytes are.

    `chips` in each chain, ids 0…chips-1 (1…31), and `layers`, numbers 0…layers: what a frame may name; None where it is
    not known. `layout`: of the frames, with as many bytes of data as a hit of `hit_class` has. `ValueError` otherwise.

    `ledger` counts every byte and hit so far. There is no idle: the firmware keeps it. A frame cut by the end of a
    readout is carried to the next, whatever that holds; how the calls are cut makes no difference. `chip_hits` and the
    like add up all layers; a frame dropped before its chip was seen is in no chip's count.
    """

    def __init__(
        self,
        chips: int | None = None,
        layers: int | None = None,
        layout: FrameLayout | None = None,
        hit_class: type[AbstractLayerHit] = AstroPix4LayerHit,
    ) -> None:
        if chips is not None and not 1 <= chips <= MAX_CHIPS:
            raise ValueError(f"{chips} chips in a chain: 1 to {MAX_CHIPS} can be told apart")
        if layers is not None and layers < 1:
            raise ValueError(f"{layers} layers: there is at least 1")
        size_bytes = hit_class.LAYOUT.size_bytes
        self.chips = chips
        self.layers = layers
        self.layout = layout or FrameLayout(data_bytes=size_bytes)
        if self.layout.data_bytes != size_bytes:
            raise ValueError(f"frames with {self.layout.data_bytes} bytes of data hold no {hit_class.__name__}")
        self.hit_class: type[AbstractAstroPixHit] = hit_class
        self._hit_class = hit_class
        self.ledger = Ledger()
        self._after = self.layout.max_bytes + MAX_HIT_BYTES
        self._scanner = FrameScanner(self.layout, self.hit_class.first_bytes(chips), layers)
        self._carry = b""
        self._carry_bounds = _NO_BOUNDS  # where, within it, readouts begin

    @property
    def hit_bytes(self) -> int:
        """Bytes of a frame."""
        return self.layout.frame_bytes

    @property
    def carried(self) -> bytes:
        """What waits for the next readout: a begun frame, or what may be a damaged one; empty if none."""
        return self._carry

    def decode(self, readouts: Iterable[ReadoutLike] | ReadoutBlock) -> HitTable:
        """Hits that `readouts` bring, in order: structured array (n,) of `hit_class.DTYPE`; empty for none.

        A hit belongs to the readout of its frame's last byte.
        """
        block = readouts if isinstance(readouts, ReadoutBlock) else ReadoutBlock.from_readouts(readouts)
        tables = [self._decode(part, classify=False).table for part in block.cut(_BLOCK_BYTES)]
        return join_tables(tables, self.hit_class.DTYPE)

    def examine(self, readouts: Iterable[ReadoutLike] | ReadoutBlock, *, classify: bool = False) -> Decoded:
        """Like `decode`, with the hits' words; with `classify`, `classes` says what each byte was taken for.

        `classes`: u1 of `ByteClass`, one for each byte of the readouts; bytes carried from an earlier call are not in
        it.
        """
        block = readouts if isinstance(readouts, ReadoutBlock) else ReadoutBlock.from_readouts(readouts)
        return self._decode(block, classify=classify)

    def flush(self) -> HitTable:
        """End of the run: the rest of what is carried was never read, and it is dropped. Always without rows."""
        if self._carry:
            ledger = self.ledger
            ledger.dropped_hits += 1
            ledger.dropped += len(self._carry)
            ledger.carried = 0
            _add(ledger.chip_dropped, np.frombuffer(self._carry[2:3], np.uint8) >> 3)
            self._carry, self._carry_bounds = b"", _NO_BOUNDS
        return np.zeros(0, self.hit_class.DTYPE)

    def state(self) -> dict[str, Any]:
        """All that the decoder remembers, as JSON can carry it; `from_state` goes on from there."""
        return {
            "chips": self.chips,
            "layers": self.layers,
            "timestamp_bits": self.layout.timestamp_bits,
            "timestamp_order": self.layout.timestamp_order,
            "carry": self._carry.hex(),
            "carry_bounds": self._carry_bounds.tolist(),
            "ledger": self.ledger.to_dict(),
        }

    @classmethod
    def from_state(cls, state: dict[str, Any], hit_class: type[AbstractLayerHit] = AstroPix4LayerHit) -> Self:
        """A decoder that goes on where the one that gave `state` was; `ValueError` where it is not a state."""
        try:
            layout = FrameLayout(state["timestamp_bits"], state["timestamp_order"], hit_class.LAYOUT.size_bytes)
            decoder = cls(state["chips"], state["layers"], layout, hit_class)
            decoder.carry_over(bytes.fromhex(state["carry"]), state["carry_bounds"])
            decoder.ledger = Ledger.from_dict(state["ledger"])
        except (KeyError, TypeError, AttributeError, OverflowError) as error:
            raise ValueError(f"not the state of a decoder: {error!r}") from error
        return decoder

    def carry_over(self, begun: bytes, bounds: Iterable[int] = ()) -> None:
        """Take `begun` for what readouts before left; `ValueError` if it cannot be that.

        `bounds`: where, within it, readouts begin, ascending. That the end of a readout is the end of a damaged frame
        speaks for the frame.
        """
        begins = np.array(list(bounds), np.int64)
        if begun and not self._scan(begun, begins)[1].carried_whole(len(begun)):
            raise ValueError(f"{begun.hex()} is not the beginning of a frame")
        if np.count_nonzero(np.diff(begins, prepend=0, append=len(begun)) <= 0) and len(begins):
            raise ValueError(f"{begins.tolist()} are not where readouts begin within {counted(len(begun), 'byte')}")
        self.ledger.bytes_read += len(begun) - len(self._carry)
        self.ledger.carried = len(begun)
        self._carry, self._carry_bounds = begun, begins

    def possible_after(self, readouts: ReadoutBlock) -> list[Self]:
        """Fresh decoders, one for each state that this one could be in after `readouts`, whatever came before them.

        Their ledgers count from here. `ValueError` where `readouts` have fewer bytes than can wait for the next one: a
        frame, and what may become a head after it.
        """
        decoders: list[Self] = []
        begins = np.unique(readouts.offsets[:-1])
        for begun in possible_carries(readouts.data, self.layout.max_bytes + HEAD_BYTES):
            decoder = type(self)(self.chips, self.layers, self.layout, self._hit_class)
            try:
                decoder.carry_over(begun, _within(begins, len(readouts.data) - len(begun), len(readouts.data)))
            except ValueError:
                continue
            decoders.append(decoder)
        return decoders

    def _scan(self, stream: bytes, starts: Positions) -> tuple[npt.NDArray[np.uint8], FrameSpans]:
        padded = np.zeros(len(stream) + self._after, np.uint8)
        padded[: len(stream)] = np.frombuffer(stream, np.uint8)
        return padded, self._scanner.scan(padded, len(stream), starts)

    def _decode(self, block: ReadoutBlock, *, classify: bool) -> Decoded:
        carried = len(self._carry)
        stream = self._carry + block.data
        filled = (block.offsets[1:] - block.offsets[:-1]).nonzero()[0]
        starts = block.offsets[filled] + carried
        bounds = np.concatenate((self._carry_bounds, starts)) if len(self._carry_bounds) else starts
        padded, spans = self._scan(stream, bounds)
        whole = ~spans.dropped
        if spans.carried:
            whole[-1] = False
        start, end = spans.start[whole], spans.end[whole]
        words, table = self._table(padded, start)
        first_hit = (end - 1).searchsorted(starts)
        hits = np.empty_like(first_hit)
        hits[:-1] = first_hit[1:]
        hits[-1:] = len(table)
        hits -= first_hit
        table["readout_id"] = block.readout_id[filled].repeat(hits)
        table["timestamp"] = block.timestamp[filled].repeat(hits)
        table["decoding_order"] = np.arange(len(table)) - first_hit.repeat(hits)
        begun = int(spans.start[-1]) if spans.carried else len(stream)
        self._carry, self._carry_bounds = stream[begun:], _within(bounds, begun, len(stream))
        self._count(padded, len(stream), spans, table["chip_id"])
        self.ledger.readouts += len(block)
        self.ledger.bytes_read += len(block.data)
        self.ledger.rejoined_hits += _crossed(start, end, starts)
        classes = _classify(padded[: len(stream)], spans)[carried:] if classify else np.zeros(0, np.uint8)
        return Decoded(table, words, classes, start - carried, end - carried)

    def _table(self, padded: npt.NDArray[np.uint8], start: Positions) -> tuple[Words, HitTable]:
        """The hits of whole frames, without the columns that the readout gives."""
        data_bytes = self.layout.data_bytes
        in_order = words_at(padded, data_bytes, start + 2)
        # The layout of the hit is that of the wire, where bytes have their bits the other way round.
        words = np.frombuffer(reverse_bit_order(in_order.tobytes()), "<u8").reshape(in_order.shape)
        table = self.hit_class.table(words)
        table["layer"] = padded.take(start + 1)
        width = self.layout.timestamp_bits // 8
        stamps = words_at(padded, width, start + 2 + data_bytes)
        if self.layout.timestamp_order == "big":
            stamps = stamps.byteswap() >> np.uint64(64 - self.layout.timestamp_bits)
        table["fpga_timestamp"] = stamps
        return words, table

    def _count(self, padded: npt.NDArray[np.uint8], length: int, spans: FrameSpans, chip_ids: npt.NDArray[Any]) -> None:
        ledger = self.ledger
        between = spans.between(length)
        padding = int(np.count_nonzero(padded[between] == PADDING_BYTE)) if len(between) else 0
        ledger.hits += len(chip_ids)
        ledger.hit += len(chip_ids) * self.layout.frame_bytes
        _add(ledger.chip_hits, chip_ids)
        if np.count_nonzero(spans.dropped):
            start, lost_bytes = spans.start[spans.dropped], (spans.end - spans.start)[spans.dropped]
            ledger.dropped_hits += len(start)
            ledger.dropped += int(lost_bytes.sum())
            _add(ledger.chip_dropped, padded[start[lost_bytes > 2] + 2] >> 3)
        ledger.carried = len(self._carry)
        ledger.padding += padding
        ledger.orphan += length - spans.inside - padding


def _within(bounds: Positions, start: int, stop: int) -> Positions:
    """Those of `bounds` between `start` and `stop`, counted from `start`."""
    return bounds[(bounds > start) & (bounds < stop)] - start


def _classify(stream: npt.NDArray[np.uint8], spans: FrameSpans) -> npt.NDArray[np.uint8]:
    classes = np.full(len(stream), ByteClass.ORPHAN, np.uint8)
    classes[stream == PADDING_BYTE] = ByteClass.PADDING
    kinds = np.where(spans.dropped, np.uint8(ByteClass.DROPPED), np.uint8(ByteClass.HIT))
    if spans.carried:
        kinds[-1] = ByteClass.CARRIED
    classes[ranges(spans.start, spans.end)] = np.repeat(kinds, spans.end - spans.start)
    return classes


def _crossed(start: Positions, end: Positions, bounds: Positions) -> int:
    """How many of the frames have one of `bounds` inside."""
    before = start.searchsorted(bounds) - 1
    cut = before >= 0
    cut[cut] = end[before[cut]] > bounds[cut]
    return len(np.unique(before[cut])) if np.count_nonzero(cut) else 0


def _add(counts: list[int], chip_ids: npt.NDArray[Any]) -> None:
    if len(chip_ids):
        for chip, number in enumerate(np.bincount(chip_ids, minlength=CHIP_SLOTS).tolist()):
            counts[chip] += number
