"""The GECCO bench set-up: from power-up to data."""

import logging
import math
import time
from collections.abc import Callable

from daqd.boards.board import BoardStatus, RawReadout
from daqd.boards.gecco_polling import ReadoutPoller
from daqd.boards.linked_board import LinkedBoard
from daqd.configuration.config import BoardSection
from daqd.errors import BoardAnswerError, BoardError
from daqd.transports.link import Link
from protocol.chips.chip_setup import ChipSetup
from protocol.readout_description import ReadoutDescription
from protocol.registers.gecco import REQUEST_FILLER, Register
from protocol.registers.gecco_chip import configure_board, make_safe, start_board, stop_injection
from protocol.registers.gecco_sequence import (
    Steps,
    check_scratch,
    disable_spi,
    enable_spi,
    hold_chip,
    reset_chip,
    reset_fifos,
)
from protocol.words import counted

_log = logging.getLogger(__name__)


class GeccoBoard(LinkedBoard):
    """A GECCO board behind `link`.

    `open` tests the scratch register and empties the FIFOs. `configure` resets the chips, shifts their configuration
    in, sets the cards and the pattern generator, which does not run yet. `start` switches SPI on, sends the routing
    command, configures the chips once more (`stop` left them in reset), throws the first readout away and starts the
    injection. `stop` ends the injection, switches SPI off and holds the chips in reset; so does every failure.

    `clock` (seconds, monotonic), `sleep` (seconds) and `now_ns` (ns since the epoch) are there for tests to bring their
    own.
    """

    def __init__(
        self,
        link: Link,
        config: BoardSection,
        clock: Callable[[], float] = time.monotonic,
        sleep: Callable[[float], object] = time.sleep,
        now_ns: Callable[[], int] = time.time_ns,
    ) -> None:
        self.readout_class = config.readout_class
        super().__init__(link, f"GECCO board ({link.name})", sleep, Register)
        self._config = config
        self._clock = clock
        self._sleep = sleep
        self._poll_interval_s = config.poll_interval_ms / 1000
        self._poll_due = -math.inf
        self._poller = ReadoutPoller(self._dialogue, config.readout_bytes, now_ns, config.queue_ahead)
        self._setup: ChipSetup | None = None

    @property
    def description(self) -> ReadoutDescription:
        """Chips in the chain, and how long a readout is with its padding."""
        return ReadoutDescription(chips=self._config.chips, full_readout_bytes=self._config.readout_bytes)

    def open(self) -> None:
        """Connect, test the scratch register, empty the FIFOs."""
        if self._opened:
            return
        self.link.open()
        try:
            self._find_board()
            self._run(reset_fifos())
        except BaseException:
            self.link.close()
            raise
        self._poller.forget_questions()
        self._opened = True
        _log.info("%s answers", self.name)

    def _find_board(self) -> None:
        try:
            self._dialogue.run(check_scratch())
        except BoardAnswerError:
            # An earlier daemon may have died in the middle of a request, or was configured for another firmware.
            self._dialogue.end_requests(REQUEST_FILLER)
            self._dialogue.run(check_scratch())

    def configure(self, setup: ChipSetup | None = None) -> None:
        """Reset the chips, and bring chips and cards into the state of `setup`; None sets nothing.

        Ends a running readout first.
        """
        self._require(self._opened, "open")
        self.stop()
        self._configured = False
        self._run(reset_chip() if setup is None else configure_board(setup))
        self._setup = setup
        self._configured = True
        _log.info(
            "%s: %s", self.name, "chips reset" if setup is None else f"{counted(len(setup.chips), 'chip')} configured"
        )

    def start(self) -> None:
        """Chips out of reset, SPI on from empty FIFOs, routing sent, chips configured, injection on where wanted."""
        self._require(self._configured, "configured")
        if self._running:
            return
        self._run(self._start_steps())
        self._running = True
        _log.info("%s sends data", self.name)

    def _start_steps(self) -> Steps:
        if self._setup is not None:
            yield from start_board(self._setup, self._config.gecco_spi_divider, self._config.readout_bytes)
            return
        yield from reset_chip()
        yield from enable_spi(self._config.gecco_spi_divider)

    def read_readout(self, timeout_s: float) -> RawReadout | None:
        """Up to `board.readout_bytes` bytes of the read FIFO.

        Asked for `board.poll_interval_ms` after the board had nothing, or nothing more.
        """
        self._require(self._opened, "open")
        deadline = self._clock() + timeout_s
        while True:
            pause_s = min(self._poll_due, deadline) - self._clock()
            if pause_s > 0:
                self._sleep(pause_s)
            readout = self._poller.poll()
            if self._poller.dry:
                self._poll_due = self._clock() + self._poll_interval_s
            if readout is not None:
                return readout
            if self._clock() >= deadline:
                return None

    def stop(self) -> None:
        """Injection off, SPI off, chips held in reset; the read FIFO keeps what it holds."""
        if not self._running:
            return
        self._running = False
        try:
            if self._setup is not None:
                self._dialogue.run(stop_injection())
            self._poller.settle()
            self._dialogue.run(disable_spi())
            self._dialogue.run(hold_chip())
        except BoardError:
            self._make_safe()
            raise
        _log.info("%s stopped", self.name)

    def status(self) -> BoardStatus:
        """What has been counted so far."""
        poller = self._poller
        return BoardStatus(
            kind="gecco",
            transport=self.link.name,
            connected=self._opened,
            running=self._running,
            exhausted=self.link.exhausted and poller.idle,
            counters={
                "polls": poller.polls,
                "readouts": poller.readouts,
                "read_bytes": poller.read_bytes,
                "short_readouts": poller.short_readouts,
                "vain_reads": poller.vain_reads,
                "fifo_full": poller.fifo_full,
                **self.link.counters,
            },
        )

    def _safe_steps(self) -> Steps:
        return make_safe()
