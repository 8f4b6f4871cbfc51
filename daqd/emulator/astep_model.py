"""The A-STEP firmware and its chips as seen through the link: registers, FIFOs, counters."""

import time
from collections.abc import Callable
from dataclasses import replace
from typing import Final

import numpy as np
import numpy.typing as npt

from daqd.emulator.astep_ports import ChipPorts, MosiFifo, PatternGenerator
from daqd.emulator.astep_register_file import AstepRegisterFile
from daqd.emulator.board_model import BoardModel
from daqd.emulator.frame_source import FrameSource, SentFrames
from daqd.emulator.gecco_ports import CardRegisters
from daqd.emulator.read_fifo import ReadFifo
from daqd.emulator.seeded_frames import NS_PER_TICK
from protocol.layer_scan import FrameLayout
from protocol.readout_description import TimestampBits, TimestampOrder
from protocol.registers.astep import RegisterRead, RegisterWrite, RequestParser
from protocol.registers.astep_register_map import NEWEST_MAP, RegisterMap
from protocol.registers.astep_registers import (
    LAYER_CTRL,
    LAYER_MOSI,
    LAYER_MOSI_SIZE,
    LAYER_STATUS,
    MAX_LAYERS,
    LayerCtrl,
    LayerStatus,
    ReadoutCtrl,
    Register,
    TimestampCtrl,
)

FIRMWARE_ID: Final = 0xAC03
FIRMWARE_VERSION: Final = 26012701
_FRAMES: Final = (Register.LAYER_0_FRAMES, Register.LAYER_1_FRAMES, Register.LAYER_2_FRAMES)
_IDLES: Final = (Register.LAYER_0_IDLES, Register.LAYER_1_IDLES, Register.LAYER_2_IDLES)
_WRONG: Final = (Register.LAYER_0_WRONG_LENGTH, Register.LAYER_1_WRONG_LENGTH, Register.LAYER_2_WRONG_LENGTH)
_NOT_SENDING = int(LayerCtrl.RESET | LayerCtrl.DISABLE_AUTOREAD | LayerCtrl.DISABLE_MISO)
_HELD = int(LayerCtrl.HOLD | LayerCtrl.RESET)

_STALE_BYTES: Final = 300
"""What the chips of a layer have to say after a reset, before anybody asked; a flush takes it away."""

AnswerFilter = Callable[[RegisterRead, bytes], bytes]


