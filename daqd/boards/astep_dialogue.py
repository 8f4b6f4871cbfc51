"""Requests to an A-STEP board, one at a time, over a link that may lose or duplicate bytes."""

import re
from collections.abc import Callable
from typing import Final

from daqd.boards.dialogue import (
    ANSWER_TIMEOUT_S,
    SILENCE_S,
    SLOWEST_BYTES_S,
    Dialogue,
    read_until_silence,
)
from daqd.errors import BoardAnswerError, LinkTimeout
from daqd.transports.link import Link
from protocol.registers.astep import REQUEST_FILLER, SAFE_LENGTH, RegisterRead, RegisterWrite, byte_of, read_byte
from protocol.registers.astep_register_map import RegisterMap
from protocol.registers.astep_registers import Register
from protocol.registers.steps import RegisterRequest

SHORT_FILLER: Final = bytes(260)
"""Ends a request of `read_byte` or `fifo_length` of which one byte was lost."""

FULL_TRIES: Final = 3

READ_TRIES: Final = 3
"""How often a read that survives the link is repeated by itself, where nothing was written since the last answer."""

_FILLER_PIECE = 1024
_SAME = SAFE_LENGTH * 7 // 8
"""Equal bytes that make an answer to `read_byte`, where some were lost."""

_MIN_CONSTANT = 32
"""So many equal bytes are no frames."""


class AstepDialogue(Dialogue):
    """Sends a request only after the whole answer to the one before.

    A request whose answer does not come in full leaves board and host out of step: `in_step` is False until `recover`.
    `written` has the last value that was written to each register in one piece.
    """

    registers: RegisterMap

    def __init__(self, link: Link, name: str, sleep: Callable[[float], object], registers: RegisterMap) -> None:
        super().__init__(link, name, sleep, registers)
        self.in_step = True
        self.resyncs = 0
        self.written: dict[Register, bytes] = {}
        self._identity = b""
        self._was_data = False
        self._has_answered = False
        self._surplus = b""

    def know_firmware(self, firmware_id: int, registers: RegisterMap) -> None:
        """From now on, the board has these registers, and proves with this id that it is in step."""
        self.registers = registers
        self._identity = firmware_id.to_bytes(4, "little")

    def _exchange(self, request: RegisterRequest) -> bytes:
        if isinstance(request, RegisterWrite) and isinstance(request.register, Register):
            self.written[request.register] = request.data
        if not isinstance(request, RegisterRead):
            self.send(request)
            self._has_answered = False
            return b""
        for left in reversed(range(READ_TRIES)):
            answer = self.exchange(request)
            if len(answer) == request.length or (request.copies and len(answer) >= _SAME):
                break
            # Behind a write, it may be the write that was damaged.
            if not (left and request.copies and self._has_answered):
                raise self.silence(request, answer)
            self.recover(silent=not answer)
        self.in_step = self._has_answered = True
        return answer

    def exchange(self, request: RegisterRead, first_s: float = ANSWER_TIMEOUT_S) -> bytes:
        """The answer to `request`, or what came of it until the board fell silent.

        `first_s`: how long to wait for the first byte, besides the time that the link takes.
        """
        self._collect()
        self._was_data = request.register is Register.READOUT
        self.send(request)
        answer = self._receive(request.length, first_s + self._on_their_way / SLOWEST_BYTES_S)
        self._on_their_way = 0
        self.in_step = len(answer) == request.length
        return answer

    def take_surplus(self) -> bytes:
        """Data that came beyond the answers to reads of the FIFO: bytes that the link has doubled."""
        self._collect()
        surplus, self._surplus = self._surplus, b""
        return surplus

    def _collect(self) -> None:
        came = self.link.pending()
        if self._was_data:
            self._surplus += came

    def _receive(self, length: int, first_s: float) -> bytes:
        parts, missing, waited_s = [], length, 0.0
        while missing:
            try:
                parts.append(self.link.read(missing, SILENCE_S))
                break
            except LinkTimeout as error:
                if error.partial:
                    parts.append(error.partial)
                    missing -= len(error.partial)
                    first_s = waited_s = 0.0
                    continue
                waited_s += SILENCE_S
                if waited_s >= first_s:
                    break
        return b"".join(parts)

    def recover(self, request: RegisterRead | None = None, *, silent: bool = True) -> bytes:
        """Bring board and host into step again after an answer that did not come in full.

        Zeros end the request that the board may have begun; then its id shows whether it listens again. `request`: the
        one without an answer; `silent`: whether nothing at all was answered. Returns what came late of its data.
        Raises `BoardAnswerError` where the board does not answer any more; `take_surplus` has the late data then.
        """
        self.resyncs += 1
        self._collect()
        self._was_data = False
        late = b""
        if silent:
            late = self._fill(SHORT_FILLER)
        for _ in range(FULL_TRIES):
            came, found = self._identify()
            late += came
            if found:
                self.in_step = True
                return self.data_of(request, late)
            late += self._fill(REQUEST_FILLER)
        came, found = self._identify()
        if found:
            self.in_step = True
            return self.data_of(request, late + came)
        self._surplus += self.data_of(request, late + came)
        raise BoardAnswerError(
            self.name,
            self.registers.describe(Register.FIRMWARE_ID),
            "an answer after resynchronising",
            "none",
            "the firmware hangs, or is not loaded: load it again, or power the board off and on",
        )

    def begin_session(self) -> None:
        """End whatever request an earlier session has begun; what the board answers is dropped."""
        self._fill(REQUEST_FILLER)
        self.written.clear()
        self._identity = b""
        self.in_step = True

    def _fill(self, filler: bytes) -> bytes:
        """Send `filler`; what came until the board fell silent."""
        self.link.why = "zeros, to end what may have been begun"
        for start in range(0, len(filler), _FILLER_PIECE):
            self.link.write(filler[start : start + _FILLER_PIECE])
        return read_until_silence(self.link)

    def _identify(self) -> tuple[bytes, bool]:
        """Ask for the id; what else came, and whether it was right."""
        self.send(read_byte(Register.FIRMWARE_ID, 0, "firmware id: is the board in step"))
        self._on_their_way = 0
        came = read_until_silence(self.link)
        value = self._identity[:1] or came[-1:]
        before = came.rstrip(value) if value else came
        copies = len(came) - len(before)
        if copies < _SAME:
            return came, False
        return came[: -min(copies, SAFE_LENGTH)] if before else b"", True

    def data_of(self, request: RegisterRead | None, came: bytes) -> bytes:
        """The part of `came` that is data of the FIFO which `request` reads: all, or nothing.

        Where a byte of the request was lost or duplicated, the board has answered with bytes of its id, all equal.
        """
        if request is None or request.register is not Register.READOUT:
            return b""
        if self._identity:
            # An answer to the question for the id that came late, behind the data.
            came = re.sub(re.escape(self._identity[:1]) + b"{%d,}" % _SAME, b"", came)
        if _is_constant(came, _MIN_CONSTANT) and came[0] in self._identity:
            return b""
        # As many as the high byte of the length says, or fewer where the answer was damaged, too.
        if _is_constant(came, 3) and came[:1] == self._identity[:1]:
            return b""
        return came


def register_byte(answer: bytes) -> int | None:
    """The value in an answer to `read_byte`; None where it is none."""
    return byte_of(answer) if len(answer) >= _SAME else None


def _is_constant(data: bytes, length: int) -> bool:
    """Whether `data` is at least `length` bytes, all equal."""
    return len(data) >= length and data.count(data[:1]) == len(data)
