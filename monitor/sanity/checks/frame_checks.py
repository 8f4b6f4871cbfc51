"""Layer frames: time stamps read in the wrong byte order, and frames that the firmware filled with idle bytes."""

from collections.abc import Mapping, Sequence

import numpy as np

from monitor.sanity.check import CheckInput, CheckResult, Limit, check
from monitor.sanity.frame_counts import FrameCounts
from protocol.wire.alarms import AlarmLevel

_OTHER_ORDER = {"little": "big", "big": "little"}

MIN_HITS = 100
"""New ones, for the frames to be looked at."""

MIN_STEPS_BACK = 50
"""Fewer time stamps that go back prove nothing (docs/decisions/0023)."""

_CLEARER = 10
"""Times as many go back as read than in the other order."""

MIN_DAMAGED = 10
"""Damaged hits of a layer, for a fraction to mean something (docs/decisions/0023)."""


def timestamp_order_wrong(counts: FrameCounts) -> bool:
    """Whether the hits prove that the bytes of the FPGA's time stamp were read in the wrong order."""
    return counts.back >= MIN_STEPS_BACK and counts.back >= _CLEARER * counts.back_swapped


@check(
    AlarmLevel.CRITICAL,
    "set astep.timestamp_order to the other order; what is recorded is intact: apx convert --timestamp-order reads it",
    minimum_hits=MIN_HITS,
    in_a_row=1,
)
def timestamp_order(seen: CheckInput, limits: Mapping[str, float]) -> Sequence[CheckResult] | None:
    """FPGA time stamps that are read in the wrong byte order."""
    counts = seen.frames
    if counts.steps < MIN_HITS:
        return None
    if not timestamp_order_wrong(counts):
        return []
    order = seen.description.timestamp_order or "little"
    text = (
        f"{counts.back} of {counts.steps} time stamps are earlier than the one before in their layer, read as "
        f"{order} endian; as {_OTHER_ORDER[order]} endian {counts.back_swapped}"
    )
    return [CheckResult("", text, float(counts.back), float(MIN_STEPS_BACK))]


@check(
    AlarmLevel.WARNING,
    "leave these hits out; lower the rate (threshold, masks) or read fewer layers; report the fault upstream",
    limits=(
        Limit("warning", 0.005, "of a layer's hits", most=1.0),
        Limit("critical", 0.1, "of a layer's hits", most=1.0),
    ),
    minimum_hits=MIN_HITS,
    in_a_row=1,
)
def damaged_frames(seen: CheckInput, limits: Mapping[str, float]) -> Sequence[CheckResult] | None:
    """Hits whose last bytes the A-STEP firmware lost and replaced by idle bytes (3d)."""
    before = None if seen.before is None else seen.before.frames
    new, run = seen.frames.since(before), seen.frames
    if not run.hits.any():
        return None
    results = []
    for layer in np.flatnonzero(new.idle_ended).tolist():
        damaged, hits = max(
            ((int(counts.idle_ended[layer]), int(counts.hits[layer])) for counts in (new, run)),
            key=lambda each: (each[0] >= MIN_DAMAGED, each[0] / each[1]),
        )
        fraction = damaged / hits
        if damaged < MIN_DAMAGED or fraction <= limits["warning"]:
            continue
        level = AlarmLevel.CRITICAL if fraction > limits["critical"] else None
        text = f"layer {layer}: {damaged} of {hits} hits end in idle bytes ({fraction:.2%})"
        results.append(CheckResult(f"layer {layer}", text, fraction, limits["warning"], level))
    return results
