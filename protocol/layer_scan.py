"""Finding the frames in a stretch of the A-STEP stream, all at once (docs/formats.md, "Layer frames").

A frame says how long it is, in its first byte; with the layer after it and the first byte of the hit, that makes a
*head* of three bytes which is not easily mistaken. All heads are found in whole-array steps, and from one frame the
next is the first head at or after its end. Only where anything but padding is left between frames, something is wrong,
and those bytes alone are looked at again.
"""

from dataclasses import dataclass
from functools import cached_property
from typing import Final

import numpy as np
import numpy.typing as npt

from protocol.readout_description import TimestampBits, TimestampOrder
from protocol.scan import Flags, Positions, follow, ranges
from protocol.stream_bytes import PADDING_BYTE

Stream = npt.NDArray[np.uint8]

HEAD_BYTES: Final = 3
MIN_LENGTH, MAX_LENGTH = 4, 17
"""Lengths that the first byte of a frame can give: layer, 1 to 8 bytes of data, 2 to 8 of time stamp. The frames of
longer hits can be longer."""

_MAX_TIMESTAMP_BYTES = 8
MAX_LAYER_ID: Final = 5
"""The firmware can be built for so many layers, and numbers them from 1."""


def max_frame_bytes(hit_bytes: int) -> int:
    """The longest frame that a decoder for hits of `hit_bytes` bytes may meet, damaged ones included."""
    return 1 + max(MAX_LENGTH, 1 + hit_bytes + _MAX_TIMESTAMP_BYTES)


@dataclass(frozen=True)
class FrameLayout:
    """`length, layer, data, time stamp`: how wide the time stamp is, the order of its bytes, and the bytes of a hit."""

    timestamp_bits: TimestampBits = 32
    timestamp_order: TimestampOrder = "little"
    data_bytes: int = 8

    @property
    def length(self) -> int:
        """The first byte of each frame: how many come after it."""
        return 1 + self.data_bytes + self.timestamp_bits // 8

    @property
    def frame_bytes(self) -> int:
        """The whole frame."""
        return 1 + self.length

    @property
    def max_bytes(self) -> int:
        """The longest frame, whatever its first byte says."""
        return max_frame_bytes(self.data_bytes)


@dataclass(frozen=True)
class FrameSpans:
    """Begun frames in order: bytes `start[i]` to `end[i]`.

    `dropped`: damaged ones, no hits. `carried`: more bytes are needed for the last one.
    """

    start: Positions
    end: Positions
    dropped: Flags
    carried: bool

    def __len__(self) -> int:
        return len(self.start)

    @cached_property
    def inside(self) -> int:
        """Bytes in all of them."""
        return int((self.end - self.start).sum())

    def between(self, length: int) -> Positions:
        """Positions below `length` that are in no frame."""
        if self.inside == length:
            return np.zeros(0, np.int64)
        begin = np.concatenate((np.zeros(1, np.int64), self.end))
        stop = np.append(self.start, length)
        gap = np.flatnonzero(stop > begin)
        return ranges(begin[gap], stop[gap])

    def carried_whole(self, length: int) -> bool:
        """Whether all `length` bytes are one frame that goes on."""
        return self.carried and len(self) == 1 and (int(self.start[0]), int(self.end[0])) == (0, length)


