"""The A-STEP firmware and its chips as seen through the link: registers, FIFOs, counters."""

import time
from collections.abc import Callable
from typing import Final

from daqd.emulator.astep_host_port import HostPort, RegisterBus
from daqd.emulator.astep_ports import ChipPorts, MosiFifo, PatternGenerator, Readback
from daqd.emulator.astep_readout import STALE_BYTES, AstepReadout, LayerInputs
from daqd.emulator.astep_register_file import AstepRegisterFile
from daqd.emulator.board_model import BoardModel
from daqd.emulator.gecco_ports import CardRegisters
from daqd.emulator.hit_sources import FrameSource
from daqd.emulator.read_fifos import ReadFifo
from protocol.chips.chip_type import chip_type
from protocol.layer_scan import FrameLayout
from protocol.readout_description import TimestampBits
from protocol.registers.astep import RegisterRead
from protocol.registers.astep_firmware import Firmware
from protocol.registers.astep_register_map import RegisterMap
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
)

NEWEST_FIRMWARE: Final = Firmware(0xAC03, 26012701)
_FRAMES: Final = (Register.LAYER_0_FRAMES, Register.LAYER_1_FRAMES, Register.LAYER_2_FRAMES)
_IDLES: Final = (Register.LAYER_0_IDLES, Register.LAYER_1_IDLES, Register.LAYER_2_IDLES)
_WRONG: Final = (Register.LAYER_0_WRONG_LENGTH, Register.LAYER_1_WRONG_LENGTH, Register.LAYER_2_WRONG_LENGTH)
_NOT_READING = int(LayerCtrl.RESET | LayerCtrl.DISABLE_AUTOREAD | LayerCtrl.DISABLE_MISO)
_HELD = int(LayerCtrl.HOLD | LayerCtrl.RESET)

AnswerFilter = Callable[[RegisterRead, bytes], bytes]


