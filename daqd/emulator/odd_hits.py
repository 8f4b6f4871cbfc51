"""Hits that the emulated chips send whole, and that no chip in order would send."""

from dataclasses import replace

import numpy as np

from daqd.configuration.config import MisbehaveSection
from daqd.emulator.emulated_chips import EmulatedChips
from daqd.emulator.hit_generator import HitBatch


class OddHits:
    """Spoils some hits of each batch, drawn apart from everything else: it changes no other hit.

    `hits` and `wire` of a batch are then what the board sends, and what a decoder should find.
    """

    def __init__(self, seed: int, misbehave: MisbehaveSection, chips: EmulatedChips) -> None:
        self._random = np.random.default_rng([seed, 4])
        self._misbehave = misbehave
        self._chips = chips

    def spoil(self, batch: HitBatch) -> HitBatch:
        """`batch`, which follows the batch of the call before."""
        chance = self._misbehave
        if not (chance.tot_zero or chance.wrong_rows):
            return batch
        short, outside = (self._random.random(len(batch)) < each for each in (chance.tot_zero, chance.wrong_rows))
        hits = batch.hits.copy()
        self._chips.end_at_once(hits, short)
        self._chips.leave_chip(hits, outside)
        return replace(batch, hits=hits, wire=self._chips.wire(hits))
