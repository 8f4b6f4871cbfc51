"""The emulated A-STEP firmware between the chips and the host: layers, frames, the readout FIFO."""

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Final

import numpy as np
import numpy.typing as npt

from daqd.emulator.hit_sources import FrameSource, SentFrames
from daqd.emulator.read_fifos import ReadFifo
from protocol.layer_scan import FrameLayout
from protocol.registers.astep_registers import MAX_LAYERS

STALE_BYTES: Final = 300
"""What the chips of a layer have to say after a reset; a flush takes it away."""

BROKEN_SIZE: Final = 0xFFFF_F13C
"""What the size register reads after packet mode was switched off and on with data in the FIFO."""

CHIP_IDLE: Final = 0x3D
"""An idle byte of the chips, bits in the order of the frames."""

Counts = npt.NDArray[np.int64]


@dataclass(frozen=True)
class LayerInputs:
    """What the registers say to the layers.

    `reading` (one per layer): the firmware clocks bytes out of the chips and looks for frames; `held`: the chips begin
    no new hit. `frame_s`: how long a frame takes over SPI.
    """

    reading: tuple[bool, ...]
    held: bool
    packet_mode: bool
    layout: FrameLayout
    frame_s: float

    @property
    def sending(self) -> npt.NDArray[np.bool_]:
        """Whether new hits of each layer reach the FIFO."""
        return np.array([reading and not self.held for reading in self.reading])


@dataclass(frozen=True)
class _Frame:
    """A frame on its way into the FIFO: complete at `due` if the firmware goes on reading, or never (None)."""

    data: bytes
    due: float | None

    @property
    def begun(self) -> int:
        """Bytes of it that are in the FIFO."""
        return len(self.data) // 2