class AstepModel(BoardModel):
    """Answers the register protocol as the firmware does; `exchange` is all there is to its link.

    A layer sends nothing before the version of its chips and the clocks are set and it is released, selected and read;
    what it has to say then is up to `source`. After a reset the chips hold old data: who does not flush them finds it
    in the readout.

    `fifo_bytes`: capacity of the readout FIFO. A frame that does not fit is lost as a whole, and counted: the real
    firmware stops SPI then, and the pixels lose hits. Without packet mode the last frame comes in two parts. `order`:
    that of the bytes of the time stamp, which differs between firmware versions. `firmware_id`: another firmware, for
    tests. `clock`: seconds, monotonic. `record`: let the FIFO remember all it was given. `answer_filter`: may be set to
    a function that replaces the answer to a read by another, shorter, or empty one.
    """

    def __init__(
        self,
        source: FrameSource,
        fifo_bytes: int = 65536,
        clock: Callable[[], float] = time.monotonic,
        record: bool = False,
        order: TimestampOrder = "little",
        firmware_id: int = FIRMWARE_ID,
    ) -> None:
        self.source = source
        self.fifo = ReadFifo(fifo_bytes, record)
        self.answer_filter: AnswerFilter | None = None
        self.lost_hits = 0
        self.unread_hits = 0
        self._order: TimestampOrder = order
        self._firmware_id = firmware_id
        self._clock = clock
        self._elapsed_s = 0.0
        self.power_up()

    def power_up(self) -> None:
        """The state after power was switched on: nothing configured, FIFOs empty. What the chips see goes on."""
        self._parser = RequestParser()
        self._values = AstepRegisterFile(NEWEST_MAP, self._firmware_id, FIRMWARE_VERSION)
        self.chips = ChipPorts()
        self.cards = CardRegisters()
        self.injection = PatternGenerator()
        self.mosi = [MosiFifo() for _ in range(MAX_LAYERS)]
        self._stale = [_STALE_BYTES] * MAX_LAYERS
        self._arriving = b""
        self._sending_since: float | None = None
        self._drained_at = self._clock()
        self.fifo.reset()

    @property
    def registers(self) -> RegisterMap:
        """Where the firmware keeps its registers."""
        return self._values.map

    @property
    def layout(self) -> FrameLayout:
        """Of the frames, as it is set up now."""
        widths: tuple[TimestampBits, ...] = (16, 32, 48, 64)
        width = widths[self._values[Register.TIMESTAMP_CTRL] >> 4 & 3]
        return FrameLayout(width, self._order, self.source.hit_bytes)

    def sending(self, layer: int) -> bool:
        """Whether what the chips of a layer have to say reaches the FIFO."""
        first = self._values[LAYER_CTRL[0]]
        selected = any(self._values[register] & LayerCtrl.CHIP_SELECT for register in LAYER_CTRL)
        ready = self._values.clocks_on and self._values.chip_version == self.source.chip_version
        return bool(ready and selected and not first & _HELD and not self._values[LAYER_CTRL[layer]] & _NOT_SENDING)

    @property
    def exhausted(self) -> bool:
        """Whether the source has nothing more to say and everything it said was read."""
        return self.source.exhausted and not self.fifo and not self._arriving

    @property
    def counters(self) -> dict[str, int]:
        """What the board's designer would like to know, and a real board does not tell."""
        return {
            **self.source.counters,
            "emulator_lost_hits": self.lost_hits,
            "emulator_unread_hits": self.unread_hits,
            "emulator_discarded_bytes": self.fifo.discarded_bytes,
            "emulator_unknown_bytes": self._parser.skipped_bytes,
        }

    def exchange(self, data: bytes) -> bytes:
        """Act on `data` from the host, in any pieces; returns the answers to the reads that it completed."""
        answers = []
        for request in self._parser.feed(data):
            self._drain_mosi()
            self._let_chips_send()
            if isinstance(request, RegisterWrite):
                self._write(request)
            else:
                answer = self._read(request)
                named = self._named(request)
                answers.append(self.answer_filter(named, answer) if self.answer_filter else answer)
        return b"".join(answers)

    def _named(self, request: RegisterRead) -> RegisterRead:
        """The request with its register's name, where there is a register at its address."""
        register = self.registers.at(self.registers.address(request.register))
        return request if register is None else replace(request, register=register)

    def _drain_mosi(self) -> None:
        now = self._clock()
        clocked = int((now - self._drained_at) * 40e6 / (2 * (self._values[Register.SPI_DIVIDER] + 1)) / 8)
        if clocked:
            self._drained_at = now
        for layer, fifo in enumerate(self.mosi):
            control = self._values[LAYER_CTRL[layer]]
            sent = fifo.drain(clocked, selected=bool(control & LayerCtrl.CHIP_SELECT))
            # Two bytes come back for each that is sent.
            self._stale[layer] = max(0, self._stale[layer] - 2 * sent)

    def _let_chips_send(self) -> None:
        if self._arriving:
            self.fifo.put(self._arriving)
            self._arriving = b""
        on = np.array([self.sending(layer) for layer in range(MAX_LAYERS)])
        if not on.any():
            self._sending_since = None
            return
        now = self._clock()
        if self._sending_since is not None:
            self._elapsed_s += now - self._sending_since
        self._sending_since = now
        self._send_stale(on)
        for frames in self.source.take(self._elapsed_s, self.fifo.room - 1, self.layout, len(self.fifo)):
            self._send(frames, on)

    def _send_stale(self, on: npt.NDArray[np.bool_]) -> None:
        for layer in np.flatnonzero(on).tolist():
            if self._stale[layer]:
                self._stale[layer] = 0
                self.fifo.put(bytes((self.layout.length, layer + 1, 0x55, 0x55, 0x55)))

    def _send(self, frames: SentFrames, on: npt.NDArray[np.bool_]) -> None:
        if not on[frames.layers].all():
            frames = self._only_of(frames, on)
        fitting = int(np.searchsorted(frames.ends, self.fifo.room - len(self._arriving), side="right"))
        self.lost_hits += len(frames) - fitting
        good, wrong = (np.array([*counts, *[0] * (MAX_LAYERS - len(counts))]) for counts in (frames.good, frames.wrong))
        self._count(_FRAMES, good + wrong)
        self._count(_IDLES, good * self._values[Register.NODATA_CONTINUE])
        self._count(_WRONG, wrong)
        if not fitting:
            return
        data, self._arriving = self._arriving + frames.data[: int(frames.ends[fitting - 1])], b""
        if not self._values[Register.READOUT_CTRL] & ReadoutCtrl.PACKET_MODE:
            # Without packet mode, the last frame is still coming in while the host looks.
            data, self._arriving = data[: -self.layout.frame_bytes // 2], data[-self.layout.frame_bytes // 2 :]
        self.fifo.put(data)

    def _only_of(self, frames: SentFrames, on: npt.NDArray[np.bool_]) -> SentFrames:
        """Those of the layers that are read; the others' hits are never seen."""
        kept = on[frames.layers]
        self.unread_hits += int(np.count_nonzero(~kept))
        starts = np.concatenate(([0], frames.ends[:-1]))
        pieces = [frames.data[starts[index] : frames.ends[index]] for index in np.flatnonzero(kept).tolist()]
        ends = np.cumsum([len(piece) for piece in pieces], dtype=np.int64)
        good = tuple(count if read else 0 for count, read in zip(frames.good, on.tolist(), strict=False))
        return SentFrames(b"".join(pieces), ends, frames.layers[kept], good, frames.wrong)

    def _count(self, counters: tuple[Register, ...], counts: npt.NDArray[np.int64]) -> None:
        for register, count in zip(counters, counts.tolist(), strict=True):
            self._values[register] = (self._values[register] + count) & 0xFFFF_FFFF

    def _write(self, request: RegisterWrite) -> None:
        address, data = self.registers.address(request.register), request.data
        if request.increment:
            for offset, value in enumerate(data):
                self._write_one(address + offset, bytes((value,)))
        elif data:
            self._write_one(address, data)

    def _write_one(self, address: int, data: bytes) -> None:
        """Bytes to one address, one after the other."""
        register = self.registers.at(address)
        if register in LAYER_MOSI:
            self.mosi[LAYER_MOSI.index(register)].write(data)
        elif register == Register.SHIFT_REGISTER:
            self.chips.write(data)
        elif register == Register.CARDS:
            self.cards.write(data)
        elif register in LAYER_CTRL:
            for value in data:
                self._control(LAYER_CTRL.index(register), value)
        else:
            self._values.write(address, data[-1])
            if register is not None:
                self.injection.write(register, data)

    def _control(self, layer: int, value: int) -> None:
        self._values[LAYER_CTRL[layer]] = value
        if not value & LayerCtrl.CHIP_SELECT:
            self.mosi[layer].deselect()
        if layer == 0 and value & LayerCtrl.RESET:
            self.chips.reset()
            self._stale = [_STALE_BYTES] * MAX_LAYERS
        if self._sending_since is None and any(map(self.sending, range(MAX_LAYERS))):
            self._sending_since = self._clock()

    def _read(self, request: RegisterRead) -> bytes:
        address, length = self.registers.address(request.register), request.length
        if self.registers.at(address) == Register.READOUT and not request.increment:
            return self.fifo.read(length)
        self._refresh()
        return self._values.read(address, length, increment=request.increment)

    def _refresh(self) -> None:
        """Registers that change by themselves."""
        self._values[Register.READOUT_SIZE] = len(self.fifo)
        if self._values[Register.TIMESTAMP_CTRL] & TimestampCtrl.ENABLE:
            self._values[Register.TIMESTAMP_COUNTER] = int(self._elapsed_s * 1e9) // NS_PER_TICK
        for layer in range(MAX_LAYERS):
            self._values[LAYER_MOSI_SIZE[layer]] = len(self.mosi[layer])
            self._values[LAYER_STATUS[layer]] = 0 if self._stale[layer] else int(LayerStatus.INTERRUPT_N)
