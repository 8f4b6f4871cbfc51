"""Asking a GECCO board for readouts."""

import logging
from collections import deque
from collections.abc import Callable

from daqd.boards.board import RawReadout
from daqd.boards.dialogue import ANSWER_TIMEOUT_S, SLOWEST_BYTES_S, Dialogue, read_for, read_until_silence
from daqd.boards.linked_board import ReadoutBuffer
from daqd.errors import BoardAnswerError, BoardError, LinkTimeout
from protocol.registers.gecco import (
    FLAGS_ANSWER_BYTES,
    IDENTITY_VALUE,
    RESYNC_ANSWER_BYTES,
    RESYNC_QUESTION,
    RESYNC_ZEROS,
    ReadRequest,
    Register,
    SpiConfig,
)
from protocol.stream_bytes import PADDING_BYTE

_MAX_QUESTIONS = 8
"""Four are enough for any state of the parser; the rest is for a link that goes on losing bytes."""


def resynchronise(dialogue: Dialogue) -> bytes:
    """Bring the board's parser to the beginning of a request, from any state.

    Zeros complete whatever was begun. Then the parser is 0 to 3 bytes into a header of zeros, and a short question is
    asked until it is answered in full, one zero later each time. Returns what the board sent on account of requests
    that were begun before, which may be data. Raises `BoardAnswerError` where the question is never answered,
    `BoardError` where the link fails.
    """
    link = dialogue.link
    link.why = "zeros, which complete a request that may have been begun"
    link.write(RESYNC_ZEROS)
    # The board may answer before it has taken all of the zeros, and say nothing more until then.
    late = read_for(link, len(RESYNC_ZEROS) / SLOWEST_BYTES_S) + read_until_silence(link)
    for _ in range(_MAX_QUESTIONS):
        link.why = "question, to find the beginning of a request"
        link.write(RESYNC_QUESTION)
        if len(read_until_silence(link)) == RESYNC_ANSWER_BYTES:
            return late
        link.write(bytes(1))
        read_until_silence(link)
    raise dialogue.silence(ReadRequest(Register.CHIP, RESYNC_ANSWER_BYTES, "resynchronisation"), b"")


_log = logging.getLogger(__name__)

_READ_FIFO_EMPTY = int(SpiConfig.READ_FIFO_EMPTY)
_READ_FIFO_FULL = int(SpiConfig.READ_FIFO_FULL)
_QUIET_FLAGS = int(
    SpiConfig.WRITE_FIFO_RESET | SpiConfig.WRITE_FIFO_EMPTY | SpiConfig.WRITE_FIFO_FULL | SpiConfig.READ_FIFO_RESET
)
_QUIET = int(SpiConfig.WRITE_FIFO_EMPTY)
"""What these flags are while data are read. Anything else is not an answer about flags: bytes were lost before it."""

_FLAGS_QUESTION = ReadRequest(Register.IDENTITY, 1).encode() + ReadRequest(Register.SPI_CONFIG, 1).encode()
"""The identity, then the flags: an answer that begins one byte early or late has neither in its place.

With the flags alone, one byte of data in 16 would pass for them, and be lost. In this order, a lost or doubled byte
turns the question, if nothing but zeros follows it, into nothing worse than one clock on the chips' shift register.
"""

_RAN_DRY = bytes((PADDING_BYTE,)) * 8
"""A readout that ends so was longer than what the FIFO held. A hit may end in a few such bytes, hardly in all."""