class AstepReadout:
    """Takes frames from `source` into `fifo`.

    - In packet mode the host gets whole frames only. A frame that was begun and not finished counts in `size` all the
      same, while a read gives padding.
    - A layer that is stopped within a frame keeps it; a reset does not change that. The frame is completed with idle
      bytes as soon as the layer is read again: it looks valid, and is not.
    - A layer on hold that is still read finishes the frame it has begun, as soon as the FIFO has room for it.
    - Packet mode switched off and on with data in the FIFO breaks `size` (`BROKEN_SIZE`).
    - With `damage`, the firmware's own fault is modelled: bytes of a chip are lost while its frame waits for another
      layer's, or for room in the FIFO; the frame ends in as many idle bytes.

    Deviations: without `damage`, frames never wait for each other, and a frame that does not fit into the FIFO is lost
    as a whole and counted, as its pixel would lose it if SPI stopped in time. A frame under way counts in `size` with
    half of its bytes.

    `clock`: seconds, monotonic.
    """

    def __init__(self, source: FrameSource, fifo: ReadFifo, clock: Callable[[], float], damage: bool = False) -> None:
        self.source = source
        self.fifo = fifo
        self.damage = damage
        self.lost_hits = 0
        self.unread_hits = 0
        self.elapsed_s = 0.0
        self._clock = clock
        self.reset()

    def reset(self) -> None:
        """The state after the firmware was loaded."""
        self.stale = [STALE_BYTES] * MAX_LAYERS
        self._under_way: list[_Frame | None] = [None] * MAX_LAYERS
        self._waiting: list[bytes] = []
        self._arriving = b""
        self._sending_since: float | None = None
        self._size_is_broken = False
        self._frames, self._wrong = (np.zeros(MAX_LAYERS, np.int64) for _ in range(2))
        self.fifo.reset()

    @property
    def exhausted(self) -> bool:
        """Whether nothing will come any more, and everything that came was read."""
        return self.source.exhausted and not (self.fifo or self._arriving or self._waiting)

    @property
    def size(self) -> int:
        """What the size register reads: all bytes in the FIFO, also those of frames that are not complete."""
        if self._size_is_broken:
            return BROKEN_SIZE
        return len(self.fifo) + sum(frame.begun for frame in self._under_way if frame)

    def decoding(self, layer: int) -> bool:
        """Whether a layer is within a frame."""
        return self._under_way[layer] is not None

    def take_counts(self) -> tuple[Counts, Counts]:
        """Frames, and among them those of a wrong length, per layer, since the last call."""
        counts = self._frames, self._wrong
        self._frames, self._wrong = (np.zeros(MAX_LAYERS, np.int64) for _ in range(2))
        return counts

    def set_packet_mode(self, on: bool) -> None:
        """Packet mode is switched."""
        if on and self.fifo:
            self._size_is_broken = True

    def clocked(self, layer: int, length: int, *, listening: bool) -> None:
        """The host has clocked `length` bytes through the chips of a layer; `listening`: MISO is on."""
        # Two bytes come back for each that is sent.
        self.stale[layer] = max(0, self.stale[layer] - 2 * length)
        if length and listening:
            self._complete_with_idle(layer)

    def update(self, inputs: LayerInputs) -> None:
        """Take in what the layers sent since the last call, under `inputs`."""
        if self._arriving:
            self.fifo.put(self._arriving)
            self._arriving = b""
        self._finish_frames(inputs)
        sending = inputs.sending
        if not sending.any():
            self._sending_since = None
            return
        now = self._clock()
        if self._sending_since is not None:
            self.elapsed_s += now - self._sending_since
        self._sending_since = now
        self._send_stale(inputs)
        self._let_wait_no_longer()
        for frames in self.source.take(self.elapsed_s, self.fifo.room - 1, inputs.layout, len(self.fifo)):
            self._take(frames, inputs)

    def change(self, before: LayerInputs, after: LayerInputs) -> None:
        """The registers changed from `before`, up to which `update` was called, to `after`."""
        if self._sending_since is None and after.sending.any():
            self._sending_since = self._clock()
        stopped = before.sending & ~after.sending
        if stopped.any():
            self._begin_last_frames(stopped, before)
        for layer, frame in enumerate(self._under_way):
            if frame and frame.due is not None and not after.reading[layer]:
                self._under_way[layer] = replace(frame, due=None)

    def _begin_last_frames(self, stopped: npt.NDArray[np.bool_], inputs: LayerInputs) -> None:
        """What the chips are sending at this moment: the last frame of each layer that stops is not complete."""
        self.elapsed_s += inputs.frame_s
        for sent in self.source.take(self.elapsed_s, inputs.layout.frame_bytes, inputs.layout, len(self.fifo)):
            frames = self._only_read(sent, inputs)
            last = {int(layer): index for index, layer in enumerate(frames.layers) if stopped[layer]}
            whole = np.ones(len(frames), bool)
            for layer, index in last.items():
                if self._under_way[layer] is None:
                    whole[index] = False
                    self._under_way[layer] = _Frame(frames.piece(index), self._clock() + inputs.frame_s)
            self._count(frames)
            self._put(frames.only(whole), inputs)
        self._sending_since = None

    def _finish_frames(self, inputs: LayerInputs) -> None:
        now = self._clock()
        for layer, frame in enumerate(self._under_way):
            if frame is None or not inputs.reading[layer]:
                continue
            if frame.due is None:
                self._complete_with_idle(layer)
            elif frame.due <= now and len(frame.data) <= self.fifo.room:
                self.fifo.put(frame.data)
                self._under_way[layer] = None

    def _complete_with_idle(self, layer: int) -> None:
        frame = self._under_way[layer]
        if frame is not None and frame.due is None and len(frame.data) <= self.fifo.room:
            self.fifo.put(frame.data[: frame.begun].ljust(len(frame.data), bytes((CHIP_IDLE,))))
            self._under_way[layer] = None

    def _send_stale(self, inputs: LayerInputs) -> None:
        for layer in np.flatnonzero(inputs.sending).tolist():
            layout = inputs.layout
            if self.stale[layer] and self.fifo.room >= layout.frame_bytes:
                self.stale[layer] = 0
                self.fifo.put(bytes((layout.length, layer + 1, *[0x55] * (layout.length - 1))))

    def _take(self, frames: SentFrames, inputs: LayerInputs) -> None:
        frames = self._only_read(frames, inputs)
        if self.damage:
            frames = _damaged(frames, inputs)
        self._count(frames)
        self._put(frames, inputs)

    def _only_read(self, frames: SentFrames, inputs: LayerInputs) -> SentFrames:
        """Those of the layers that are read; the others' hits are never seen."""
        kept = inputs.sending[frames.layers]
        self.unread_hits += int(np.count_nonzero(~kept))
        return frames.only(kept)

    def _count(self, frames: SentFrames) -> None:
        for totals, counts in ((self._frames, frames.good), (self._frames, frames.wrong), (self._wrong, frames.wrong)):
            totals[: len(counts)] += np.array(counts, np.int64)

    def _put(self, frames: SentFrames, inputs: LayerInputs) -> None:
        fitting = int(np.searchsorted(frames.ends, self.fifo.room - len(self._arriving), side="right"))
        kept = self._keep_waiting(frames, fitting, inputs.layout) if self.damage else 0
        self.lost_hits += len(frames) - fitting - kept
        if not fitting:
            return
        data, self._arriving = self._arriving + frames.data[: int(frames.ends[fitting - 1])], b""
        if not inputs.packet_mode and not self.source.as_recorded:
            # Without packet mode, the last frame is still coming in while the host looks.
            half = inputs.layout.frame_bytes // 2
            data, self._arriving = data[:-half], data[-half:]
        self.fifo.put(data)

    def _keep_waiting(self, frames: SentFrames, fitting: int, layout: FrameLayout) -> int:
        """One frame of each layer waits for room in the FIFO, without all but its first byte; how many there are."""
        if self._waiting:
            return 0
        for layer in range(MAX_LAYERS):
            waiting = np.flatnonzero(frames.layers[fitting:] == layer)
            if len(waiting):
                frame = frames.piece(fitting + int(waiting[0]))
                self._waiting.append(_filled(frame, layout, layout.data_bytes - 1))
        return len(self._waiting)

    def _let_wait_no_longer(self) -> None:
        while self._waiting and self.fifo.room >= len(self._waiting[0]):
            self.fifo.put(self._waiting.pop(0))


