"""The emulated A-STEP board's own hits: the sequence of `HitGenerator`, spread over layers and put into frames."""

import sys
from collections.abc import Iterator

import numpy as np
import numpy.typing as npt

from daqd.configuration.config import EmulatorSection
from daqd.emulator.astep_register_file import TIMESTAMP_START
from daqd.emulator.emulated_chips import emulated_chips
from daqd.emulator.hit_generator import GeneratedHits, HitGenerator
from daqd.emulator.hit_sources import FrameSource, SentFrames
from protocol.hit import HitTable
from protocol.layer_frames import encode_frames
from protocol.layer_scan import FrameLayout
from protocol.registers.astep_setup import TIMESTAMP_HZ
from protocol.units import NS_PER_S

NS_PER_TICK = NS_PER_S // TIMESTAMP_HZ
"""Of the FPGA's time stamp, as the daemon sets it up."""

FIRST_LAYER_ID = 1
"""The firmware numbers its layers from 1 in frames."""

_MAX_PADDING = 8


class SeededFrames(FrameSource):
    """The hits of a seed as frames, `settings.hits_limit` of them (0: without end), in order of arrival.

    `chips` in each of `layers`. At a rate, a hit comes when its time has; at "max", as many as there is room for. What
    goes wrong is drawn apart from the hits: frames cut, bytes lost, padding, and `garbage`, of which the firmware drops
    the frames.
    """

    def __init__(self, settings: EmulatorSection, chips: int, layers: int, version: int = 4) -> None:
        self.chip_version = version
        self._settings = settings
        self._chips = chips
        self._layers = layers
        self._emulated = emulated_chips(version, layered=True)
        self.hit_bytes = self._emulated.hit_bytes
        self._saturated = settings.rate_hz == "max"
        self._batches = self._generate()
        self._random = np.random.default_rng([settings.seed, 3])
        self._misbehaves = any(settings.misbehave.model_dump().values())
        self._batch: GeneratedHits | None = next(self._batches, None)
        self._position = 0
        self.hits_sent = 0

    def _generate(self) -> Iterator[GeneratedHits]:
        return HitGenerator(self._settings, self._chips, self.chip_version, self._layers).batches()

    @property
    def exhausted(self) -> bool:
        """Whether the last hit of the limit was sent."""
        return self._batch is None

    @property
    def counters(self) -> dict[str, int]:
        """Hits sent."""
        return {"emulator_hits": self.hits_sent}

    def take(self, elapsed_s: float, room: int, layout: FrameLayout, waiting: int = 0) -> Iterator[SentFrames]:
        """The frames that are due; at "max", those that `room` bytes hold."""
        now_ns = sys.maxsize if self._saturated else int(elapsed_s * 1e9)
        most_bytes = layout.frame_bytes * (3 if self._misbehaves else 1)
        left = room // most_bytes if self._saturated else sys.maxsize
        while self._batch is not None and left > 0:
            arrival_ns = self._batch.arrival_ns
            stop = min(int(np.searchsorted(arrival_ns, now_ns, side="right")), self._position + left)
            if stop <= self._position:
                return
            yield self._frames(self._batch, slice(self._position, stop), layout)
            left -= stop - self._position
            self.hits_sent += stop - self._position
            self._position = stop
            if stop == len(arrival_ns):
                self._batch, self._position = next(self._batches, None), 0

    def _frames(self, batch: GeneratedHits, part: slice, layout: FrameLayout) -> SentFrames:
        table, hits = self._table(batch, part), batch.hits[part].copy()
        hits["chip_id"] = table["chip_id"]
        frames = encode_frames(self._emulated.frame_bytes(hits), table["layer"], table["fpga_timestamp"], layout)
        layers = table["layer"].astype(np.int64) - FIRST_LAYER_ID
        if self._misbehaves:
            return self._spoilt(frames, layers)
        ends = np.arange(1, len(frames) + 1) * layout.frame_bytes
        none = (0,) * self._layers
        return SentFrames(frames.tobytes(), ends, layers, self._per_layer(layers), none, batch.arrival_ns[part])

    def _spoilt(self, frames: npt.NDArray[np.uint8], layers: npt.NDArray[np.int64]) -> SentFrames:
        random, chance = self._random, self._settings.misbehave
        pieces, wrong = [], [0] * self._layers
        for frame, layer in zip(frames, layers.tolist(), strict=True):
            cut, lost, garbage, padding = (
                random.random() < each for each in (chance.cut_hits, chance.lost_bytes, chance.garbage, chance.padding)
            )
            data = frame.tobytes()
            if cut:
                data = data[: int(random.integers(1, len(data)))]
            if lost:
                position = int(random.integers(len(data)))
                data = data[:position] + data[position + 1 :]
            if garbage:
                # The firmware takes it for a frame of a wrong length, drops it, and counts it.
                wrong[layer] += 1
            if padding:
                data = b"\xff" * int(random.integers(1, _MAX_PADDING + 1)) + data
            pieces.append(data)
        ends = np.cumsum([len(piece) for piece in pieces])
        return SentFrames(b"".join(pieces), ends, layers, self._per_layer(layers), tuple(wrong))

    def _per_layer(self, layers: npt.NDArray[np.int64]) -> tuple[int, ...]:
        return tuple(np.bincount(layers, minlength=self._layers).tolist())

    def _table(self, batch: GeneratedHits, part: slice) -> HitTable:
        """The hits as a decoder should find them, without the columns that the readout gives."""
        table = self._emulated.in_frames(batch.hits[part])
        chip = table["chip_id"].copy()
        table["chip_id"] = chip % self._chips
        table["layer"] = chip // self._chips + FIRST_LAYER_ID
        table["fpga_timestamp"] = (batch.arrival_ns[part] // NS_PER_TICK).astype(np.uint64) | np.uint64(TIMESTAMP_START)
        return table

    def expected_hits(self, hits: int) -> HitTable:
        """The first `hits` of the sequence (fewer if the limit is lower), sent already or not; shape (n,).

        Columns of layer frames, without those that the readout and the raw fields give; the time stamp uncut.
        """
        tables = [np.zeros(0, self._emulated.layer_hit_class.DTYPE)]
        for batch in self._generate():
            tables.append(self._table(batch, slice(0, hits)))
            hits -= len(tables[-1])
            if hits <= 0:
                break
        return np.concatenate(tables)