class AstepModel(BoardModel, RegisterBus):
    """The A-STEP firmware with its chips; `exchange` is all there is to its link.

    `HostPort` says how requests are taken, `AstepReadout` what becomes of frames, and both where they deviate from the
    firmware. A layer sends nothing before the version of its chips and the clocks are set and it is released, selected
    and read; what it sends then is up to `source`. Hold and the chips' reset are those of layer 0, chip select is that
    of any layer. After a reset the chips hold old data; without a flush they show up in the readout.

    `fifo_bytes`: capacity of the readout FIFO. `firmware`: id and version, from which the register map, the order of
    the bytes of the time stamp, and the pins follow; a version that nobody knows has the map of the nearest known one.
    `chips`: in each layer's chain. `clock`: seconds, monotonic. `record`: let the FIFO remember all it was given, and
    `taken` each piece that was read of it: where in all answers it begins, and its length. `damage`: as of
    `AstepReadout`.
    `answer_filter`: may be set to a function that replaces the answer to a read by another, shorter, or empty one.

    Deviation: the time stamps in frames count the time of taking data, and do not stand still where
    `TIMESTAMP_COUNTER` does.
    """

    def __init__(
        self,
        source: FrameSource,
        fifo_bytes: int = 65536,
        clock: Callable[[], float] = time.monotonic,
        record: bool = False,
        firmware: Firmware = NEWEST_FIRMWARE,
        chips: int = 1,
        damage: bool = False,
    ) -> None:
        self.source = source
        self.fifo = ReadFifo(fifo_bytes, record)
        self.readout = AstepReadout(source, self.fifo, clock, damage)
        self.host = HostPort(self, clock)
        self.answer_filter: AnswerFilter | None = None
        self.taken: list[tuple[int, int]] = []
        self.firmware = firmware
        self._chain_bits = chips * chip_type(source.chip_version).bits
        self._clock = clock
        self.power_up()

    def power_up(self) -> None:
        """The state after power was switched on: nothing configured, FIFOs empty. What the chips see goes on."""
        self._values = AstepRegisterFile(self.firmware, self._clock())
        self.chips = ChipPorts(self.firmware)
        self.readback = Readback(self.chips, self._chain_bits)
        self.cards = CardRegisters()
        self.injection = PatternGenerator()
        self.mosi = [MosiFifo() for _ in range(MAX_LAYERS)]
        self._drained_at = self._clock()
        self._inputs: LayerInputs | None = None
        self._is_current = False
        self.readout.reset()
        self.host.reset()

    def connect_at(self, baud: int) -> None:
        """The board is on a UART at `baud` bits/s, or on the FT2232H (0)."""
        self.host = HostPort(self, self._clock, baud)

    @property
    def answering_until(self) -> float:  # type: ignore[override]
        """Until when, on its clock, the firmware is busy with its last answer."""
        return self.host.busy_until

    @property
    def registers(self) -> RegisterMap:
        """Where the firmware keeps its registers."""
        return self._values.map

    @property
    def layout(self) -> FrameLayout:
        """Of the frames, as it is set up now."""
        widths: tuple[TimestampBits, ...] = (16, 32, 48, 64)
        order = self.firmware.timestamp_order(self.registers)
        return FrameLayout(widths[self._values.timestamp_width], order, self.source.hit_bytes)

    def sending(self, layer: int) -> bool:
        """Whether what the chips of a layer have to say reaches the FIFO."""
        return bool(self._layer_inputs().sending[layer])

    def _layer_inputs(self) -> LayerInputs:
        if self._inputs is None:
            controls = [self._values[register] for register in LAYER_CTRL]
            selected = any(control & LayerCtrl.CHIP_SELECT for control in controls)
            ready = selected and self._values.clocks_on and self._values.chip_version == self.source.chip_version
            self._inputs = LayerInputs(
                reading=tuple(ready and not control & _NOT_READING for control in controls),
                held=bool(controls[0] & _HELD),
                packet_mode=self._values.packet_mode,
                layout=self.layout,
                frame_s=self.source.hit_bytes * self._spi_byte_s,
            )
        return self._inputs

    @property
    def _spi_byte_s(self) -> float:
        return 8 * 2 * (self._values[Register.SPI_DIVIDER] + 1) / 40e6

    @property
    def exhausted(self) -> bool:
        """Whether the source has nothing more to say and everything it said was read."""
        return self.readout.exhausted

    @property
    def counters(self) -> dict[str, int]:
        """What the board's designer would like to know, and a real board does not tell."""
        return {
            **self.source.counters,
            "emulator_lost_hits": self.readout.lost_hits,
            "emulator_unread_hits": self.readout.unread_hits,
            "emulator_discarded_bytes": self.fifo.discarded_bytes,
            "emulator_unknown_bytes": self.host.skipped_bytes,
            "emulator_swallowed_bytes": self.host.swallowed_bytes,
        }

    def exchange(self, data: bytes) -> bytes:
        """Act on `data` from the host, in any pieces; returns the answers to the reads that it completed."""
        self._is_current = False
        return self.host.exchange(data)

    def _drain_mosi(self) -> None:
        now = self._clock()
        clocked = int((now - self._drained_at) / self._spi_byte_s)
        if clocked:
            self._drained_at = now
        for layer, fifo in enumerate(self.mosi):
            control = self._values[LAYER_CTRL[layer]]
            sent = fifo.drain(clocked, selected=bool(control & LayerCtrl.CHIP_SELECT))
            self.readout.clocked(layer, sent, listening=not control & LayerCtrl.DISABLE_MISO)

    def write(self, address: int, data: bytes) -> None:
        """Bytes to one address, one after the other."""
        self._drain_mosi()
        before = self._layer_inputs()
        self.readout.update(before)
        self._write_one(address, data)
        self._inputs = None
        self._is_current = False
        self.readout.change(before, self._layer_inputs())

    def read(self, address: int, length: int) -> bytes:
        """Bytes from one address; none where it cannot be read."""
        register = self.registers.at(address)
        self._catch_up()
        if register == Register.READOUT:
            if self.fifo.record is not None:
                self.taken.append((self.host.answered_bytes, min(length, len(self.fifo))))
            answer = self.fifo.read(length)
            self._is_current = False
        elif register == Register.READBACK:
            answer = self.readback.read(length)
            self._is_current = False
        else:
            answer = self._values.read(address, length)
        if self.answer_filter is None:
            return answer
        return self.answer_filter(RegisterRead(address if register is None else register, length), answer)

    def _write_one(self, address: int, data: bytes) -> None:
        """Bytes to one address, one after the other."""
        register = self.registers.at(address)
        if register in LAYER_MOSI:
            self.mosi[LAYER_MOSI.index(register)].write(data)
        elif register == Register.SHIFT_REGISTER:
            self.chips.write(data)
            self.readback.clock(data)
        elif register == Register.CARDS:
            self.cards.write(data)
        elif register in LAYER_CTRL:
            self._control(LAYER_CTRL.index(register), data)
        else:
            if register == Register.READOUT_CTRL:
                self._set_packet_mode(data)
            for value in data:
                self._values.write(address, value, self._clock())
            if register is Register.READBACK_CTRL:
                self.readback.control(data[-1])
            elif register is not None:
                self.injection.write(register, data)

    def _control(self, layer: int, data: bytes) -> None:
        for value in data:
            if not value & LayerCtrl.CHIP_SELECT:
                self.mosi[layer].deselect()
            if layer == 0 and value & LayerCtrl.RESET:
                self.chips.reset()
                self.readout.stale = [STALE_BYTES] * MAX_LAYERS
        self._values[LAYER_CTRL[layer]] = data[-1]

    def _set_packet_mode(self, data: bytes) -> None:
        for value in data:
            if value & ReadoutCtrl.PACKET_MODE and not self._values.packet_mode:
                self.readout.set_packet_mode(on=True)
            self._values[Register.READOUT_CTRL] = value

    def _catch_up(self) -> None:
        """Let happen what has happened since the last request, or the last change."""
        if self._is_current:
            return
        self._drain_mosi()
        self.readout.update(self._layer_inputs())
        self._refresh()
        self._is_current = True

    def _refresh(self) -> None:
        """Registers that change by themselves."""
        self._values[Register.READOUT_SIZE] = self.readout.size
        self._values[Register.READBACK_SIZE] = len(self.readback.fifo)
        self._values.refresh(self._clock())
        frames, wrong = self.readout.take_counts()
        for registers, counts in (
            (_FRAMES, frames),
            (_IDLES, (frames - wrong) * self._values[Register.NODATA_CONTINUE]),
            (_WRONG, wrong),
        ):
            for register, count in zip(registers, counts.tolist(), strict=True):
                self._values[register] = (self._values[register] + count) & 0xFFFF_FFFF
        for layer in range(MAX_LAYERS):
            self._values[LAYER_MOSI_SIZE[layer]] = len(self.mosi[layer])
            status = 0 if self.readout.stale[layer] else int(LayerStatus.INTERRUPT_N)
            if self.readout.decoding(layer):
                status |= LayerStatus.FRAME_DECODING
            self._values[LAYER_STATUS[layer]] = status
