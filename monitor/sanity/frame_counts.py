"""What hits out of layer frames show about the frames: time stamps that go back, and hits that end in idle bytes."""

from dataclasses import dataclass, field, replace
from typing import Self

import numpy as np
import numpy.typing as npt

from monitor.continuity import HitArray
from monitor.detector import HitKind
from protocol.readout_description import ReadoutDescription
from protocol.stream_bytes import IDLE_BYTE

Counts = npt.NDArray[np.int64]
Mask = npt.NDArray[np.bool_]

LAYER_NUMBERS = 256
"""As many as the byte in the frame can name."""

_USUAL_STAMP_BITS = 32
_SHORT_STAMP_BITS = 16
"""A counter of so few bits wraps many times a second: only stamps of one readout can be compared."""


def _no_counts() -> Counts:
    return np.zeros(LAYER_NUMBERS, np.int64)


@dataclass(frozen=True, slots=True, eq=False)
class FrameCounts:
    """Counts over the hits of all looks of a pass so far (`CheckInput.hits`); all zero where hits name no layer.

    `hits`, `idle_ended` (256,): hits of each layer, and those of them that end in idle bytes (`ends_in_idles`).
    `steps`: pairs of consecutive hits of a layer; `back`: those where the FPGA's time stamp goes back as it was read,
    `back_swapped`: those where it would go back with its bytes in the other order.
    """

    hits: Counts = field(default_factory=_no_counts)
    idle_ended: Counts = field(default_factory=_no_counts)
    steps: int = 0
    back: int = 0
    back_swapped: int = 0

    def since(self, before: "FrameCounts | None") -> Self:
        """What has been added since `before`; all of it where that is None."""
        if before is None:
            return self
        return type(self)(
            self.hits - before.hits,
            self.idle_ended - before.idle_ended,
            self.steps - before.steps,
            self.back - before.back,
            self.back_swapped - before.back_swapped,
        )


def ends_in_idles(hits: HitArray) -> Mask:
    """Which hits (n,) end in three or more idle bytes, `3d` with the bits in order (docs/formats.md, "Layer frames").

    Bits that belong to no field may be anything.
    """
    layout = HitKind.of(hits).hit_class.LAYOUT
    idles = layout.words(np.full((1, layout.size_bytes), IDLE_BYTE, np.uint8))
    found = np.ones(len(hits), np.bool_)
    for each in layout.fields:
        inside = min(each.first_bit + each.width - 8 * (layout.size_bytes - 3), each.width)
        if inside > 0:
            last_bits = (1 << inside) - 1
            found &= (hits[each.name] & last_bits) == (int(each.extract(idles)[0]) & last_bits)
    return found


class FrameTally:
    """Counts the hits of one pass over a run as they come."""

    def __init__(self) -> None:
        self._counts = FrameCounts()
        self._last: dict[int, tuple[np.uint64, int]] = {}

    @property
    def counts(self) -> FrameCounts:
        """As they are now; what comes later does not change them."""
        return self._counts

    def add(self, hits: HitArray, description: ReadoutDescription) -> None:
        """Count more hits, which follow those before. `description` says how wide the time stamp is; 32 bits if not."""
        names = hits.dtype.names or ()
        if not len(hits) or "layer" not in names:
            return
        layers, counts = hits["layer"], self._counts
        idle_ended = counts.idle_ended
        if "tot_lsb" in names or "ts_coarse2" in names:
            idle_ended = idle_ended + np.bincount(layers[ends_in_idles(hits)], minlength=LAYER_NUMBERS)
        self._counts = replace(
            counts, hits=counts.hits + np.bincount(layers, minlength=LAYER_NUMBERS), idle_ended=idle_ended
        )
        if "fpga_timestamp" in names:
            self._compare(hits, layers, description.timestamp_bits or _USUAL_STAMP_BITS)

    def _compare(self, hits: HitArray, layers: npt.NDArray[np.uint8], bits: int) -> None:
        stamps = hits["fpga_timestamp"].astype(np.uint64)
        if bits < 64 and int(stamps.max()) >> bits:
            return  # not as wide as described: its bytes cannot be swapped
        readouts = hits["readout_id"].astype(np.int64)
        steps, back, swapped = self._counts.steps, self._counts.back, self._counts.back_swapped
        for layer in np.flatnonzero(np.bincount(layers)).tolist():
            mine = np.flatnonzero(layers == layer)
            before, readout = self._last.get(layer, (stamps[mine[0]], -1))
            ours = np.concatenate(([before], stamps[mine])).astype(np.uint64)
            ids = np.concatenate(([readout], readouts[mine]))
            compared = ids[:-1] >= 0
            if bits <= _SHORT_STAMP_BITS:
                compared &= ids[1:] == ids[:-1]
            steps += int(np.count_nonzero(compared))
            back += int(np.count_nonzero((ours[1:] < ours[:-1]) & compared))
            others = ours.byteswap() >> np.uint64(64 - bits)
            swapped += int(np.count_nonzero((others[1:] < others[:-1]) & compared))
            self._last[layer] = ours[-1], int(ids[-1])
        self._counts = replace(self._counts, steps=steps, back=back, back_swapped=swapped)
