"""What each version of the chip makes of a particle: its hits, as a decoder should find them, and their bytes."""

from abc import ABC, abstractmethod
from dataclasses import dataclass
from typing import ClassVar

import numpy as np
import numpy.typing as npt

from daqd.errors import ConfigError
from protocol.astropix3_hit import AstroPix3Hit, AstroPix3LayerHit
from protocol.chips.chip_kind import ASTROPIX3, ASTROPIX4, ChipKind
from protocol.hit import AbstractAstroPixHit, AstroPix4Hit, HitTable
from protocol.layer_hit import AbstractLayerHit, AstroPix4LayerHit, in_order

Numbers = npt.NDArray[np.int64]


@dataclass(frozen=True)
class Particles:
    """Where and when particles hit: arrays (n,). `arrival_ns`: since the chips began to send."""

    arrival_ns: Numbers
    chip_id: Numbers
    row: Numbers
    column: Numbers
    tot_us: npt.NDArray[np.float64]


class EmulatedChips(ABC):
    """A version of the chip. `layered`: behind the A-STEP firmware, whose clocks are others.

    `hits_each`: hits that a particle makes. `tot_us`: usual time over threshold, mean and standard deviation. `known`:
    the columns of a hit that the emulated board knows.
    """

    kind: ClassVar[ChipKind]
    hit_class: ClassVar[type[AbstractAstroPixHit]]
    layer_hit_class: ClassVar[type[AbstractLayerHit]]
    hits_each: ClassVar[int]
    tot_us: ClassVar[tuple[float, float]]
    known: ClassVar[tuple[str, ...]]

    def __init__(self, layered: bool) -> None:
        self.layered = layered

    @property
    def hit_bytes(self) -> int:
        """Length of a hit."""
        return self.hit_class.LAYOUT.size_bytes

    @abstractmethod
    def hits(self, particles: Particles, random: np.random.Generator) -> HitTable:
        """The hits of n particles, (n · `hits_each`,) in order, of `hit_class.DTYPE` with its `known` columns."""

    @abstractmethod
    def end_at_once(self, hits: HitTable, which: npt.NDArray[np.bool_]) -> None:
        """Give `which` of the `hits` no duration."""

    @abstractmethod
    def leave_chip(self, hits: HitTable, which: npt.NDArray[np.bool_]) -> None:
        """Move `which` of the `hits` to the first row that the chip does not have."""

    @abstractmethod
    def wire(self, hits: HitTable) -> npt.NDArray[np.uint8]:
        """Their bytes as the chips send them, shape (n, `hit_bytes`)."""

    @abstractmethod
    def in_frames(self, hits: HitTable) -> HitTable:
        """The same, of chips that are `layered`, as they should be found in frames: `layer_hit_class.DTYPE`.

        Layer and FPGA's time stamp are 0.
        """

    def frame_bytes(self, hits: HitTable) -> npt.NDArray[np.uint8]:
        """Bytes of hits as they stand in layer frames, shape (n, `hit_bytes`)."""
        return in_order(self.wire(hits))


class AstroPix4Chips(EmulatedChips):
    """One hit a particle, with row and column."""

    kind = ASTROPIX4
    hit_class = AstroPix4Hit
    layer_hit_class = AstroPix4LayerHit
    hits_each = 1
    tot_us = (235.0, 20.0)
    known = ("chip_id", "payload", "row", "column", "ts_neg1", "ts_neg2", "ts_dec1", "ts_dec2", "tot_us")

    def hits(self, particles: Particles, random: np.random.Generator) -> HitTable:
        """Edges in counts of 50 ns."""
        rollover = AstroPix4Hit.CLOCK_ROLLOVER
        tot = np.clip(np.rint(particles.tot_us * AstroPix4Hit.CLOCK_CYCLES_PER_US), 1, rollover - 1).astype(np.int64)
        edges = random.integers(0, 4, len(tot), np.uint8)
        hits = np.zeros(len(tot), AstroPix4Hit.DTYPE)
        for name in ("chip_id", "row", "column"):
            hits[name] = getattr(particles, name)
        hits["payload"] = AstroPix4Hit.PAYLOAD
        hits["ts_neg1"], hits["ts_neg2"] = edges & np.uint8(1), edges >> np.uint8(1)
        leading = particles.arrival_ns // 50 % rollover
        hits["ts_dec1"], hits["ts_dec2"] = leading, leading + tot
        hits["tot_us"] = tot / AstroPix4Hit.CLOCK_CYCLES_PER_US
        return hits

    def end_at_once(self, hits: HitTable, which: npt.NDArray[np.bool_]) -> None:
        """The second edge is where the first is."""
        for first, second in (("ts_dec1", "ts_dec2"), ("ts_neg1", "ts_neg2")):
            hits[second][which] = hits[first][which]
        hits["tot_us"][which] = 0.0

    def leave_chip(self, hits: HitTable, which: npt.NDArray[np.bool_]) -> None:
        """There are bits for 32 rows."""
        hits["row"][which] = self.kind.rows

    def wire(self, hits: HitTable) -> npt.NDArray[np.uint8]:
        """The lowest bit of an edge in 25 ns has its own field."""
        return AstroPix4Hit.encode(
            *(hits[name] for name in ("chip_id", "row", "column", "ts_dec1", "ts_dec2")),
            ts_neg1=hits["ts_neg1"],
            ts_neg2=hits["ts_neg2"],
        )

    def in_frames(self, hits: HitTable) -> HitTable:
        """Edges in counts of 25 ns."""
        table = np.zeros(len(hits), AstroPix4LayerHit.DTYPE)
        for name in ("chip_id", "payload", "row", "column", "ts_neg1", "ts_neg2"):
            table[name] = hits[name]
        table["ts_dec1"] = hits["ts_dec1"] * 2 + hits["ts_neg1"]
        table["ts_dec2"] = hits["ts_dec2"] * 2 + hits["ts_neg2"]
        tot = table["ts_dec2"].astype(np.int64) - table["ts_dec1"]
        table["tot_us"] = tot / AstroPix4LayerHit.CLOCK_CYCLES_PER_US
        return table


