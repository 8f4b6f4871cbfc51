"""Finding the beginning of requests again on a GECCO board, after an exchange that broke off."""

from daqd.boards.dialogue import SLOWEST_BYTES_S, Dialogue
from daqd.errors import LinkTimeout
from daqd.transports.link import Link
from protocol.registers.gecco import (
    MAX_LENGTH,
    RESYNC_ANSWER_BYTES,
    RESYNC_QUESTION,
    RESYNC_ZEROS,
    ReadRequest,
    Register,
)

SETTLE_TIMEOUT_S = 0.1
"""Silence for that long after an answer that came in part: no more of it will come."""

MAX_LATE_BYTES = 1 << 24
"""A board that sends without end what nobody has asked for is given up; it does not fill the memory."""

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
    late = _take_for(link, len(RESYNC_ZEROS) / SLOWEST_BYTES_S) + take_until_silence(link)
    for _ in range(_MAX_QUESTIONS):
        link.why = "question, to find the beginning of a request"
        link.write(RESYNC_QUESTION)
        if len(take_until_silence(link)) == RESYNC_ANSWER_BYTES:
            return late
        link.write(bytes(1))
        take_until_silence(link)
    raise dialogue.silence(ReadRequest(Register.CHIP, RESYNC_ANSWER_BYTES, "resynchronisation"), b"")


def take_until_silence(link: Link) -> bytes:
    """What comes until nothing has come for `SETTLE_TIMEOUT_S`; `MAX_LATE_BYTES` and a little more at most."""
    taken = bytearray()
    while len(taken) < MAX_LATE_BYTES:
        piece = _take_for(link, SETTLE_TIMEOUT_S)
        if not piece:
            break
        taken += piece
    return bytes(taken)


def _take_for(link: Link, seconds: float) -> bytes:
    """What comes within that time."""
    try:
        return link.read(MAX_LENGTH, seconds)
    except LinkTimeout as error:
        return error.partial
