"""A board with the A-STEP firmware: from power-up to data."""

import logging
import time
from collections.abc import Callable, Generator
from functools import partial
from typing import Any, TypeVar

from daqd.boards.astep_checks import contradictions, damaged_settings, read_back_layers, read_back_warnings
from daqd.boards.astep_dialogue import AstepDialogue
from daqd.boards.astep_housekeeping import Housekeeping
from daqd.boards.astep_reading import FrameReader
from daqd.boards.board import BoardStatus, RawReadout
from daqd.boards.linked_board import LinkedBoard, Reading
from daqd.boards.which_firmware import is_gecco
from daqd.configuration.config import Config
from daqd.errors import BoardAnswerError, BoardError, BoardSettingError
from daqd.transports.link import Link
from protocol.chips.chip_config import ChipConfigError
from protocol.chips.chip_setup import ChipSetup
from protocol.errors import AstepError
from protocol.layer_scan import max_frame_bytes
from protocol.readout_description import ReadoutDescription
from protocol.registers.astep_chip import configure_board, end_data, make_safe, start_injection, stop_layers
from protocol.registers.astep_firmware import Firmware, check_firmware, choose_register_map
from protocol.registers.astep_register_map import NEWEST_MAP, RegisterMap
from protocol.registers.astep_registers import READ_FIFOS, Register
from protocol.registers.astep_sequence import (
    FRAME_POLLS,
    NotWrittenError,
    Step,
    check_controls,
    discard_readout,
    flush_layer,
    hold_layers,
    layers_in_frames,
    read_on,
    read_value,
    reset_chips,
    sending_controls,
    start_readout,
)
from protocol.registers.astep_setup import AstepSettings, check_settings, set_up
from protocol.registers.steps import UnexpectedAnswerError

_log = logging.getLogger(__name__)

HOUSEKEEPING_S = 1.0
"""From one round of counters and readings to the next, while the board has little to say."""

BUSY_HOUSEKEEPING_S = 0.25
"""From one byte of them to the next while the FIFO does not empty, so that they take little of the link's time."""

TRIES = 5
"""How often a sequence is carried out from its beginning where its requests get lost on the link."""

Result = TypeVar("Result")


