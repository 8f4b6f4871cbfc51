"""Asking a GECCO board for readouts."""

from collections import deque
from collections.abc import Callable
from contextlib import suppress

from daqd.boards.board import RawReadout
from daqd.boards.dialogue import ANSWER_TIMEOUT_S, Dialogue
from daqd.errors import BoardAnswerError, LinkTimeout
from protocol.registers.gecco import MAX_LENGTH, ReadRequest, Register, SpiConfig
from protocol.registers.gecco_sequence import check_scratch
from protocol.stream_bytes import PADDING_BYTE

SETTLE_TIMEOUT_S = 0.1
"""Silence for that long after an answer that came in part: nothing of it will come any more."""

_MOST_LATE_BYTES = 1 << 24
"""A board that sends for ever what nobody has asked for is told by its scratch register, not by our memory."""

_READ_FIFO_EMPTY = int(SpiConfig.READ_FIFO_EMPTY)
_READ_FIFO_FULL = int(SpiConfig.READ_FIFO_FULL)

_RAN_DRY = bytes((PADDING_BYTE,)) * 8
"""A readout that ends so was longer than what the FIFO held. A hit may end in a few such bytes, hardly in all."""


class ReadoutPoller:
    """Is the FIFO empty, and if not, what does it hold.

    A board that had nothing is asked one question at a time; one that had something is asked both at once. Each readout
    without padding doubles the number of questions for data that are kept on their way to it, up to `queue_ahead`, so
    that it never waits for the next one; the first with padding makes it one again. What was asked for in vain, padding
    and nothing else, is no readout. With a `queue_ahead` of 0 it is one question at a time always.

    An answer that came in part is given as it is. Before the next question, what comes late is taken (and given, too),
    and the scratch register tells whether answers belong to questions again.
    """

    def __init__(self, dialogue: Dialogue, readout_bytes: int, now_ns: Callable[[], int], queue_ahead: int = 0) -> None:
        self._dialogue = dialogue
        self._link = dialogue.link
        self._now_ns = now_ns
        self._most_ahead = max(1, queue_ahead)
        self._asks_at_once = queue_ahead > 0
        self._ahead = 1
        self._flowing = False
        self._ran_dry = False
        self._flags_request = ReadRequest(Register.SPI_CONFIG, 1, "is the read FIFO empty")
        self._data_request = ReadRequest(Register.SPI_READ_FIFO, readout_bytes, "readout")
        self._flags_question, self._data_question = self._flags_request.encode(), self._data_request.encode()
        self._nothing = bytes((PADDING_BYTE,)) * readout_bytes
        self._expected: deque[ReadRequest] = deque()
        self._expected_bytes = 0
        self._broken_off_bytes: int | None = None
        self._ready: deque[RawReadout] = deque()
        self._flags = 0
        self.polls = 0
        self.readouts = 0
        self.read_bytes = 0
        self.short_readouts = 0
        self.vain_reads = 0
        self.fifo_full = 0

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
        self._broken_off_bytes = None
        self._ready.clear()
        self._ahead = 1
        self._flowing = False

    def settle(self) -> None:
        """Take the answers that are on their way, so that something else may be asked; they are kept for `poll`.

        Where an answer was broken off, what comes late is taken until there is silence, and the scratch register has to
        answer rightly.
        """
        self._ahead = 1
        with suppress(BoardAnswerError):  # an answer that does not come is looked for below
            while self._expected and self._broken_off_bytes is None:
                if (readout := self._next_readout(ask_ahead=False)) is not None:
                    self._ready.append(readout)
        came_bytes = self._broken_off_bytes
        if came_bytes is not None:
            self._take_late_answers(came_bytes)
            self._dialogue.run(check_scratch())
            self._broken_off_bytes = None

    def poll(self) -> RawReadout | None:
        """One readout, or None if the board has nothing now."""
        if self._broken_off_bytes is not None and not self._ready:
            self.settle()
        if self._ready:
            return self._ready.popleft()
        if not self._expected and not self._ask_for_data():
            return None
        while self._expected:
            if (readout := self._next_readout()) is not None:
                self._flowing = self._asks_at_once
                return readout
        self._flowing = False
        return None

    def _ask_for_data(self) -> bool:
        """Ask for readouts; False where the board says that it has none."""
        if self._flowing:
            self._ask(flags=1, readouts=self._ahead)
            return True
        self._ask(flags=1)
        self._next_readout()
        if self._flags & _READ_FIFO_EMPTY:
            self._ahead = 1
            self._ran_dry = True
            return False
        self._ask(readouts=self._ahead)
        return True

    def _ask(self, *, flags: int = 0, readouts: int = 0) -> None:
        self._expected += flags * (self._flags_request,) + readouts * (self._data_request,)
        self._expected_bytes += flags * self._flags_request.length + readouts * self._data_request.length
        self._link.write(flags * self._flags_question + readouts * self._data_question)

    def _next_readout(self, *, ask_ahead: bool = True) -> RawReadout | None:
        """The next answer, if it is a readout; None if it is flags, or only padding where nobody promised more."""
        request = self._expected[0]
        try:
            answer = self._link.read(request.length, ANSWER_TIMEOUT_S, self._expected_bytes - request.length)
        except LinkTimeout as error:
            self._broken_off_bytes = len(error.partial)
            if request is self._flags_request or not error.partial:
                raise self._dialogue.silence(request, error.partial) from error
            self.short_readouts += 1
            return self._stamp(error.partial)
        self._expected.popleft()
        self._expected_bytes -= request.length
        if request is self._flags_request:
            self._note_flags(answer[0])
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
        self._ahead = min(2 * self._ahead, self._most_ahead)
        under_way = self._expected_bytes // self._data_request.length
        if self._ahead > 1 and under_way <= self._ahead // 2:
            self._ask(flags=1, readouts=self._ahead - under_way)

    def _note_flags(self, flags: int) -> None:
        self._flags = flags
        self.polls += 1
        if flags & _READ_FIFO_FULL:
            self.fifo_full += 1

    def _take_late_answers(self, came_bytes: int) -> None:
        """What comes of the expected answers, of the first of which `came_bytes` have come, until there is silence.

        Late but complete, they are taken apart as they were asked for. If bytes are missing, nobody knows which: then
        all that came is kept, in pieces of a readout's length, with flags among them.
        """
        late = b""
        try:
            while len(late) < _MOST_LATE_BYTES:
                late += self._link.read(MAX_LENGTH, SETTLE_TIMEOUT_S)
        except LinkTimeout as error:
            late += error.partial
        expected, missing = list(self._expected), self._expected_bytes - came_bytes
        self._expected.clear()
        self._expected_bytes = 0
        if not late or (len(expected) == 1 and expected[0] is self._flags_request):
            return
        if len(late) == missing:
            sizes = [request.length for request in expected]
            sizes[0] -= came_bytes
        else:
            expected = [self._data_request] * -(-len(late) // self._data_request.length)
            sizes = [self._data_request.length] * len(expected)
        start = 0
        for request, size in zip(expected, sizes, strict=True):
            piece, start = late[start : start + size], start + size
            if request is self._data_request and piece:
                self._ready.append(self._stamp(piece))

    def _stamp(self, data: bytes) -> RawReadout:
        readout = RawReadout(data, self._now_ns())
        self.readouts += 1
        self.read_bytes += len(data)
        return readout
