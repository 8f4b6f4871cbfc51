"""A board with the A-STEP firmware: from power-up to data."""

import logging
import time
from collections.abc import Callable, Generator

from daqd.boards.astep_reading import FrameReader, Housekeeping
from daqd.boards.board import BoardStatus, RawReadout
from daqd.boards.linked_board import LinkedBoard
from daqd.configuration.config import Config
from daqd.errors import BoardAnswerError, BoardError, ConfigError
from daqd.transports.link import Link
from protocol.chips.chip_setup import ChipSetup
from protocol.readout_description import ReadoutDescription
from protocol.registers.astep import REQUEST_FILLER
from protocol.registers.astep_chip import configure_board, make_safe, start_injection
from protocol.registers.astep_register_map import NEWEST_MAP
from protocol.registers.astep_sequence import (
    AstepSettings,
    Firmware,
    Step,
    check_firmware,
    discard_readout,
    flush_layer,
    reset_chips,
    set_up,
    start_readout,
)
from protocol.words import counted

_log = logging.getLogger(__name__)

HOUSEKEEPING_S = 1.0


class AstepBoard(LinkedBoard):
    """A board with the A-STEP firmware behind `link`, as `config` says.

    `open` sees that the firmware is one that is known, and puts the chips on hold. `configure` sets clocks, time stamp
    and SPI, resets the chips, gives them their configuration, and clocks old data out of them. `start` empties the
    readout FIFO, lets the layers send and starts the injection. `stop` ends the injection and puts the chips on hold,
    not read; so does every failure. Counters and readings are taken once a second while data are read.

    Raises `ConfigError` for settings that do not go together. `clock` (seconds, monotonic), `sleep` (seconds) and
    `now_ns` (ns since the epoch) are there for tests to bring their own.
    """

    def __init__(
        self,
        link: Link,
        config: Config,
        clock: Callable[[], float] = time.monotonic,
        sleep: Callable[[float], object] = time.sleep,
        now_ns: Callable[[], int] = time.time_ns,
    ) -> None:
        board, astep = config.board, config.astep
        if astep.read == "fixed" and not astep.packet_mode:
            raise ConfigError(['astep.read: "fixed" needs packet_mode: padding could come within a frame'])
        self.readout_class = board.readout_class
        super().__init__(link, f"A-STEP board ({link.name})", sleep, NEWEST_MAP)
        self.firmware: Firmware | None = None
        self._settings = AstepSettings(
            board.layers, board.chips, board.spi_hz, astep.timestamp_bits, astep.packet_mode, board.chip_version
        )
        self._description = ReadoutDescription(
            chips=board.chips,
            layers=board.layers,
            timestamp_bits=astep.timestamp_bits,
            timestamp_order=astep.timestamp_order,
        )
        self._clock = clock
        self._sleep = sleep
        self._poll_interval_s = board.poll_interval_ms / 1000
        by_size = astep.read == "size"
        self._reader = FrameReader(
            self._dialogue, board.readout_bytes, now_ns, by_size=by_size, queue_ahead=board.queue_ahead
        )
        self._housekeeping = Housekeeping(self._dialogue, board.layers)
        self._housekeeping_due = 0.0
        self._setup: ChipSetup | None = None

    @property
    def description(self) -> ReadoutDescription:
        """Chips, layers, and the time stamp in the frames."""
        return self._description

    def open(self) -> None:
        """Connect, see which firmware answers, put the chips on hold."""
        if self._opened:
            return
        self.link.open()
        try:
            self.firmware = self._find_firmware()
            self._run(make_safe(self._settings.layers))
        except BaseException:
            self.link.close()
            raise
        self._reader.forget()
        self._housekeeping.forget()
        self._housekeeping_due = 0.0
        self._opened = True
        _log.info("%s answers: %s", self.name, self.firmware)

    def _find_firmware(self) -> Firmware:
        try:
            return self._dialogue.run(check_firmware())
        except BoardAnswerError:
            # An earlier daemon may have died in the middle of a request, or of its answer.
            self._dialogue.end_requests(REQUEST_FILLER)
            return self._dialogue.run(check_firmware())

    def configure(self, setup: ChipSetup | None = None) -> None:
        """Set up the firmware, reset the chips, bring chips and cards into the state of `setup`; None sets nothing.

        Ends a running readout first.
        """
        self._require(self._opened, "open")
        self.stop()
        self._configured = False
        self._run(self._configuration(setup))
        self._setup = setup
        self._configured = True
        _log.info(
            "%s: %s", self.name, "chips reset" if setup is None else f"{counted(len(setup.chips), 'chip')} configured"
        )

    def _configuration(self, setup: ChipSetup | None) -> Generator[Step, bytes, None]:
        layers = self._settings.layers
        yield from set_up(self._settings)
        if setup is None:
            yield from reset_chips(layers)
        else:
            has_cards = self.firmware is not None and self.firmware.has_cards
            yield from configure_board(setup, has_cards)
        for layer in range(layers):
            silent = yield from flush_layer(layer)
            if not silent:
                _log.warning("%s: the chips of layer %d still have data after flushing them", self.name, layer)
        yield from discard_readout()

    def start(self) -> None:
        """Empty FIFO, layers sending, injection on where wanted."""
        self._require(self._configured, "configured")
        if self._running:
            return
        self._reader.forget()
        self._run(self._start_steps())
        self._running = True
        _log.info("%s sends data", self.name)

    def _start_steps(self) -> Generator[Step, bytes, None]:
        yield from discard_readout()
        yield from start_readout(self._settings.layers)
        if self._setup is not None and self._setup.injection is not None:
            yield from start_injection()

    def read_readout(self, timeout_s: float) -> RawReadout | None:
        """What the readout FIFO holds, up to `board.readout_bytes`, asked for every `board.poll_interval_ms`."""
        self._require(self._opened, "open")
        deadline = self._clock() + timeout_s
        while True:
            self._keep_house()
            readout = self._reader.poll()
            if readout is not None:
                return readout
            left = deadline - self._clock()
            if left <= 0:
                return None
            self._sleep(min(left, self._poll_interval_s))

    def _keep_house(self) -> None:
        if self._clock() >= self._housekeeping_due and self._reader.settled:
            self._housekeeping_due = self._clock() + HOUSEKEEPING_S
            self._housekeeping.ask()

    def stop(self) -> None:
        """Injection off, chips on hold, not selected, not read; the readout FIFO keeps what it holds."""
        if not self._running:
            return
        self._running = False
        try:
            self._reader.settle()
            self._dialogue.run(make_safe(self._settings.layers))
            self._housekeeping.ask()
        except BoardError:
            self._make_safe()
            raise
        _log.info("%s stopped", self.name)

    def status(self) -> BoardStatus:
        """What has been counted so far, and what the FPGA measured last."""
        reader, housekeeping = self._reader, self._housekeeping
        return BoardStatus(
            kind="astep",
            transport=self.link.name,
            connected=self._opened,
            running=self._running,
            exhausted=self.link.exhausted and reader.idle,
            counters={
                "polls": reader.polls,
                "readouts": reader.readouts,
                "read_bytes": reader.read_bytes,
                "short_readouts": reader.short_readouts,
                **housekeeping.counters,
                **self.link.counters,
            },
            readings=housekeeping.readings,
        )

    def _safe_steps(self) -> Generator[Step, bytes, None]:
        return make_safe(self._settings.layers)