class ReadoutPoller(ReadoutBuffer):
    """Is the FIFO empty, and if not, what does it hold.

    A board that had nothing is asked one question at a time; one that had something is asked both at once. Each readout
    without padding doubles the number of questions for data that are kept on their way to it, up to `queue_ahead`, so
    that it never waits for the next one; the first with padding makes it one again. An answer of
    padding and nothing else is no readout. With a `queue_ahead` of 0 it is one question at a time always.

    Where an answer comes in part, what comes late is taken and given, too, in readouts that begin where they should, so
    that groups of padding are found in them. Where bytes are missing then, the board's parser is brought to the
    beginning of a request (`resynchronise`), and `is_set_up(damaged)` says whether the board is as it should be (or
    raises). `damaged`: the bytes that are missing or too many are not explained by a loss within one answer, so a
    request may have been damaged on its way to the board and have written to any register.
    """

    def __init__(
        self,
        dialogue: Dialogue,
        readout_bytes: int,
        now_ns: Callable[[], int],
        queue_ahead: int,
        is_set_up: Callable[[bool], bool],
    ) -> None:
        super().__init__(now_ns)
        self._dialogue = dialogue
        self._link = dialogue.link
        self._is_set_up = is_set_up
        self._max_ahead = max(1, queue_ahead)
        self._asks_at_once = queue_ahead > 0
        self._ahead = 1
        self._flowing = False
        self._ran_dry = False
        self._flags_request = ReadRequest(Register.SPI_CONFIG, FLAGS_ANSWER_BYTES, "is the read FIFO empty")
        self._data_request = ReadRequest(Register.SPI_READ_FIFO, readout_bytes, "readout")
        self._data_question = self._data_request.encode()
        self._nothing = bytes((PADDING_BYTE,)) * readout_bytes
        self._expected: deque[ReadRequest] = deque()
        self._expected_bytes = 0
        self._broken_off: BoardAnswerError | None = None
        self._came = b""
        self._out_of_step = False
        self._damaged = False
        self._flags = 0
        self.vain_reads = 0
        self.fifo_full = 0
        self.resyncs = 0

    @property
    def idle(self) -> bool:
        """Whether everything that was asked for was given."""
        return not self._expected and not self._ready

    @property
    def dry(self) -> bool:
        """Whether the board had nothing more a moment ago: what it gave last ended in padding, or was nothing."""
        return self._ran_dry and self.idle

    def forget_questions(self) -> None:
        """Nothing is expected from the board: the link is new."""
        self._expected.clear()
        self._expected_bytes = 0
        self._broken_off = None
        self._out_of_step = self._damaged = False
        self._came = b""
        self._ready.clear()
        self._ahead = 1
        self._flowing = False

    def settle(self) -> None:
        """Take the answers that are on their way, so that something else may be asked; they are kept for `poll`.

        Where an answer broke off, or more came than was asked for, bring board and driver into step again.
        `BoardAnswerError` where that fails.
        """
        self._ahead = 1
        if self._broken_off is None:
            # Its answer shows whether something else came before it.
            self._ask(flags=1)
        while self._expected and self._broken_off is None:
            if (readout := self._next_readout(ask_ahead=False)) is not None:
                self._ready.append(readout)
        if self._broken_off is None:
            return
        try:
            self._take_late_answers()
            set_up = self._is_set_up(self._damaged)
        except BoardAnswerError as error:
            raise (self._broken_off if self._out_of_step else error) from error
        if not set_up:
            raise self._broken_off
        self._broken_off, self._damaged = None, False

    def poll(self) -> RawReadout | None:
        """One readout, or None if the board has nothing now. `BoardAnswerError` where it does not answer rightly."""
        if self._broken_off is None and not self._ready and (self._expected or self._ask_for_data()):
            while self._expected and self._broken_off is None:
                if (readout := self._next_readout()) is not None:
                    self._flowing = self._asks_at_once
                    return readout
        if self._broken_off is not None and not self._ready:
            try:
                self.settle()
            except BoardError:  # what came is given first
                if not self._ready:
                    raise
        if self._ready:
            return self._ready.popleft()
        self._flowing = False
        return None

    def _ask_for_data(self) -> bool:
        """Ask for readouts; False where the board says that it has none."""
        if self._flowing:
            self._ask(flags=1, readouts=self._ahead)
            return True
        self._ask(flags=1)
        self._next_readout()
        if self._broken_off is not None:
            return False
        if self._flags & _READ_FIFO_EMPTY:
            self._ahead = 1
            self._ran_dry = True
            return False
        self._ask(readouts=self._ahead)
        return True

    def _ask(self, *, flags: int = 0, readouts: int = 0) -> None:
        self._expected += flags * (self._flags_request,) + readouts * (self._data_request,)
        self._expected_bytes += flags * self._flags_request.length + readouts * self._data_request.length
        self._link.write(flags * _FLAGS_QUESTION + readouts * self._data_question)

    def _next_readout(self, *, ask_ahead: bool = True) -> RawReadout | None:
        """The next answer, if it is a readout; None if it is flags, missing, or padding where nobody promised more.

        An answer that breaks off, or cannot be flags, is noted in `_broken_off` and `_came`.
        """
        request = self._expected[0]
        try:
            answer = self._link.read(request.length, ANSWER_TIMEOUT_S, self._expected_bytes - request.length)
        except LinkTimeout as error:
            self._broken_off = self._dialogue.silence(request, error.partial)
            self._came = error.partial
            self.short_readouts += bool(error.partial)
            return None
        if request is self._flags_request and (answer[0] != IDENTITY_VALUE or answer[1] & _QUIET_FLAGS != _QUIET):
            self._broken_off = self._dialogue.silence(request, answer)
            self._came, self._out_of_step = answer, True
            return None
        self._expected.popleft()
        self._expected_bytes -= request.length
        if request is self._flags_request:
            self._note_flags(answer[1])
            return None
        promised = not self._flags & _READ_FIFO_EMPTY
        # The flags were true when the first readout after them was taken; what follows is taken on trust.
        self._flags |= _READ_FIFO_EMPTY
        self._ran_dry = answer.endswith(_RAN_DRY)
        if self._ran_dry:
            self._ahead = 1
            if not promised and answer == self._nothing:
                self.vain_reads += 1
                return None
        elif ask_ahead:
            self._ask_ahead()
        return self._stamp(answer)

    def _ask_ahead(self) -> None:
        """There is more to come than is asked for: ask for more, several at a time."""
        self._ahead = min(2 * self._ahead, self._max_ahead)
        under_way = self._expected_bytes // self._data_request.length
        if self._ahead > 1 and under_way <= self._ahead // 2:
            self._ask(flags=1, readouts=self._ahead - under_way)

    def _note_flags(self, flags: int) -> None:
        self._flags = flags
        self.polls += 1
        if flags & _READ_FIFO_FULL:
            self.fifo_full += 1

    def _take_late_answers(self) -> None:
        """Take what comes of the expected answers, and resynchronise where not exactly that came."""
        expected, missing = tuple(self._expected), self._expected_bytes
        late, self._came = self._came, b""
        self._expected.clear()
        self._expected_bytes = 0
        try:
            late += read_until_silence(self._link)
        except BoardError:
            self._keep(late)
            raise
        if len(late) == missing and not self._out_of_step:
            self._keep_answers(late, expected)
            return
        if self._data_request in expected or len(late) > missing:
            self._keep(late)
        lost_bytes = missing - len(late)
        self._damaged |= not 0 <= lost_bytes < self._data_request.length
        self._out_of_step = True
        self.resyncs += 1
        begun = resynchronise(self._dialogue)
        self._out_of_step = False
        self._keep(begun)
        self._damaged |= bool(begun)
        _log.warning("%s: %d bytes of answers are missing; resynchronised", self._dialogue.name, lost_bytes)

    def _keep_answers(self, late: bytes, requests: tuple[ReadRequest, ...]) -> None:
        """Keep the readouts among the answers to `requests` for `poll`."""
        start = 0
        for request in requests:
            piece, start = late[start : start + request.length], start + request.length
            if request is self._data_request:
                self._ready.append(self._stamp(piece))

    def _keep(self, late: bytes) -> None:
        """Keep bytes for `poll` of which some are missing, nobody knows which: all, with flags among them."""
        length = self._data_request.length
        for start in range(0, len(late), length):
            self._ready.append(self._stamp(late[start : start + length]))
