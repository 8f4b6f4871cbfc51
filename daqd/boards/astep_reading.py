"""Reading frames and counters from an A-STEP board."""

from collections.abc import Callable
from contextlib import suppress

from daqd.boards.astep_dialogue import SLOWEST_BYTES_S, AstepDialogue
from daqd.boards.board import RawReadout
from daqd.errors import BoardAnswerError, LinkTimeout
from protocol.astep import MAX_LENGTH, RegisterRead, read_register
from protocol.astep_registers import Register
from protocol.astep_sequence import (
    COUNTER_KINDS,
    check_firmware,
    counters_of,
    read_counters,
    read_xadc,
    xadc_temperature_c,
    xadc_voltage_v,
)
from protocol.layer_scan import MAX_FRAME_BYTES
from protocol.stream_bytes import PADDING_BYTE

SETTLE_TIMEOUT_S = 0.1
"""Silence for that long after an answer that came in part: nothing of it will come any more."""

_MOST_OLD_READS = 16
_SIZE_REQUEST = read_register(Register.READOUT_SIZE, "how much is there")
_CUT_PADDING = bytes([PADDING_BYTE]) * (MAX_FRAME_BYTES - 1)


class FrameReader:
    """Gives what the readout FIFO holds, `readout_bytes` at most at a time.

    By size, it reads what is there, and asks in the same breath what has come since: one round trip for each readout,
    and no padding. Otherwise it always reads `readout_bytes`; what is padding alone is no readout, unless it may be the
    end of a frame that the read before cut.

    An answer that came in part is given as it is. Before the next question, what comes late is taken (and given, too),
    and the firmware's id tells whether answers belong to questions again.
    """

    def __init__(self, dialogue: AstepDialogue, readout_bytes: int, by_size: bool, now_ns: Callable[[], int]) -> None:
        self._dialogue = dialogue
        self._readout_bytes = readout_bytes
        self._by_size = by_size
        self._now_ns = now_ns
        self._unanswered = False
        self._missing = 0
        self._late: RawReadout | None = None
        self.forget()
        self.polls = 0
        self.readouts = 0
        self.read_bytes = 0
        self.short_readouts = 0

    def forget(self) -> None:
        """What is known of the FIFO is not true any more; nothing is expected from the board."""
        self._waiting = 0
        self._frame_may_go_on = False
        self._unanswered = False
        self._late = None

    def end_requests(self) -> None:
        """Fill up a request that was begun with zeros, which are nothing where a request is expected; drop answers."""
        link = self._dialogue.link
        link.why = "zeros, to end what may have been begun"
        link.write(bytes(MAX_LENGTH + 1))
        with suppress(LinkTimeout):
            for _ in range(_MOST_OLD_READS):
                link.read(MAX_LENGTH, MAX_LENGTH / SLOWEST_BYTES_S)

    @property
    def settled(self) -> bool:
        """Whether the board owes no answer."""
        return not self._unanswered

    def settle(self) -> None:
        """Bring questions and answers together again, where an answer is owed; nothing else may be asked before."""
        if not self._unanswered:
            return
        link = self._dialogue.link
        try:
            late = link.read(MAX_LENGTH, SETTLE_TIMEOUT_S)
        except LinkTimeout as error:
            late = error.partial
        if late[: self._missing]:
            self._late = self._stamp(late[: self._missing])
        self._dialogue.run(check_firmware())
        self._unanswered = False
        self._waiting = 0

    def poll(self) -> RawReadout | None:
        """One readout, or None if the board has nothing now."""
        if self._late is None:
            self.settle()
        if self._late is not None:
            late, self._late = self._late, None
            return late
        self.polls += 1
        return self._poll_by_size() if self._by_size else self._poll_fixed()

    def _poll_by_size(self) -> RawReadout | None:
        if not self._waiting:
            self._dialogue.send(_SIZE_REQUEST)
            self._waiting = self._size()
            if not self._waiting:
                return None
        request = RegisterRead(Register.READOUT, min(self._waiting, self._readout_bytes), False, "readout")
        self._dialogue.send(request, _SIZE_REQUEST)
        data, whole = self._data(request, under_way=_SIZE_REQUEST.length)
        readout = self._stamp(data)
        if whole:
            with suppress(BoardAnswerError):  # the readout is here; the next poll settles what is owed
                self._waiting = self._size()
        return readout

    def _poll_fixed(self) -> RawReadout | None:
        request = RegisterRead(Register.READOUT, self._readout_bytes, False, "readout")
        self._dialogue.send(request)
        data, _ = self._data(request)
        padding_only = data.count(PADDING_BYTE) == len(data)
        if padding_only and not self._frame_may_go_on:
            return None
        self._frame_may_go_on = not data.endswith(_CUT_PADDING)
        return self._stamp(data)

    def _data(self, request: RegisterRead, under_way: int = 0) -> tuple[bytes, bool]:
        """The answer to `request`, and whether it is all of it; `BoardAnswerError` where nothing comes."""
        try:
            return self._dialogue.answer(request, under_way), True
        except BoardAnswerError as error:
            partial = error.__cause__.partial if isinstance(error.__cause__, LinkTimeout) else b""
            self._unanswered, self._missing = True, request.length - len(partial)
            if not partial:
                raise
            self.short_readouts += 1
            return partial, False

    def _size(self) -> int:
        try:
            return int.from_bytes(self._dialogue.answer(_SIZE_REQUEST), "little")
        except BoardAnswerError:
            self._unanswered, self._missing = True, 0
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

    def __init__(self, dialogue: AstepDialogue, layers: int) -> None:
        self._dialogue = dialogue
        self._last: dict[str, int] | None = None
        self.counters = {f"layer_{layer}_{kind}": 0 for layer in range(layers) for kind in COUNTER_KINDS}
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
        now = {name: values[kind][int(layer)] for name in self.counters for _, layer, kind in [name.split("_", 2)]}
        last = self._last if self._last is not None else now
        # A new dictionary: another thread may be reading the old one.
        self.counters = {name: count + (now[name] - last[name]) % (1 << 32) for name, count in self.counters.items()}
        self._last = now
        self.readings = {
            "fpga_temperature_c": round(xadc_temperature_c(int.from_bytes(measured[:2], "little")), 2),
            "fpga_vccint_v": round(xadc_voltage_v(int.from_bytes(measured[2:], "little")), 4),
        }
