"""The GECCO bench firmware and its chips as seen through the link: registers, FIFOs, flags."""

import time
from collections.abc import Callable

from daqd.emulator.board_model import BoardModel
from daqd.emulator.gecco_ports import CardRegisters, ChipRegisters, PatternGenerator
from daqd.emulator.hit_sources import ByteSource
from daqd.emulator.read_fifos import WordFifo
from daqd.emulator.spi_readout import SpiReadout
from protocol.hit import reverse_bit_order
from protocol.registers.gecco import (
    IDENTITY_VALUE,
    SPI_LINES,
    SPI_READ_FIFO_BYTES,
    SPI_WRITE_FIFO_BYTES,
    SPI_WRITE_FIFO_FULL_BYTES,
    TRANSMIT_FIFO_BYTES,
    ChipPort,
    ReadbackConfig,
    ReadRequest,
    Register,
    RequestParser,
    SpiConfig,
    WriteRequest,
)
from protocol.registers.gecco_sequence import ROUTING_COMMAND
from protocol.stream_bytes import IDLE_BYTE, PADDING_BYTE

# Plain numbers: operations on flags are slow, and these are looked at with every request.
_WRITE_FIFO_RESET, _WRITE_FIFO_EMPTY, _WRITE_FIFO_FULL = map(
    int, (SpiConfig.WRITE_FIFO_RESET, SpiConfig.WRITE_FIFO_EMPTY, SpiConfig.WRITE_FIFO_FULL)
)
_READ_FIFO_RESET, _READ_FIFO_EMPTY, _READ_FIFO_FULL = map(
    int, (SpiConfig.READ_FIFO_RESET, SpiConfig.READ_FIFO_EMPTY, SpiConfig.READ_FIFO_FULL)
)
_MODULE_RESET, _CHIP_RESET = int(SpiConfig.MODULE_RESET), int(ChipPort.RESET)
_INJECTION = range(Register.INJECTION_RESET, Register.INJECTION_DATA + 1)
_SPI_WRITABLE = _WRITE_FIFO_RESET | _READ_FIFO_RESET | int(SpiConfig.READBACK_ENABLE) | _MODULE_RESET
_STORED = frozenset({Register.CHIP, *_INJECTION, Register.CARDS, Register.SPI_DIVIDER, Register.READBACK_CONFIG})
"""Registers that read as they were written, but for flags."""

AnswerFilter = Callable[[ReadRequest, bytes], bytes]


