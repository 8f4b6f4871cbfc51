"""Finding the next record after a place where none begins (docs/formats.md, "Damage")."""

from typing import BinaryIO

from protocol.readout import RECORD_HEAD, RECORD_MARKER
from protocol.readout_description import MAX_READOUT_BYTES

MOST_SKIPPED = 1000
"""How far apart the ids of two readouts can be that follow each other, to be trusted after damage."""

_WINDOW_BYTES = 1 << 20


def find_record(
    file: BinaryIO, start: int, stop: int, size_bytes: int, *, damage: int, after: int | None
) -> int | None:
    """Offset of the first record that begins at `start` or later, before `stop`; None where there is none.

    The bytes of a readout may look like the beginning of a record. So what begins like one is taken for one only if it
    is whole within the `size_bytes` of the file, and

    - its id is one that it must have: as many readouts as fit between `damage`, where the damage begins, and here, may
      have been lost after readout `after` (None: not known);
    - or another begins behind it, with an id that is larger by `MOST_SKIPPED` at most;
    - or the file ends with it, and `after` is not known.
    """
    position = start
    while position < min(stop, size_bytes):
        file.seek(position)
        window = file.read(_WINDOW_BYTES)
        if len(window) < RECORD_HEAD.size:
            return None  # nothing that could be a head is left; or the file has become shorter since it was looked at
        at = window.find(RECORD_MARKER)
        while at >= 0 and position + at < stop:
            if at + RECORD_HEAD.size > len(window):
                break
            if _is_record(file, window[at : at + RECORD_HEAD.size], position + at, size_bytes, damage, after):
                return position + at
            at = window.find(RECORD_MARKER, at + 1)
        if position + len(window) >= size_bytes:
            return None
        # A head that begins in this window and ends in the next is looked at once more, whole.
        position += len(window) - (RECORD_HEAD.size - 1)
    return None


def _is_record(file: BinaryIO, head: bytes, offset: int, size_bytes: int, damage: int, after: int | None) -> bool:
    _, readout_id, _, length = RECORD_HEAD.unpack(head)
    end = offset + RECORD_HEAD.size + length
    if length > MAX_READOUT_BYTES or end > size_bytes:
        return False
    if after is not None and 0 <= readout_id - after - 1 <= (offset - damage) // RECORD_HEAD.size:
        return True
    file.seek(end)
    following = file.read(RECORD_HEAD.size)
    if len(following) < RECORD_HEAD.size:
        return after is None and not following
    marker, following_id, _, _ = RECORD_HEAD.unpack(following)
    return bool(marker == RECORD_MARKER and 0 < following_id - readout_id <= MOST_SKIPPED)