class AstroPix3Chips(EmulatedChips):
    """Two hits a particle: its row's, then its column's, a little shorter and at most one tick earlier.

    What sets the pace of the chip's time stamp is not known to us; here a tick has 400 ns.
    """

    kind = ASTROPIX3
    hit_class = AstroPix3Hit
    layer_hit_class = AstroPix3LayerHit
    hits_each = 2
    tot_us = (10.0, 1.0)
    known = ("chip_id", "payload", "is_column", "location", "chip_timestamp", "tot_msb", "tot_lsb", "tot_dec", "tot_us")

    TICK_NS = 400
    LONGEST = (1 << 12) - 1
    LONGER_ROW = (6, 15)
    """By how many counts the row's time over threshold is longer, both included."""

    def hits(self, particles: Particles, random: np.random.Generator) -> HitTable:
        """Time over threshold in counts of 5 ns, or of 10 ns behind the A-STEP firmware."""
        per_us = (AstroPix3LayerHit if self.layered else AstroPix3Hit).COUNTS_PER_US
        longest = self.LONGEST - self.LONGER_ROW[1]
        column_tot = np.clip(np.rint(particles.tot_us * per_us), 1, longest).astype(np.int64)
        n = len(column_tot)
        row_tot = column_tot + random.integers(self.LONGER_ROW[0], self.LONGER_ROW[1] + 1, n)
        row_tick = particles.arrival_ns // self.TICK_NS
        column_tick = row_tick - random.integers(0, 2, n)
        hits = np.zeros((n, 2), AstroPix3Hit.DTYPE)
        hits["chip_id"] = particles.chip_id[:, None]
        hits["payload"] = AstroPix3Hit.PAYLOAD
        hits["is_column"] = (0, 1)
        hits["location"] = np.stack([particles.row, particles.column], axis=1)
        hits["chip_timestamp"] = np.stack([row_tick, column_tick], axis=1) % 256
        tot = np.stack([row_tot, column_tot], axis=1)
        hits["tot_dec"], hits["tot_msb"], hits["tot_lsb"] = tot, tot >> 8, tot & 0xFF
        hits["tot_us"] = tot / per_us
        return hits.reshape(-1)

    def end_at_once(self, hits: HitTable, which: npt.NDArray[np.bool_]) -> None:
        """The counter stays at 0."""
        for name in ("tot_dec", "tot_msb", "tot_lsb", "tot_us"):
            hits[name][which] = 0

    def leave_chip(self, hits: HitTable, which: npt.NDArray[np.bool_]) -> None:
        """Or column, as many as there are rows: there are bits for 64."""
        hits["location"][which] = self.kind.rows

    def wire(self, hits: HitTable) -> npt.NDArray[np.uint8]:
        """Unused bits are 0."""
        names = ("chip_id", "is_column", "location", "chip_timestamp", "tot_dec")
        return AstroPix3Hit.encode(*(hits[name] for name in names))

    def in_frames(self, hits: HitTable) -> HitTable:
        """All columns are the same."""
        table = np.zeros(len(hits), AstroPix3LayerHit.DTYPE)
        for name in self.known:
            table[name] = hits[name]
        return table


_CHIPS = {chips.kind.version: chips for chips in (AstroPix3Chips, AstroPix4Chips)}


def emulated_chips(version: int, layered: bool = False) -> EmulatedChips:
    """The chips of that version, `layered` behind the A-STEP firmware; `ConfigError` where there are none."""
    try:
        return _CHIPS[version](layered)
    except KeyError:
        raise ConfigError([f"board.chip_version: there are no emulated chips of version {version}"]) from None