class GeccoModel(BoardModel):
    """Answers the register protocol as the bench firmware does; `exchange` is all there is to its link.

    It follows the firmware's RTL: only bit 0 of a header counts; registers that do not exist ignore writes and repeat
    the byte that was read last; requests are held while an answer goes out, but a read that ends while the transmit
    FIFO is full loses its last byte. The read FIFO gives words or groups of padding (`WordFifo`); SPI fills it at its
    own pace, also while it is read (`SpiReadout`), and stands still when it is full. The divider is 0 after power-up.

    The chips send nothing before SPI is on, the routing command has come, and the chip is out of reset; what they send
    then is up to `source`. `chips`, `cards` and `injection` know what was written to them; what `source` sends does not
    depend on it.

    Deviations that find out a driver that forgets a step: routing is lost whenever SPI is switched off; chips that were
    ever configured send only when they were configured after the routing command and since their last reset; and the
    first hit comes when the read FIFO has been emptied after that, so that every hit of the source belongs to a run.

    Other deviations: writes to a register act when all of their bytes have come; answers are made at once,
    so that a transmit FIFO that is full delays no read; the interrupt line says what the read FIFO holds, as the chips'
    hits are no part of this model; a write to the SPI FIFO takes no time. See `WordFifo`, `SpiReadout` and the sources
    for theirs.

    `sending`: whether what the chips have to say reaches the FIFO.

    `fifo_bytes`: capacity of the SPI read FIFO. `clock`: seconds, monotonic. `record`: let the FIFO remember all it
    was given (see `WordFifo`). `answer_filter`: may be set to a function that replaces the answer to a read by another,
    shorter, or empty one: a board that misbehaves.
    """

    def __init__(
        self,
        source: ByteSource,
        fifo_bytes: int = SPI_READ_FIFO_BYTES,
        clock: Callable[[], float] = time.monotonic,
        record: bool = False,
    ) -> None:
        self.source = source
        self.fifo = WordFifo(fifo_bytes, record)
        self.spi = SpiReadout(source, self.fifo)
        self.answer_filter: AnswerFilter | None = None
        self.shortened_answers = 0
        self._clock = clock
        self._now_s = clock()
        self.power_up()

    def power_up(self) -> None:
        """The state after power was switched on: SPI off, FIFOs empty, no chip routed. The source goes on."""
        self._parser = RequestParser()
        self._registers = bytearray(256)
        self._registers[Register.SPI_CONFIG] = _MODULE_RESET
        self._write_fifo = bytearray()
        self._chip_saw = b""
        self._routed = False
        self._last_read = 0
        self._to_fetch = 0
        self.chips = ChipRegisters()
        self.cards = CardRegisters()
        self.injection = PatternGenerator()
        self._configured = self._emptied = False
        self.fifo.reset()
        self.spi.power_up()
        self.spi.sending = False

    @property
    def sending(self) -> bool:
        """Whether what the chips have to say reaches the FIFO."""
        return self.spi.sending

    def _may_send(self) -> bool:
        return (
            self._routed
            and self._spi_runs
            and not self._registers[Register.CHIP] & _CHIP_RESET
            and not self._registers[Register.SPI_CONFIG] & _READ_FIFO_RESET
            and self._emptied
            and (not self.chips.loads or self._configured)
        )

    @property
    def exhausted(self) -> bool:
        """Whether the source has nothing more to say and everything it said was read."""
        return self.source.exhausted and self.spi.idle and not self.fifo

    @property
    def counters(self) -> dict[str, int]:
        """What the board's designer would like to know, and a real board does not tell."""
        return {
            "emulator_offered_bytes": self.fifo.offered_bytes,
            "emulator_lost_bytes": self.fifo.lost_bytes,
            "emulator_discarded_bytes": self.fifo.discarded_bytes,
            "emulator_shortened_answers": self.shortened_answers,
            **self.source.counters,
        }

    def exchange(self, data: bytes) -> bytes:
        """Act on `data` from the host, in any pieces; returns the answers to the reads that it completed."""
        answers = []
        for request in self._parser.feed(data):
            if request.register != Register.IDENTITY:  # which is the same at all times
                self._let_time_pass()
            if isinstance(request, WriteRequest):
                self._write(request)
                self.spi.sending = self._may_send()
            elif request.length:
                answer = self._transmit(self._read(request))
                answers.append(self.answer_filter(request, answer) if self.answer_filter else answer)
        return b"".join(answers)

    def _let_time_pass(self) -> None:
        """The chips send what they could since the last request. The board may be ahead of the clock by its answers."""
        now_s = max(self._now_s, self._clock())
        self.spi.advance(now_s - self._now_s)
        self._now_s = now_s

    def _transmit(self, answer: bytes) -> bytes:
        """What of an answer gets into the transmit FIFO: not its last byte, where the FIFO is full by then."""
        if self._to_fetch + len(answer) > TRANSMIT_FIFO_BYTES:
            answer = answer[:-1]
            self.shortened_answers += 1
        self._to_fetch += len(answer)
        return answer

    def fetched(self, count: int) -> None:
        """So many bytes have left the transmit FIFO."""
        self._to_fetch = max(0, self._to_fetch - count)

    def _write(self, request: WriteRequest) -> None:
        match request.register:
            case Register.SPI_CONFIG:
                for value in request.data:
                    self._write_spi_config(value)
            case Register.SPI_WRITE_FIFO:
                room = SPI_WRITE_FIFO_BYTES - len(self._write_fifo)
                self._write_fifo += request.data[:room]
            case Register.CARDS:
                self.cards.write(request.data)
            case register if register in _INJECTION:
                self.injection.write(register, request.data)
            case Register.CHIP:
                self._write_chips(request.data)
            case Register.SPI_DIVIDER:
                for value in request.data:
                    self.spi.set_divider(value, self._spi_runs)
        if request.register in _STORED:
            self._registers[request.register] = request.data[-1]
        if self._spi_runs and self._write_fifo:
            self._clock_out()

    def _write_chips(self, data: bytes) -> None:
        loads = self.chips.loads
        self.chips.write(data)
        if self.chips.loads > loads:
            self._configured, self._emptied = self._routed, False
        if any(state & _CHIP_RESET for state in data):
            self.chips.reset()
            self.spi.reset_chips()
            self._configured = False

    def _write_spi_config(self, value: int) -> None:
        self._registers[Register.SPI_CONFIG] = value & _SPI_WRITABLE
        if value & _MODULE_RESET:
            self.spi.stop()
            self.spi.sending = self._routed = self._configured = self._emptied = False
            self._chip_saw = b""
        if value & _WRITE_FIFO_RESET:
            self._write_fifo.clear()
        if value & _READ_FIFO_RESET:
            self.fifo.reset()
            self._emptied = self._routed

    def _clock_out(self) -> None:
        """Send what the write FIFO holds to the chips, which look for the routing command and answer idle bytes."""
        idles = bytes((IDLE_BYTE,)) * (SPI_LINES * len(self._write_fifo))
        if len(idles) <= self.fifo.room and not self._registers[Register.SPI_CONFIG] & _READ_FIFO_RESET:
            self.fifo.put(idles, filler=len(idles))
        if self._registers[Register.CHIP] & _CHIP_RESET:
            self._chip_saw = b""
        else:
            seen = self._chip_saw + reverse_bit_order(bytes(self._write_fifo))
            self._routed = self._routed or ROUTING_COMMAND in seen
            self._chip_saw = seen[-len(ROUTING_COMMAND) + 1 :]
        self._write_fifo.clear()

    @property
    def _spi_runs(self) -> bool:
        return not self._registers[Register.SPI_CONFIG] & _MODULE_RESET

    def _read(self, request: ReadRequest) -> bytes:
        match request.register:
            case Register.SPI_READ_FIFO:
                answer, seconds = self.spi.read(request.length)
                self._now_s += seconds
                self._last_read = answer[-1]
                return answer
            case Register.SPI_CONFIG:
                self._last_read = self._spi_config()
            case Register.READBACK_CONFIG:
                self._last_read = self._registers[Register.READBACK_CONFIG] | ReadbackConfig.FIFO_EMPTY
            case Register.READBACK_FIFO:
                self._last_read = PADDING_BYTE
            case Register.INTERRUPT:
                self._last_read = 0 if self.fifo else 1
            case Register.IDENTITY:
                self._last_read = IDENTITY_VALUE
            case register if register in _STORED:
                self._last_read = self._registers[register]
        return bytes((self._last_read,)) * request.length

    def _spi_config(self) -> int:
        flags = self._registers[Register.SPI_CONFIG]
        if not self._write_fifo:
            flags |= _WRITE_FIFO_EMPTY
        if len(self._write_fifo) >= SPI_WRITE_FIFO_FULL_BYTES:
            flags |= _WRITE_FIFO_FULL
        if not self.fifo:
            flags |= _READ_FIFO_EMPTY
        if not self.fifo.room:
            flags |= _READ_FIFO_FULL
        return flags