class FrameScanner:
    """Finds frames of `layout`. `chips` in each chain, `layers`: what a head may name; None: anything that can be."""

    def __init__(self, layout: FrameLayout, first_bytes: Flags, layers: int | None) -> None:
        self.size = layout.frame_bytes
        self._length = layout.length
        self._hit_begins = first_bytes
        self._layer = np.arange(256) <= (MAX_LAYER_ID if layers is None else layers)
        values = np.arange(256)
        self._any_length = (values >= MIN_LENGTH) & (values < layout.max_bytes)
        # The same chips, whatever they say of how much follows.
        self._chip = np.repeat(first_bytes.reshape(32, 8).any(axis=1), 8)

    def scan(self, padded: Stream, length: int, starts: Positions) -> FrameSpans:
        """Begun frames in the first `length` bytes of `padded`, which has those of a longest frame more after them.

        `starts`: where readouts begin that are not empty, ascending; what comes before the first was carried over.
        """
        bounds = np.empty(len(starts) + 1, np.int64)
        bounds[:-1], bounds[-1] = starts, length
        head = self._heads(padded, length)
        spans = self._frames(padded, length, bounds, head)
        if spans.inside == length:
            return spans
        between = spans.between(length)
        wrong = between[padded[between] != PADDING_BYTE]
        return self._with_faulty(padded, length, bounds, head, spans, wrong) if len(wrong) else spans

    def _heads(self, padded: Stream, length: int) -> Positions:
        """Where a head is; at the very end, where one is as far as can be seen."""
        at: Positions = (padded[:length] == self._length).nonzero()[0]
        fits = self._layer.take(padded.take(at + 1)) & self._hit_begins.take(padded.take(at + 2))
        # Within the last two bytes, what is not there yet is no reason to say no.
        for index in range(len(at) - 1, max(len(at) - HEAD_BYTES, -1), -1):
            known = length - int(at[index])
            if known < HEAD_BYTES:
                fits[index] = known == 1 or bool(self._layer[padded[at[index] + 1]])
        return at[fits]

    def _frames(self, padded: Stream, length: int, bounds: Positions, head: Positions) -> FrameSpans:
        """Frames with nothing wrong in their heads."""
        dropped = np.zeros(len(head), np.bool_)
        if not len(head):
            return FrameSpans(head, head, dropped, False)
        end = head + self.size
        beyond = end > length
        end[beyond] = length
        reached = self._chain(head, end)
        start, stop = head[reached], end[reached]
        # Most false heads are within frames: unless rule 3 concerns one that is reached, it changes nothing.
        if np.count_nonzero(self._followed(padded, bounds, stop)) < len(stop):
            self._lose(padded, bounds, head, end, dropped)
            reached = self._chain(head, end)
            start, stop = head[reached], end[reached]
        return FrameSpans(start, stop, dropped[reached], bool(beyond[reached[-1]]))

    @staticmethod
    def _chain(at: Positions, end: Positions) -> Positions:
        """Indices of those that are reached from the first, from the end of each to the next at or after it."""
        if np.count_nonzero(at[1:] < end[:-1]) == 0:
            return np.arange(len(at))
        return follow(at.searchsorted(end))

    def _followed(self, padded: Stream, bounds: Positions, end: Positions) -> Flags:
        """Whether something sensible comes at each `end`: padding, a length, or the end of a readout."""
        following = padded.take(end)
        followed: Flags = (following == self._length) | (following == PADDING_BYTE)
        others = (~followed).nonzero()[0]
        if len(others):
            ends = end[others]
            followed[others] = bounds.take(bounds.searchsorted(ends), mode="clip") == ends
        return followed

    def _lose(self, padded: Stream, bounds: Positions, at: Positions, end: Positions, dropped: Flags) -> None:
        """Rule 3: where nothing sensible follows a frame, but another begins within it, bytes were lost.

        Adapts `end` and `dropped`.
        """
        doubtful = np.flatnonzero(~self._followed(padded, bounds, end))
        limit = end[doubtful]
        readout_end = bounds[np.searchsorted(bounds, limit, side="right")]
        for step in range(1, self.size):
            inner = doubtful + step
            inside = inner < len(at)
            inside[inside] = at[inner[inside]] < limit[inside]
            if not inside.any():
                break
            doubtful, readout_end, limit, inner = doubtful[inside], readout_end[inside], limit[inside], inner[inside]
            inner_end = at[inner] + self.size
            known = np.minimum(inner_end, readout_end)
            sensible = (inner_end >= readout_end) | self._followed(padded, bounds, known)
            sensible &= at[inner] + HEAD_BYTES <= readout_end
            taken = doubtful[sensible]
            dropped[taken] = True
            end[taken] = at[inner[sensible]]
            rest = ~sensible
            doubtful, readout_end, limit = doubtful[rest], readout_end[rest], limit[rest]

    def _with_faulty(
        self, padded: Stream, length: int, bounds: Positions, head: Positions, spans: FrameSpans, wrong: Positions
    ) -> FrameSpans:
        """`spans`, and among the bytes at `wrong` frames with one thing wrong in their heads, to be dropped whole."""
        first, known = padded[wrong], length - wrong
        layer = self._layer.take(padded[wrong + 1])
        header = padded[wrong + 2]
        # What is not there yet is no reason to say no.
        other_length = self._any_length.take(first) & (first != self._length) & (layer | (known < 2))
        other_length &= self._chip.take(header) | (known < HEAD_BYTES)
        other_layer = (first == self._length) & ~layer & (self._hit_begins.take(header) | (known < HEAD_BYTES))
        candidate = other_length | other_layer
        at = wrong[candidate]
        end = at + 1 + first[candidate]
        following_head = np.append(head, np.iinfo(np.int64).max)[np.searchsorted(head, at)]
        # The last two bytes of all may still become a head.
        alone = (following_head >= end) | (following_head + HEAD_BYTES > length)
        open_ = end + HEAD_BYTES - 1 > length
        known_end = np.minimum(end, length)
        sensible = open_ | self._followed(padded, bounds, known_end) | self._any_length.take(padded.take(known_end))
        taken = alone & sensible
        at, end, open_ = at[taken], end[taken], open_[taken]
        end[open_] = length
        return self._merged(spans, at, end, open_)

    def _merged(self, spans: FrameSpans, at: Positions, end: Positions, open_: Flags) -> FrameSpans:
        """Both kinds of frames in order, as reading from the beginning meets them."""
        starts = np.concatenate((spans.start, at))
        order = np.argsort(starts, kind="stable")
        carried = np.zeros(len(starts), np.bool_)
        carried[len(spans) :] = open_
        if spans.carried:
            carried[len(spans) - 1] = True
        dropped = np.concatenate((spans.dropped, ~open_))[order]
        starts, ends, carried = starts[order], np.concatenate((spans.end, end))[order], carried[order]
        if not len(starts):
            return spans
        reached = self._chain(starts, ends)
        return FrameSpans(
            starts[reached], ends[reached], dropped[reached] & ~carried[reached], bool(carried[reached][-1])
        )
