"""The GECCO bench firmware and its chips as seen through the link: registers, FIFOs, flags."""

import time
from collections.abc import Callable

from daqd.emulator.board_model import BoardModel
from daqd.emulator.byte_source import ByteSource
from daqd.emulator.gecco_ports import CardRegisters, ChipRegisters, PatternGenerator
from daqd.emulator.read_fifo import ReadFifo
from protocol.hit import reverse_bit_order
from protocol.registers.gecco import (
    SPI_WRITE_FIFO_BYTES,
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

AnswerFilter = Callable[[ReadRequest, bytes], bytes]


class GeccoModel(BoardModel):
    """Answers the register protocol as the board does; `exchange` is all there is to its link.

    The chips send nothing before SPI is on with a clock divider, the routing command has come, and the chip is out of
    reset; what they send then is up to `source`. Routing is taken to be lost whenever SPI is switched off, so that a
    driver that forgets it finds out. Chips that were ever configured send only when they were configured after the
    routing command and since their last reset, and their first readout after that is nothing but idle bytes, to be
    thrown away. `chips`, `cards` and `injection` know what they were told; what `source` sends does not depend on it.

    `sending`: whether what the chips have to say reaches the FIFO.

    `fifo_bytes`: capacity of the SPI read FIFO. `clock`: seconds, monotonic. `record`: let the FIFO remember all it
    was given (see `ReadFifo`). `answer_filter`: may be set to a function that replaces the answer to a read by another,
    shorter, or empty one: a board that misbehaves.
    """

    def __init__(
        self,
        source: ByteSource,
        fifo_bytes: int = 65536,
        clock: Callable[[], float] = time.monotonic,
        record: bool = False,
    ) -> None:
        self.source = source
        self.fifo = ReadFifo(fifo_bytes, record)
        self.answer_filter: AnswerFilter | None = None
        self._clock = clock
        self._elapsed_s = 0.0
        self.power_up()

    def power_up(self) -> None:
        """The state after power was switched on: SPI off, FIFOs empty, no chip routed. The source goes on."""
        self._parser = RequestParser()
        self._registers = bytearray(256)
        self._registers[Register.SPI_CONFIG] = _MODULE_RESET
        self._write_fifo = bytearray()
        self._chip_saw = b""
        self._routed = False
        self._sending_since: float | None = None
        self.chips = ChipRegisters()
        self.cards = CardRegisters()
        self.injection = PatternGenerator()
        self._configured = False
        self._first_readout = False
        self.fifo.reset()
        self.sending = False

    def _may_send(self) -> bool:
        return (
            self._routed
            and self._spi_runs
            and not self._registers[Register.CHIP] & _CHIP_RESET
            and not self._registers[Register.SPI_CONFIG] & _READ_FIFO_RESET
            and (not self.chips.loads or (self._configured and not self._first_readout))
        )

    @property
    def exhausted(self) -> bool:
        """Whether the source has nothing more to say and everything it said was read."""
        return self.source.exhausted and not self.fifo

    @property
    def counters(self) -> dict[str, int]:
        """What the board's designer would like to know, and a real board does not tell."""
        return {
            "emulator_offered_bytes": self.fifo.offered_bytes,
            "emulator_lost_bytes": self.fifo.lost_bytes,
            "emulator_discarded_bytes": self.fifo.discarded_bytes,
            "emulator_unknown_bytes": self._parser.skipped_bytes,
            **self.source.counters,
        }

    def exchange(self, data: bytes) -> bytes:
        """Act on `data` from the host, in any pieces; returns the answers to the reads that it completed."""
        answers = []
        for request in self._parser.feed(data):
            self._let_chips_send()
            if isinstance(request, WriteRequest):
                self._write(request)
                self.sending = self._may_send()
            else:
                answer = self._read(request)
                answers.append(self.answer_filter(request, answer) if self.answer_filter else answer)
        return b"".join(answers)

    def _let_chips_send(self) -> None:
        if not self.sending:
            self._sending_since = None
            return
        now = self._clock()
        if self._sending_since is not None:
            self._elapsed_s += now - self._sending_since
        self._sending_since = now
        waiting = len(self.fifo)
        if data := self.source.take(self._elapsed_s, self.fifo.capacity_bytes - waiting, waiting):
            self.fifo.put(data)

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
        if request.data and request.register not in (Register.SPI_CONFIG, Register.SPI_WRITE_FIFO):
            self._registers[request.register] = request.data[-1]
        if self._spi_runs:
            self._clock_out()

    def _write_chips(self, data: bytes) -> None:
        loads = self.chips.loads
        self.chips.write(data)
        if self.chips.loads > loads:
            self._configured = self._first_readout = self._routed
        if any(state & _CHIP_RESET for state in data):
            self.chips.reset()
            self._configured = self._first_readout = False

    def _write_spi_config(self, value: int) -> None:
        self._registers[Register.SPI_CONFIG] = value & _SPI_WRITABLE
        if value & _MODULE_RESET:
            self._routed, self._chip_saw = False, b""
            self._configured = self._first_readout = False
        if value & _WRITE_FIFO_RESET:
            self._write_fifo.clear()
        if value & _READ_FIFO_RESET:
            self.fifo.reset()

    def _clock_out(self) -> None:
        """Send what the write FIFO holds to the chips, which look for the routing command."""
        if self._registers[Register.CHIP] & _CHIP_RESET:
            self._chip_saw = b""
        else:
            seen = self._chip_saw + reverse_bit_order(bytes(self._write_fifo))
            self._routed = self._routed or ROUTING_COMMAND in seen
            self._chip_saw = seen[-len(ROUTING_COMMAND) + 1 :]
        self._write_fifo.clear()

    @property
    def _spi_runs(self) -> bool:
        registers = self._registers
        return not registers[Register.SPI_CONFIG] & _MODULE_RESET and registers[Register.SPI_DIVIDER] > 0

    def _read(self, request: ReadRequest) -> bytes:
        match request.register:
            case Register.SPI_READ_FIFO if self._first_readout:
                self._first_readout = False
                self.sending = self._may_send()
                return bytes((IDLE_BYTE,)) * request.length
            case Register.SPI_READ_FIFO:
                return self.fifo.read(request.length)
            case Register.SPI_CONFIG:
                value = self._spi_config()
            case Register.READBACK_CONFIG:
                value = self._registers[Register.READBACK_CONFIG] | ReadbackConfig.FIFO_EMPTY
            case Register.READBACK_FIFO:
                value = PADDING_BYTE
            case Register.INTERRUPT:
                value = 0 if self.fifo else 1
            case register:
                value = self._registers[register]
        return bytes((value,)) * request.length

    def _spi_config(self) -> int:
        flags = self._registers[Register.SPI_CONFIG]
        if not self._write_fifo:
            flags |= _WRITE_FIFO_EMPTY
        if len(self._write_fifo) >= SPI_WRITE_FIFO_BYTES:
            flags |= _WRITE_FIFO_FULL
        waiting = len(self.fifo)
        if not waiting and not self._first_readout:
            flags |= _READ_FIFO_EMPTY
        if waiting >= self.fifo.capacity_bytes:
            flags |= _READ_FIFO_FULL
        return flags
