"""Reading frames and counters from an A-STEP board."""

from collections import deque
from collections.abc import Callable
from contextlib import suppress

from daqd.boards.board import RawReadout
from daqd.boards.dialogue import Dialogue
from daqd.errors import BoardAnswerError, LinkTimeout
from protocol.layer_scan import MAX_FRAME_BYTES
from protocol.registers.astep import MAX_LENGTH, RegisterRead, read_register
from protocol.registers.astep_firmware import check_firmware
from protocol.registers.astep_registers import Register
from protocol.registers.astep_sequence import (
    COUNTER_KINDS,
    counters_of,
    read_counters,
    read_xadc,
    xadc_temperature_c,
    xadc_voltage_v,
)
from protocol.stream_bytes import PADDING_BYTE

SETTLE_TIMEOUT_S = 0.1
"""Silence for that long after an answer that came in part: nothing of it will come any more."""

_MOST_LATE_BYTES = 1 << 24
_SIZE_REQUEST = read_register(Register.READOUT_SIZE, "how much is there")
_CUT_PADDING = bytes([PADDING_BYTE]) * (MAX_FRAME_BYTES - 1)


class FrameReader:
    """Gives what the readout FIFO holds, `readout_bytes` at most at a time.

    By size, it reads what is there, `queue_ahead` readouts at once (at least one), and asks in the same breath what has
    come since: one round trip for all of that, and no padding. Each readout is stamped when it is here. Otherwise it
    always reads `readout_bytes`; what is padding alone is no readout, unless it may be the end of a frame that the read
    before cut.

    An answer that came in part is given as it is. Before the next question, what comes late is taken (and given, too),
    and the firmware's id tells whether answers belong to questions again.
    """

    def __init__(
        self,
        dialogue: Dialogue,
        readout_bytes: int,
        now_ns: Callable[[], int],
        *,
        by_size: bool = True,
        queue_ahead: int = 0,
    ) -> None:
        self._dialogue = dialogue
        self._readout_bytes = readout_bytes
        self._now_ns = now_ns
        self._by_size = by_size
        self._at_once = max(1, queue_ahead)
        self._asked: deque[RegisterRead] = deque()
        self._ready: deque[RawReadout] = deque()
        self.forget()
        self.polls = 0
        self.readouts = 0
        self.read_bytes = 0
        self.short_readouts = 0

    def forget(self) -> None:
        """What is known of the FIFO is not true any more; nothing is expected from the board."""
        self._waiting = 0
        self._frame_may_go_on = False
        self._missing: int | None = None
        self._asked.clear()
        self._ready.clear()

    @property
    def settled(self) -> bool:
        """Whether the board owes no answer."""
        return self._missing is None and not self._asked

    @property
    def idle(self) -> bool:
        """Whether nothing is under way, and nothing waits for `poll`."""
        return not self._asked and not self._ready

    def settle(self) -> None:
        """Take all answers that are owed; nothing else may be asked before. What they hold is kept for `poll`."""
        with suppress(BoardAnswerError):  # an answer that does not come is looked for below
            while self._asked:
                self._ready.append(self._next_answer())
        self._resynchronise()

    def _resynchronise(self) -> None:
        """Bring questions and answers together again, where an answer did not come in full."""
        if self._missing is None:
            return
        late = b""
        try:
            while len(late) < _MOST_LATE_BYTES:
                late += self._dialogue.link.read(MAX_LENGTH, SETTLE_TIMEOUT_S)
        except LinkTimeout as error:
            late += error.partial
        if late[: self._missing]:
            self._ready.append(self._stamp(late[: self._missing]))
        self._dialogue.run(check_firmware())
        self._missing = None
        self._waiting = 0

    def poll(self) -> RawReadout | None:
        """One readout, or None if the board has nothing now."""
        if not self._ready:
            self._resynchronise()
        if self._ready:
            return self._ready.popleft()
        if not self._by_size:
            return self._poll_fixed()
        if not self._asked:
            self.polls += 1
            if not self._waiting:
                self._dialogue.send(_SIZE_REQUEST)
                self._waiting = self._size()
            if not self._waiting:
                return None
            self._ask_for_what_is_there()
        return self._next_answer()

    def _ask_for_what_is_there(self) -> None:
        """As many readouts as may be under way, and how much there is after them."""
        left = self._waiting
        while left and len(self._asked) < self._at_once:
            length = min(left, self._readout_bytes)
            self._asked.append(RegisterRead(Register.READOUT, length, False, "readout"))
            left -= length
        self._dialogue.send(*self._asked, _SIZE_REQUEST)

    def _next_answer(self) -> RawReadout:
        request = self._asked.popleft()
        under_way = sum(each.length for each in self._asked)
        data = self._data(request, under_way, _SIZE_REQUEST.length)
        readout = self._stamp(data)
        if len(data) == request.length and not self._asked:
            with suppress(BoardAnswerError):  # the readout is here; the next poll settles what is owed
                self._waiting = self._size()
        return readout

    def _poll_fixed(self) -> RawReadout | None:
        self.polls += 1
        request = RegisterRead(Register.READOUT, self._readout_bytes, False, "readout")
        self._dialogue.send(request)
        data = self._data(request)
        padding_only = data.count(PADDING_BYTE) == len(data)
        if padding_only and not self._frame_may_go_on:
            return None
        self._frame_may_go_on = not data.endswith(_CUT_PADDING)
        return self._stamp(data)

    def _data(self, request: RegisterRead, under_way: int = 0, after: int = 0) -> bytes:
        """What came of the answer to `request`; `BoardAnswerError` where nothing comes.

        `under_way`: bytes of further readouts, `after`: of other answers, that were asked for together with it.
        """
        try:
            return self._dialogue.answer(request, under_way + after)
        except BoardAnswerError as error:
            partial = error.__cause__.partial if isinstance(error.__cause__, LinkTimeout) else b""
            self._asked.clear()
            self._missing = request.length - len(partial) + under_way
            if not partial:
                raise
            self.short_readouts += 1
            return partial

    def _size(self) -> int:
        try:
            return int.from_bytes(self._dialogue.answer(_SIZE_REQUEST), "little")
        except BoardAnswerError:
            self._missing = 0
            raise

    def _stamp(self, data: bytes) -> RawReadout:
        readout = RawReadout(data, self._now_ns())
        self.readouts += 1
        self.read_bytes += len(data)
        return readout


