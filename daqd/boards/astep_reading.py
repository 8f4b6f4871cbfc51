"""Reading frames from an A-STEP board."""

from collections import deque
from collections.abc import Callable
from typing import Final

from daqd.boards.astep_dialogue import AstepDialogue
from daqd.boards.board import RawReadout
from daqd.boards.linked_board import ReadoutBuffer
from daqd.errors import BoardAnswerError, BoardError
from protocol.registers.astep import SAFE_LENGTH, RegisterRead, fifo_length, read_register
from protocol.registers.astep_registers import Register
from protocol.stream_bytes import PADDING_BYTE

FIRST_BYTE_S: Final = 0.3
"""A board that has not begun to answer by then will not answer any more."""

_TRIES: Final = 3


class FrameReader(ReadoutBuffer):
    """Gives what the readout FIFO holds, `readout_bytes` at most at a time.

    By default it reads a fixed length, which is short while the FIFO is empty and doubles as long as answers come
    without padding: one round trip a readout, in requests that survive a damaged link (`fifo_length`). Padding alone is
    no readout, unless it may be the end of a frame that the read before cut. `by_size`: it asks how much there is and
    reads that, without padding; padding alone means that the FIFO is empty, whatever its size register says.

    One request is under way at a time. An answer that came in part is given as it is. Before the next request, board
    and host are brought into step again, and what comes late is given, too. A byte that came twice is given at the
    start of the next readout: its place in the stream.

    `in_step` of `dialogue` is False between a broken exchange and the next `poll`.
    """

    def __init__(
        self,
        dialogue: AstepDialogue,
        readout_bytes: int,
        max_frame_bytes: int,
        now_ns: Callable[[], int],
    ) -> None:
        super().__init__(now_ns)
        self._dialogue = dialogue
        self._cut_padding = bytes([PADDING_BYTE]) * (max_frame_bytes - 1)
        self._readout_bytes = readout_bytes
        self.by_size = False
        self._broken: RegisterRead | None = None
        self._is_silent = False
        self.forget()

    def forget(self) -> None:
        """Nothing that is known of the FIFO is true any more, and nothing is expected from the board."""
        self._waiting = 0
        self._length = SAFE_LENGTH
        self._frame_may_go_on = False
        self._broken = None
        self._ready.clear()

    @property
    def idle(self) -> bool:
        """Whether board and host are in step, and nothing waits for `poll`."""
        return self._dialogue.in_step and not self._ready

    @property
    def is_keeping_up(self) -> bool:
        """Whether the last read emptied the FIFO."""
        return not self._waiting and self._length == SAFE_LENGTH

    def settle(self) -> None:
        """Bring board and host into step, so that something else can be asked. Late data are kept for `poll`."""
        self._keep(self._dialogue.take_surplus())
        if not self._dialogue.in_step:
            self._recover()

    def poll(self) -> RawReadout | None:
        """One readout, or None if the board has nothing now."""
        return self._ready.popleft() if self._ready else self._read()

    def fetch(self) -> None:
        """Read once, to make room in the FIFO; what comes is kept for `poll`."""
        kept, self._ready = self._ready, deque()
        try:
            readout = self._read()
            if readout is not None:
                self._ready.appendleft(readout)
        finally:
            self._ready = kept + self._ready

    def _read(self) -> RawReadout | None:
        self.polls += 1
        for _ in range(_TRIES):
            try:
                self.settle()
            except BoardError:  # what came is given first
                if not self._ready:
                    raise
            if self._ready:
                return self._ready.popleft()
            length = self._next_length()
            data = self._ask(RegisterRead(Register.READOUT, length, False, "readout")) if length else b""
            if data and not self._is_empty(data):
                return self._stamp(data)
            if self._dialogue.in_step:
                self._waiting = 0
                return None
        return None

    def _next_length(self) -> int:
        if not self.by_size:
            return fifo_length(min(self._length, self._readout_bytes), self._dialogue.registers)
        if not self._waiting:
            answer = self._ask(read_register(Register.READOUT_SIZE, "how much is there"))
            self._waiting = int.from_bytes(answer, "little") if self._dialogue.in_step else 0
        return fifo_length(min(self._waiting, self._readout_bytes), self._dialogue.registers) if self._waiting else 0

    def _ask(self, request: RegisterRead) -> bytes:
        """What came of the answer; of data, only what is data."""
        answer = self._dialogue.exchange(request, FIRST_BYTE_S)
        if self._dialogue.in_step:
            self._adapt(request, answer)
            return answer
        self._broken, self._is_silent = request, not answer
        self._waiting = 0
        data = self._dialogue.data_of(request, answer)
        self.short_readouts += bool(data)
        return data

    def _adapt(self, request: RegisterRead, answer: bytes) -> None:
        """Choose the length of the next read."""
        if request.register is not Register.READOUT:
            return
        if self.by_size:
            self._waiting -= len(answer)
        elif not answer.endswith(self._cut_padding):
            self._length = min(2 * self._length, max(SAFE_LENGTH, self._readout_bytes))
        elif len(answer.rstrip(self._cut_padding)) < len(answer) // 2:
            self._length = SAFE_LENGTH

    def _is_empty(self, data: bytes) -> bool:
        """Whether `data` is padding alone, and no part of a frame."""
        if not data or data.count(PADDING_BYTE) < len(data):
            self._frame_may_go_on = bool(data) and not data.endswith(self._cut_padding)
            return False
        may_be_data, self._frame_may_go_on = self._frame_may_go_on, False
        return not may_be_data

    def _recover(self) -> None:
        """Bring board and host into step; what came late becomes a readout."""
        request, self._broken = self._broken, None
        try:
            self._keep(self._dialogue.recover(request, silent=self._is_silent or request is None))
        except BoardAnswerError:
            self._keep(self._dialogue.take_surplus())
            raise

    def _keep(self, data: bytes) -> None:
        if data and not self._is_empty(data):
            self._ready.append(self._stamp(data))
