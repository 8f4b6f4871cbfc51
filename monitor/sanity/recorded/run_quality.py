"""What there is to say of a recorded run in numbers, beside what is wrong with it."""

import math
from typing import Self

import numpy as np
from pydantic import BaseModel, ConfigDict

from monitor.sanity.check import CheckInput
from monitor.sanity.checks.pixels_seen import slots_of
from monitor.sanity.checks.statistics import binned_quantiles
from monitor.sanity.checks.tot_checks import medians_us
from monitor.sanity.findings import Place
from protocol.ledger import Ledger, LedgerCounts
from protocol.text import counted


class _Model(BaseModel):
    model_config = ConfigDict(frozen=True)


class ChipQuality(_Model):
    """One chip. `pixels`: that had hits. `tot_median_us`: None where there are none."""

    layer: int | None
    chip: int
    hits: int
    pixels: int
    hits_hz: float | None
    tot_median_us: float | None


class RunQuality(_Model):
    """One run. `file`: the first one. `live_s`: by time stamps, gaps left out; 0, and no rates, where there are none.

    `ledger`: as `Ledger.to_dict`, of all files checked.
    """

    run: int | None
    file: str | None
    comment: str
    begin_ns: int | None
    live_s: float
    gaps: int
    readouts: int
    hits: int
    hits_hz: float | None
    tot_median_us: float | None
    chips: tuple[ChipQuality, ...]
    ledger: LedgerCounts

    @classmethod
    def of(cls, place: Place, seen: CheckInput, ledger: Ledger, readouts: int, hits: int) -> Self:
        """From the last look at a run, and what was decoded of it."""
        counts, live_s, record = seen.counts, seen.live_s, seen.record
        slots = slots_of(seen)
        medians = medians_us(counts, slots)
        whole = counts.tot.sum(axis=0, keepdims=True)
        return cls(
            run=place.run,
            file=place.file,
            comment="" if record is None else record.comment,
            begin_ns=seen.series.first_ns or None,
            live_s=live_s,
            gaps=0 if record is None else len(record.gaps),
            readouts=readouts,
            hits=hits,
            hits_hz=hits / live_s if live_s else None,
            tot_median_us=_number(float(binned_quantiles(whole, counts.binning.width_us, [0.5])[0, 0])),
            chips=tuple(
                ChipQuality(
                    layer=counts.place(slot).layer,
                    chip=counts.place(slot).chip,
                    hits=int(counts.chip_hits[slot]),
                    pixels=int(np.count_nonzero(counts.hit_map[slot])),
                    hits_hz=int(counts.chip_hits[slot]) / live_s if live_s else None,
                    tot_median_us=_number(median),
                )
                for slot, median in zip(slots.tolist(), medians.tolist(), strict=True)
            ),
            ledger=ledger.to_dict(),
        )

    def line(self) -> str:
        """One line for a person."""
        name = f"run {self.run}" if self.run is not None else self.file or "files"
        rate = "no time stamps" if self.hits_hz is None else f"{self.live_s:.0f} s live, {self.hits_hz:.4g} hits/s"
        silent = sum(not chip.hits for chip in self.chips)
        chips = counted(len(self.chips), "chip") + (f" ({silent} without hits)" if silent else "")
        tot = "" if self.tot_median_us is None else f", ToT median {self.tot_median_us:.4g} µs"
        gaps = f", {counted(self.gaps, 'gap')}" if self.gaps else ""
        return f"{name}: {counted(self.hits, 'hit')}, {rate}{gaps}, {chips}{tot}"


def _number(value: float) -> float | None:
    return value if math.isfinite(value) else None