class Housekeeping:
    """Counters of the layers and what the FPGA measures, as they were when last asked.

    The firmware counts in 32 bits from its power-up on; `counters` go on from there, and start at 0.
    """

    def __init__(self, dialogue: Dialogue, layers: int) -> None:
        self._dialogue = dialogue
        self._last: dict[str, int] | None = None
        # People count layers from 1, the firmware's registers from 0.
        self.counters = {f"layer_{layer + 1}_{kind}": 0 for layer in range(layers) for kind in COUNTER_KINDS}
        self.readings: dict[str, float] = {}

    def forget(self) -> None:
        """The board may have been off: what it counts next is new."""
        self._last = None

    def ask(self) -> None:
        """Ask the board, all in one go."""
        counters, xadc = read_counters(), read_xadc()
        self._dialogue.send(counters, xadc)
        values = counters_of(self._dialogue.answer(counters, under_way=xadc.length))
        measured = self._dialogue.answer(xadc)
        now = {name: values[kind][int(layer) - 1] for name in self.counters for _, layer, kind in [name.split("_", 2)]}
        last = self._last if self._last is not None else now
        # A new dictionary: another thread may be reading the old one.
        self.counters = {name: count + (now[name] - last[name]) % (1 << 32) for name, count in self.counters.items()}
        self._last = now
        self.readings = {
            "fpga_temperature_c": round(xadc_temperature_c(int.from_bytes(measured[:2], "little")), 2),
            "fpga_vccint_v": round(xadc_voltage_v(int.from_bytes(measured[2:], "little")), 4),
        }