class AstepBoard(LinkedBoard):
    """A board with the A-STEP firmware behind `link`, as `config` says.

    `open` reads id and version of the firmware, chooses the register map, and puts the chips on hold; nothing is
    written to a firmware whose registers are not known, or that cannot do what the configuration asks for. `configure`
    sets clocks, time stamp and SPI, resets the chips, writes their configuration, and clocks old data out of them.
    `start` empties the readout FIFO, lets the layers send and starts the injection. `stop` ends the injection and puts
    the chips on hold, not read; so does every failure. Counters and readings are taken once a second while data are
    read.

    `clock` (seconds, monotonic), `sleep` (seconds) and `now_ns` (ns since the epoch) are there for tests to bring
    their own.
    """

    kind = "astep"

    def __init__(
        self,
        link: Link,
        config: Config,
        clock: Callable[[], float] = time.monotonic,
        sleep: Callable[[float], object] = time.sleep,
        now_ns: Callable[[], int] = time.time_ns,
    ) -> None:
        board, astep = config.board, config.astep
        self._line = AstepDialogue(link, f"A-STEP board ({link.name})", sleep, NEWEST_MAP)
        super().__init__(self._line, board, clock, sleep)
        self.firmware: Firmware | None = None
        self._settings = AstepSettings(
            board.layers,
            board.chips,
            board.spi_hz,
            astep.timestamp_bits,
            astep.packet_mode,
            board.chip_version,
            fixed_reads=astep.read == "fixed",
        )
        self._astep = astep
        self._description = ReadoutDescription(
            chips=board.chips,
            layers=board.layers,
            timestamp_bits=astep.timestamp_bits,
            timestamp_order="big" if astep.timestamp_order == "auto" else astep.timestamp_order,
        )
        self._firmware_warnings: tuple[str, ...] = ()
        self._setup_warnings: tuple[str, ...] = ()
        self._read_back_results: dict[str, str] = {}
        self._reader = FrameReader(
            self._line, board.readout_bytes, max_frame_bytes(self.readout_class.hit_class().LAYOUT.size_bytes), now_ns
        )
        self._housekeeping = Housekeeping(self._line, board.layers)
        self._housekeeping_due = 0.0
        self._damaged_settings = ""

    @property
    def description(self) -> ReadoutDescription:
        """Chips, layers, and the time stamp in the frames, whose byte order is known once the board is open."""
        return self._description

    def _begin(self) -> None:
        # An earlier session may have ended in the middle of a request.
        self._line.begin_session()
        self._adapt_to(self._find_firmware())
        self._run(make_safe())
        self._reader.forget()
        self._housekeeping.forget()
        self._housekeeping_due = 0.0
        _log.info("%s answers: %s", self.name, self.firmware)

    def _find_firmware(self) -> Firmware:
        try:
            return self._retry(check_firmware)
        except BoardAnswerError as error:
            # The zeros before have left a bench firmware where it expects a request.
            if is_gecco(self.link):
                raise BoardError(
                    f'{self.name}: this board runs the GECCO bench firmware: set board.kind = "gecco", or load an '
                    "A-STEP firmware"
                ) from error
            raise

    def _adapt_to(self, firmware: Firmware) -> None:
        """Adapt to `firmware`, without a word to it. `BoardError` where that cannot be."""
        try:
            registers = choose_register_map(firmware, self._astep.register_map)
            check_settings(self._settings, firmware, registers)
        except AstepError as error:
            raise BoardError(f"{self.name}: {error}") from error
        self.firmware = firmware
        self._line.know_firmware(firmware.id, registers)
        self._reader.by_size = self._astep.read == "size" or not self._gives_whole_frames(registers)
        wanted = self._astep.timestamp_order
        order = firmware.timestamp_order(registers) if wanted == "auto" else wanted
        self._description = self._description.model_copy(update={"timestamp_order": order})
        self._firmware_warnings = tuple(contradictions(self._astep, firmware, registers))
        for warning in self._firmware_warnings:
            _log.warning("%s: %s", self.name, warning)

    def _gives_whole_frames(self, registers: RegisterMap) -> bool:
        return self._astep.packet_mode and registers.has(Register.READOUT_CTRL)

    def _retry(self, sequence: Callable[[], Generator[Step, bytes, Result]]) -> Result:
        """Carry out `sequence`, from its beginning again where requests or answers got lost on the link."""
        for left in reversed(range(TRIES)):
            try:
                return self._dialogue.run(sequence())
            except BoardAnswerError as error:
                is_answer = isinstance(error.__cause__, UnexpectedAnswerError)
                if not left or (is_answer and not isinstance(error.__cause__, NotWrittenError)):
                    raise
                _log.warning("%s: once more, after %s", self.name, error)
                self._line.recover()
        raise AssertionError("unreachable")

    def _run_again(self, sequence: Callable[[], Generator[Step, bytes, Result]]) -> Result:
        """`_retry`; after a failure, whatever it is, the board is made safe."""
        try:
            return self._retry(sequence)
        except BaseException:
            self._make_safe()
            raise

    def possible(self, setup: ChipSetup) -> ChipSetup:
        """With the threshold on the voltage card, or in the chips where the board has no cards."""
        self._require(self._opened, "open")
        try:
            return setup.for_board(self.firmware is not None and self.firmware.has_cards)
        except ChipConfigError as error:
            raise BoardSettingError(f"{self.name}, {self.firmware}: {'; '.join(error.mistakes)}") from error

    def _configure(self, setup: ChipSetup | None) -> None:
        self._read_back_results = {}
        self._run_again(lambda: self._configuration(setup))

    def _configuration(self, setup: ChipSetup | None) -> Generator[Step, bytes, None]:
        layers = self._settings.layers
        self._setup_warnings = yield from set_up(self._settings, self._line.registers)
        for warning in self._setup_warnings:
            _log.warning("%s: %s", self.name, warning)
        if setup is None or self.firmware is None:
            finished = yield from reset_chips()
        else:
            finished = yield from configure_board(setup, self.firmware)
            self._read_back_results = yield from read_back_layers(
                setup, self._line.registers, wanted=self._astep.read_back
            )
            for warning in read_back_warnings(self._read_back_results):
                self._setup_warnings += (warning,)
                _log.warning("%s: %s", self.name, warning)
        if not finished:
            _log.warning("%s: a layer was reset within a frame; the next run begins with a wrong one", self.name)
        for layer in range(layers):
            silent = yield from flush_layer(layer)
            if not silent:
                _log.warning("%s: the chips of layer %d still have data after flushing them", self.name, layer + 1)
        yield from discard_readout()

    def _start(self) -> None:
        self._reader.forget()
        if not self._housekeeping.has_begun:
            # What was counted before the first run is in no run.
            self._count_the_rest()
        for left in reversed(range(TRIES)):
            self._run_again(self._start_steps)
            if not self._damaged_settings:
                break
            if not left:
                self._make_safe()
                advice = "bytes to the board get lost or changed; check cable and hub"
                raise BoardError(
                    f"{self.name}: settings are damaged again and again: {self._damaged_settings}: {advice}"
                )
            _log.warning("%s: configured again, after damage to %s", self.name, self._damaged_settings)
            self._run_again(lambda: self._configuration(self._setup))
        self._line.take_surplus()

    def _start_steps(self) -> Generator[Step, bytes, None]:
        layers = self._settings.layers
        yield from hold_layers()
        self._damaged_settings = yield from damaged_settings(self._line.written)
        if self._damaged_settings:
            return
        yield from discard_readout()
        yield from start_readout(layers)
        yield from check_controls(sending_controls(layers))
        if self._setup is not None and self._setup.injection is not None:
            yield from start_injection()

    def read_readout(self, timeout_s: float) -> RawReadout | None:
        """What the readout FIFO holds, up to `board.readout_bytes`, asked for every `board.poll_interval_ms`."""
        self._require(self._opened, "open")
        if self._stop_failed:
            return self._reader.take_kept()
        deadline = self._clock() + timeout_s
        while True:
            readout = self._reader.poll()
            self._keep_house()
            if readout is not None:
                return readout
            left = deadline - self._clock()
            if left <= 0:
                return None
            self._sleep(min(left, self._poll_interval_s))

    def _keep_house(self) -> None:
        """Ask for one byte of counters and readings, if it is time for it and no data wait."""
        if self._clock() < self._housekeeping_due or not self._line.in_step or not self._running:
            return
        self._housekeeping.step()
        if not self._reader.is_keeping_up:
            self._housekeeping_due = self._clock() + BUSY_HOUSEKEEPING_S
        elif not self._housekeeping.is_under_way:
            self._housekeeping_due = self._clock() + HOUSEKEEPING_S

    def _stop(self) -> None:
        self._reader.settle()
        self._retry(end_data)
        finished = self._finish_frames()
        self._retry(stop_layers)
        if not finished:
            _log.warning("%s: a layer was stopped within a frame; the next run begins with a wrong one", self.name)
        self._count_the_rest()

    def _finish_frames(self) -> bool:
        """Read on until no layer is within a frame; what comes is kept for `read_readout`."""
        for poll in range(FRAME_POLLS):
            layers = self._retry(layers_in_frames)
            if not layers:
                return True
            self._reader.fetch()
            if poll == FRAME_POLLS // 2:
                self._retry(lambda: read_on(layers))  # noqa: B023 - called at once
        return False

    def _count_the_rest(self) -> None:
        """One whole round of counters and readings, as they are after the last frame."""
        self._housekeeping.begin()
        tries = TRIES
        while self._housekeeping.is_under_way:
            self._housekeeping.step()
            if not self._line.in_step:
                self._line.recover()
                tries -= 1
                if not tries:
                    return
                self._housekeeping.begin()

    @property
    def _idle(self) -> bool:
        return self._reader.idle

    @property
    def _counters(self) -> dict[str, int]:
        return {**self._reader.counters, "resyncs": self._line.resyncs, **self._housekeeping.counters}

    def status(self) -> BoardStatus:
        """What has been counted so far, and what the FPGA measured last."""
        more = {"readings": self._housekeeping.readings, "warnings": self._warnings}
        return super().status().model_copy(update=more)

    @property
    def _warnings(self) -> tuple[str, ...]:
        return self._firmware_warnings + self._setup_warnings

    def record(self) -> dict[str, Any]:
        """Firmware, register map, what became of reading back the configuration of each layer, and warnings."""
        return {
            "firmware": None if self.firmware is None else str(self.firmware),
            "register_map": str(self._line.registers.since),
            "read_back": dict(self._read_back_results),
            "warnings": list(self._warnings),
        }

    def _safe_steps(self) -> Generator[Step, bytes, None]:
        return make_safe()

    @property
    def firmware_name(self) -> str:
        """Its id, board and version."""
        return str(self.firmware) if self._opened else ""

    def _take(self, reading: Reading) -> int:
        return self._retry(reading)

    def _register_readings(self) -> dict[str, Reading]:
        registers = self._line.registers
        return {
            register.name: partial(read_value, register, "report", registers.size(register))
            for register in registers.registers
            if registers.readable(register) and register not in READ_FIFOS
        }
