"""Asking a GECCO board for readouts."""

from collections.abc import Callable

from daqd.boards.board import RawReadout
from daqd.boards.dialogue import ANSWER_TIMEOUT_S, Dialogue
from daqd.errors import LinkTimeout
from protocol.gecco import MAX_LENGTH, ReadRequest, Register, SpiConfig
from protocol.gecco_sequence import check_scratch

SETTLE_TIMEOUT_S = 0.1
"""Silence for that long after an answer that came in part: nothing of it will come any more."""

_READ_FIFO_EMPTY = int(SpiConfig.READ_FIFO_EMPTY)
_READ_FIFO_FULL = int(SpiConfig.READ_FIFO_FULL)


class ReadoutPoller:
    """One question, one answer: is the FIFO empty, and if not, what does it hold.

    An answer that came in part is given as it is. Before the next question, what comes late is taken (and given, too),
    and the scratch register tells whether answers belong to questions again.
    """

    def __init__(self, dialogue: Dialogue, readout_bytes: int, now_ns: Callable[[], int]) -> None:
        self._dialogue = dialogue
        self._link = dialogue.link
        self._now_ns = now_ns
        self._flags_request = ReadRequest(Register.SPI_CONFIG, 1, "is the read FIFO empty")
        self._data_request = ReadRequest(Register.SPI_READ_FIFO, readout_bytes, "readout")
        self._flags_question = self._flags_request.encode()
        self._data_question = self._data_request.encode()
        self._unanswered: ReadRequest | None = None
        self._late: RawReadout | None = None
        self.polls = 0
        self.readouts = 0
        self.read_bytes = 0
        self.short_readouts = 0
        self.fifo_full = 0

    def forget_questions(self) -> None:
        """Nothing is expected from the board: the link is new."""
        self._unanswered = None

    def settle(self) -> None:
        """Bring questions and answers together again, where an answer is owed; nothing else may be asked before.

        What comes late of a readout is kept for `poll`.
        """
        if self._unanswered is None:
            return
        try:
            late = self._link.read(MAX_LENGTH, SETTLE_TIMEOUT_S)
        except LinkTimeout as error:
            late = error.partial
        if late and self._unanswered is self._data_request:
            self._late = self._stamp(late)
        self._dialogue.run(check_scratch())
        self._unanswered = None

    def poll(self) -> RawReadout | None:
        """One readout, or None if the board has nothing now."""
        if self._late is None:
            self.settle()
        if self._late is not None:
            late, self._late = self._late, None
            return late
        self.polls += 1
        flags = self._ask(self._flags_request, self._flags_question)[0]
        if flags & _READ_FIFO_FULL:
            self.fifo_full += 1
        if flags & _READ_FIFO_EMPTY:
            return None
        try:
            self._link.write(self._data_question)
            data = self._link.read(self._data_request.length, ANSWER_TIMEOUT_S)
        except LinkTimeout as error:
            self._unanswered = self._data_request
            if not error.partial:
                raise self._dialogue.silence(self._data_request, b"") from error
            self.short_readouts += 1
            data = error.partial
        return self._stamp(data)

    def _ask(self, request: ReadRequest, question: bytes) -> bytes:
        self._link.write(question)
        try:
            return self._link.read(request.length, ANSWER_TIMEOUT_S)
        except LinkTimeout as error:
            self._unanswered = request
            raise self._dialogue.silence(request, error.partial) from error

    def _stamp(self, data: bytes) -> RawReadout:
        readout = RawReadout(data, self._now_ns())
        self.readouts += 1
        self.read_bytes += len(data)
        return readout
