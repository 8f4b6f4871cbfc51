"""Inputs of checks made by hand."""

from dataclasses import replace
from typing import Any

import numpy as np

from monitor.detector import ChipPlace, Geometry, HitKind
from monitor.receiving.reader import StreamCounters
from monitor.sanity.check import CheckInput, HitCounts
from monitor.state.sorted_hits import TotBinning
from monitor.state.time_series import RunSeries
from protocol.hit import HIT_DTYPE

T0_NS = 1_700_000_000_000_000_000


def made_counts(chips: int = 1, kind: HitKind | None = None, **values: Any) -> HitCounts:
    """Counts of a detector without hits, but for `values`."""
    kind = kind or HitKind()
    binning = TotBinning.usual(kind)
    empty = {
        "hit_map": np.zeros((chips, kind.chip.rows, kind.chip.columns), np.int64),
        "tot": np.zeros((chips, binning.bins + 1), np.int64),
        "chip_hits": np.zeros(chips, np.int64),
        "hits_per_readout": np.zeros(513, np.int64),
    }
    numbers = dict.fromkeys(("hits", "readouts", "outside", "tot_invalid", "unpaired"), 0)
    return HitCounts(Geometry(chips), kind, binning, **(empty | numbers | values))


def of_map(hit_map: np.ndarray, kind: HitKind | None = None) -> HitCounts:
    """Counts of which the map is known."""
    chip_hits = hit_map.sum(axis=(1, 2))
    return made_counts(len(hit_map), kind, hit_map=hit_map, chip_hits=chip_hits, hits=int(hit_map.sum()))


def made_input(counts: HitCounts | None = None, live_s: float = 10.0, **values: Any) -> CheckInput:
    """A look at that; `before`: what was there at the look before, if any."""
    counts = counts or made_counts()
    seen = CheckInput(
        now_ns=T0_NS,
        live_s=live_s,
        stat_age_s=0.5,
        hits_age_s=0.5,
        daq="bench",
        run=1,
        pass_=0,
        ended=False,
        epoch=1,
        record=None,
        chips=tuple(ChipPlace(None, chip) for chip in range(len(counts.hit_map))),
        counts=counts,
        recent=counts,
        series=RunSeries(),
        hits=np.zeros(0, HIT_DTYPE),
        ledger=None,
        stat=None,
        counters=StreamCounters(),
    )
    return replace(seen, **values)
