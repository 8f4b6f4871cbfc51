"""The GECCO bench set-up: from power-up to data."""

import logging
import math
import time
from collections.abc import Callable
from contextlib import suppress
from functools import partial

from daqd.boards.board import RawReadout
from daqd.boards.dialogue import Dialogue
from daqd.boards.gecco_polling import ReadoutPoller, resynchronise
from daqd.boards.linked_board import LinkedBoard, Reading
from daqd.boards.which_firmware import astep_firmware
from daqd.configuration.config import BoardSection
from daqd.errors import BoardAnswerError, BoardError
from daqd.transports.link import Link
from protocol.chips.chip_setup import ChipSetup
from protocol.readout_description import ReadoutDescription
from protocol.registers.gecco import Register
from protocol.registers.gecco_chip import configure_board, make_safe, start_board, stop_injection
from protocol.registers.gecco_sequence import (
    Steps,
    check_identity,
    check_running,
    check_stopped,
    enable_spi,
    read_byte,
    reset_chip,
    reset_fifos,
    reset_read_fifo,
)

_log = logging.getLogger(__name__)

STOP_TRIES = 5
"""How often a stop is carried out where its requests, or the answers to them, get lost on the link."""


class GeccoBoard(LinkedBoard):
    """A GECCO board behind `link`.

    `open` reads the identity register and empties the FIFOs. `configure` resets the chips, shifts their configuration
    in, sets the cards and the pattern generator, which does not run yet. `start` sets the SPI clock, switches SPI on,
    sends the routing command, configures the chips once more (`stop` left them in reset), empties the read FIFO and
    starts the injection. `stop` ends the injection, switches SPI off and holds the chips in reset; so does every
    failure. What the read FIFO holds then can still be read; of the word in transfer up to 7 bytes are lost.

    `clock` (seconds, monotonic), `sleep` (seconds) and `now_ns` (ns since the epoch) are there for tests to bring their
    own.
    """

    kind = "gecco"

    def __init__(
        self,
        link: Link,
        config: BoardSection,
        clock: Callable[[], float] = time.monotonic,
        sleep: Callable[[float], object] = time.sleep,
        now_ns: Callable[[], int] = time.time_ns,
    ) -> None:
        super().__init__(Dialogue(link, f"GECCO board ({link.name})", sleep, Register), config, clock, sleep)
        self._config = config
        self._poll_due = -math.inf
        self._poller = ReadoutPoller(self._dialogue, config.readout_bytes, now_ns, config.queue_ahead, self._is_set_up)

    @property
    def description(self) -> ReadoutDescription:
        """Chips in the chain, and how long a readout is with its padding."""
        return ReadoutDescription(chips=self._config.chips, full_readout_bytes=self._config.readout_bytes)

    def _begin(self) -> None:
        self._find_board()
        self._run(reset_fifos())
        self._poller.forget_questions()
        _log.info("%s answers", self.name)

    def _find_board(self) -> None:
        try:
            self._dialogue.run(check_identity())
        except BoardAnswerError as error:
            # An earlier daemon may have died in the middle of a request, or was configured for another firmware.
            with suppress(BoardAnswerError):
                resynchronise(self._dialogue)
                self._dialogue.run(check_identity())
                return
            if firmware := astep_firmware(self.link):
                raise BoardError(
                    f'{self.name}: this board runs the A-STEP {firmware}: set board.kind = "astep", or load the bench '
                    "firmware"
                ) from error
            raise

    def _is_set_up(self, damaged: bool) -> bool:
        """After an exchange that broke off: whether the board runs as it was started. `BoardAnswerError` says why not.

        `damaged`: a request may have written to any register. Not all can be read, so the board has to be set up again.
        """
        self._dialogue.run(check_identity())
        if not self._running:
            # What holds the chips may have been written to: what is left in the FIFO is read after the stop.
            self._dialogue.run(make_safe())
            self._dialogue.run(check_stopped())
        elif not damaged:
            self._dialogue.run(check_running(self._config.gecco_spi_divider))
        return not (self._running and damaged)

    def _configure(self, setup: ChipSetup | None) -> None:
        self._run(reset_chip() if setup is None else configure_board(setup))
        # A byte that the link lost or doubled shifts all behind it, so that this is not answered rightly.
        self._run(check_identity())

    def _start(self) -> None:
        self._run(self._start_steps())
        self._run(check_identity())
        self._run(check_running(self._config.gecco_spi_divider))

    def _start_steps(self) -> Steps:
        if self._setup is not None:
            yield from start_board(self._setup, self._config.gecco_spi_divider)
            return
        yield from reset_chip()
        yield from enable_spi(self._config.gecco_spi_divider)
        yield from reset_read_fifo()

    def read_readout(self, timeout_s: float) -> RawReadout | None:
        """Up to `board.readout_bytes` bytes of the read FIFO.

        Asked for `board.poll_interval_ms` after the board had nothing, or nothing more.
        """
        self._require(self._opened, "open")
        if self._stop_failed:
            return self._poller.take_kept()
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

    def _stop(self) -> None:
        """Stop and check it, again if need be: after a failure nobody would read what the FIFO holds."""
        for left in reversed(range(STOP_TRIES)):
            try:
                if self._setup is not None:
                    self._dialogue.run(stop_injection())
                self._poller.settle()
                self._dialogue.run(make_safe())
                self._dialogue.run(check_stopped())
            except BoardAnswerError as error:
                if not left:
                    raise
                _log.warning("%s: stopped once more, after %s", self.name, error)
                resynchronise(self._dialogue)
            else:
                return

    @property
    def _idle(self) -> bool:
        return self._poller.idle

    @property
    def _counters(self) -> dict[str, int]:
        poller = self._poller
        return {
            **poller.counters,
            "vain_reads": poller.vain_reads,
            "fifo_full": poller.fifo_full,
            "resyncs": poller.resyncs,
        }

    def _safe_steps(self) -> Steps:
        return make_safe()

    @property
    def firmware_name(self) -> str:
        """The bench firmware has no version that it tells."""
        return "GECCO bench firmware" if self._opened else ""

    def _register_readings(self) -> dict[str, Reading]:
        ports = {Register.SPI_WRITE_FIFO, Register.SPI_READ_FIFO, Register.READBACK_FIFO}
        return {register.name: partial(read_byte, register, "report") for register in Register if register not in ports}