def _filled(frame: bytes, layout: FrameLayout, lost: int) -> bytes:
    """A frame whose chip lost `lost` bytes behind the first: the others move up, idle bytes fill the end."""
    start = len(frame) - layout.timestamp_bits // 8 - layout.data_bytes
    hit, rest = frame[start : start + layout.data_bytes], frame[start + layout.data_bytes :]
    return frame[:start] + (hit[:1] + hit[1 + lost :]).ljust(layout.data_bytes, bytes((CHIP_IDLE,))) + rest


def _damaged(frames: SentFrames, inputs: LayerInputs) -> SentFrames:
    """The same frames with those filled up that waited for another layer's."""
    if frames.arrival_ns is None or len(frames) < 2:
        return frames
    layout, frame_ns = inputs.layout, inputs.frame_s * 1e9
    pieces = []
    busy_until, owner = 0.0, -1
    for index in range(len(frames)):
        piece = frames.piece(index)
        arrival, layer = int(frames.arrival_ns[index]), int(frames.layers[index])
        wait_ns = busy_until - arrival if layer != owner else 0.0
        if wait_ns > 0 and len(piece) == layout.frame_bytes:
            lost = min(layout.data_bytes - 1, int(wait_ns / frame_ns * layout.data_bytes) + 1)
            piece = _filled(piece, layout, lost)
        busy_until, owner = max(busy_until, float(arrival)) + frame_ns, layer
        pieces.append(piece)
    return replace(frames, data=b"".join(pieces))
