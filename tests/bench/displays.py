"""What displays are drawn from: filling it, and reading it."""

from collections.abc import Iterator

import numpy as np

from monitor.continuity import RunPass, RunTracker, SequenceStep
from monitor.events import HitBatch
from monitor.state.detector_state import DetectorState
from monitor.state.time_series import SPANS
from protocol.hit import HIT_DTYPE, HitTable
from protocol.units import NS_PER_S
from protocol.wire.messages import Header
from tests.bench.figures import Effort, Figure

_BEGIN_NS = 1_700_000_000 * NS_PER_S
_HITS_A_READOUT = 8


def displays(effort: Effort) -> Iterator[Figure]:
    """Hits of 31 chips in messages of different sizes, at different rates of the detector."""
    for size, rate_hz in ((8192, 100_000), (8192, 1000), (500, 100_000), (5, 1000)):
        batches = list(make_batches(effort.size(max(1_000_000 // size, 100), 3) if size > 5 else 1000, size, rate_hz))
        hits = sum(len(batch.hits) for batch in batches)
        seconds = effort.median_s(lambda: fill(batches))  # noqa: B023 - used up at once
        yield Figure(
            f"filling displays, {size} hits a message, {rate_hz} a second",
            {"Mhits/s": hits / seconds / 1e6, "µs a message": seconds / len(batches) * 1e6},
            "≥ 5 Mhits/s" if size == 8192 else "",
        )
    state = fill(make_batches(20, 8192, 10))
    for span in SPANS:
        seconds = effort.median_s(lambda: state.series.hit_rate(span))  # noqa: B023 - used up at once
        yield Figure(f"reading a rate over {span}", {"µs": 1e6 * seconds})


def make_batches(number: int, size: int, rate_hz: int) -> Iterator[HitBatch]:
    """Messages of one run, each of `size` hits."""
    random = np.random.default_rng(1)
    hits = np.zeros(size, HIT_DTYPE)
    hits["chip_id"], hits["row"], hits["column"] = (random.integers(0, top, size) for top in (31, 13, 16))
    hits["tot_us"] = random.normal(235.0, 20.0, size).clip(0)
    tracker, key = RunTracker(), RunPass("bench", 1, 0)
    for message in range(number):
        batch: HitTable = hits.copy()
        numbers = message * size + np.arange(size)
        batch["readout_id"] = numbers // _HITS_A_READOUT
        batch["timestamp"] = _BEGIN_NS + batch["readout_id"].astype(np.uint64) * (_HITS_A_READOUT * NS_PER_S // rate_hz)
        readouts = (int(batch["readout_id"][0]), int(batch["readout_id"][-1]))
        header = Header(daq="bench", pub=1, seq=message, t=_BEGIN_NS, run=1, n=size, readouts=readouts)
        yield HitBatch(header, SequenceStep(), tracker.hits(key, *readouts, batch))


def fill(batches: Iterator[HitBatch] | list[HitBatch]) -> DetectorState:
    """What is to be displayed after these."""
    state = DetectorState()
    for batch in batches:
        state.feed(batch)
    return state
