"""What each version of the chip makes of a particle: its hits, as a decoder should find them, and their bytes."""

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from daqd.errors import ConfigError
from protocol.astropix3_hit import AstroPix3Hit, AstroPix3LayerHit
from protocol.chips.chip_type import ChipType, chip_type
from protocol.hit import AstroPix4Hit, HitTable
from protocol.layer_hit import AstroPix4LayerHit, in_order

Numbers = npt.NDArray[np.int64]

_NOT_OF_THE_CHIP = ("readout_id", "timestamp", "decoding_order", "layer", "fpga_timestamp")


@dataclass(frozen=True)
class Particles:
    """Where and when particles hit: arrays (n,). `arrival_ns`: since the chips began to send."""

    arrival_ns: Numbers
    chip_id: Numbers
    row: Numbers
    column: Numbers
    tot_us: npt.NDArray[np.float64]


class EmulatedChips:
    """Chips of a type, whose hits follow from their layout; subclasses know more about theirs.

    `layered`: behind the A-STEP firmware, whose clocks may be others. `hits_each`: hits that a particle makes: its
    pixel's, or its row's and then its column's. `known`: the columns of a hit that the emulated board knows.
    """

    known: tuple[str, ...] = ()

    def __init__(self, kind: ChipType, layered: bool) -> None:
        self.kind = kind
        self.layered = layered
        self.hit_class = kind.hit_class(layered=False)
        self.layer_hit_class = kind.hit_class(layered=True)
        self.hits_each = 1 if kind.hits_name_pixels else 2
        if not self.known:
            self.known = tuple(name for name in self.hit_class.ATTRIBUTE_NAMES if name not in _NOT_OF_THE_CHIP)

    @property
    def hit_bytes(self) -> int:
        """Length of a hit."""
        return self.hit_class.LAYOUT.size_bytes

    def hits(self, particles: Particles, random: np.random.Generator) -> HitTable:
        """The hits of n particles, (n · `hits_each`,) in order, of `hit_class.DTYPE` with its `known` columns."""
        layout, each = self.hit_class.LAYOUT, self.hits_each
        n = len(particles.chip_id) * each
        values: dict[str, npt.ArrayLike] = {
            "chip_id": particles.chip_id.repeat(each),
            "payload": self.hit_class.PAYLOAD,
        }
        if self.kind.hits_name_pixels:
            values |= {"row": particles.row, "column": particles.column}
        else:
            location = np.stack([particles.row, particles.column], axis=1).ravel()
            values |= {"is_column": np.arange(n) % 2, "location": location}
        if self.kind.signals is not None:
            values |= self.kind.signals(particles.arrival_ns.repeat(each), particles.tot_us.repeat(each), random)
        else:
            drawn = {each.name: random.integers(0, 1 << each.width, n) for each in layout.fields}
            values = drawn | values
        return self.hit_class.table(layout.words(layout.encode(values)))

    def end_at_once(self, hits: HitTable, which: npt.NDArray[np.bool_]) -> None:
        """Give `which` of the `hits` no duration, where it is known how a hit gives its duration."""
        if self.kind.signals is None:
            return
        changed, layout = hits[which], self.hit_class.LAYOUT
        n = len(changed)
        for name, value in self.kind.signals(np.zeros(n, np.int64), np.zeros(n), np.random.default_rng(0)).items():
            changed[name] = value
        hits[which] = self.hit_class.table(layout.words(self.wire(changed)))

    def leave_chip(self, hits: HitTable, which: npt.NDArray[np.bool_]) -> None:
        """Move `which` of the `hits` to the first row that the chip does not have, as far as it can be named."""
        name = "row" if self.kind.hits_name_pixels else "location"
        beyond = self.kind.rows if self.kind.hits_name_pixels else max(self.kind.rows, self.kind.columns)
        hits[name][which] = min(beyond, (1 << self.hit_class.LAYOUT[name].width) - 1)

    def wire(self, hits: HitTable) -> npt.NDArray[np.uint8]:
        """Their bytes as the chips send them, shape (n, `hit_bytes`)."""
        layout = self.hit_class.LAYOUT
        return layout.encode({field.name: hits[field.name] for field in layout.fields})

    def in_frames(self, hits: HitTable) -> HitTable:
        """The same, of chips that are `layered`, as they should be found in frames: `layer_hit_class.DTYPE`.

        Layer and FPGA's time stamp are 0.
        """
        return self.layer_hit_class.table(self.layer_hit_class.LAYOUT.words(self.wire(hits)))

    def frame_bytes(self, hits: HitTable) -> npt.NDArray[np.uint8]:
        """Bytes of hits as they stand in layer frames, shape (n, `hit_bytes`)."""
        return in_order(self.wire(hits))


class AstroPix4Chips(EmulatedChips):
    """One hit a particle, with row and column."""

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

    def in_frames(self, hits: HitTable) -> HitTable:
        """All columns are the same."""
        table = np.zeros(len(hits), AstroPix3LayerHit.DTYPE)
        for name in self.known:
            table[name] = hits[name]
        return table


_CHIPS: dict[int, type[EmulatedChips]] = {3: AstroPix3Chips, 4: AstroPix4Chips}


def emulated_chips(version: int, layered: bool = False) -> EmulatedChips:
    """The chips of that version, `layered` behind the A-STEP firmware; `ConfigError` where there are none."""
    try:
        kind = chip_type(version)
    except ValueError:
        raise ConfigError([f"board.chip_version: there are no emulated chips of version {version}"]) from None
    return _CHIPS.get(version, EmulatedChips)(kind, layered)
