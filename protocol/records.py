"""The records of an `.apx` file: walked in any chunking, and found again after damage (docs/formats.md, "Record")."""

import struct
from itertools import pairwise
from typing import BinaryIO

import numpy as np

from protocol.block import ReadoutBlock
from protocol.errors import ApxFormatError
from protocol.readout import RECORD_HEAD, RECORD_MARKER
from protocol.readout_description import MAX_READOUT_BYTES

MAX_SKIPPED_READOUTS = 1000
"""How far apart the ids of two readouts that follow each other can be, to be trusted after damage."""

_WINDOW_BYTES = 1 << 20
_HEAD_DTYPE = np.dtype([("marker", "S3"), ("readout_id", "<u4"), ("timestamp", "<u8"), ("length", "<u4")])
_MARKER_AND_LENGTH = struct.Struct("<3s12xI")
"""Of a record's head, what the walk needs: to take it apart in whole for each record would take twice as long."""


def walk_records(buffer: bytes, end: int) -> list[int]:
    """Offsets of the records from the start of `buffer`, up to the first one that is damaged or not whole.

    They are the starts of all records and, last, the end of the last one. A record is whole if its head is in `buffer`
    and it ends at `end` or before, which may be beyond `buffer`. `record_fault` of the bytes that follow tells whether
    the walk stopped at damage.
    """
    edges = [0]
    position, last = 0, len(buffer) - RECORD_HEAD.size
    head_size, unpack = RECORD_HEAD.size, _MARKER_AND_LENGTH.unpack_from
    while position <= last:
        marker, length = unpack(buffer, position)
        position += head_size + length
        if position > end or marker != RECORD_MARKER or length > MAX_READOUT_BYTES:
            break
        edges.append(position)
    return edges


def record_fault(begun: bytes, offset: int) -> ApxFormatError | None:
    """What is wrong with the start of a record, at `offset` in its file; None while nothing is."""
    marker = begun[: len(RECORD_MARKER)]
    if marker != RECORD_MARKER[: len(marker)]:
        return ApxFormatError(f"no record marker {RECORD_MARKER.hex()}, but {marker.hex()}", offset)
    if len(begun) >= RECORD_HEAD.size:
        length = RECORD_HEAD.unpack_from(begun)[3]
        if length > MAX_READOUT_BYTES:
            return ApxFormatError(f"a readout of {length} bytes announced; that is damage", offset)
    return None


class RecordScanner:
    """Takes the bytes after the header of a file, as they come; gives the readouts that are whole.

    `offset`: position in the file of the first byte that will be fed. `feed` raises `ApxFormatError` where no record
    begins, at the offset of the fault; the whole records before it are given first, by the call before.
    """

    def __init__(self, offset: int) -> None:
        self._offset = offset
        self._pending = b""
        self._fault: ApxFormatError | None = None

    @property
    def offset(self) -> int:
        """Position in the file after the last whole record."""
        return self._offset

    @property
    def leftover_bytes(self) -> int:
        """Bytes fed after the last whole record."""
        return len(self._pending)

    def feed(self, chunk: bytes) -> ReadoutBlock:
        """The readouts that `chunk` completes; an empty block if none."""
        if self._fault is not None:
            raise self._fault
        stream = self._pending + chunk if self._pending else chunk
        edges = walk_records(stream, len(stream))
        end = edges[-1]
        self._offset += end
        self._pending = stream[end:]
        self._fault = record_fault(self._pending, self._offset)
        if self._fault is not None and not end:
            raise self._fault
        return _block(stream, edges) if end else ReadoutBlock.empty()


def _block(stream: bytes, edges: list[int]) -> ReadoutBlock:
    """The readouts of the records between these offsets."""
    head_size = RECORD_HEAD.size
    data = b"".join([stream[start + head_size : stop] for start, stop in pairwise(edges)])
    offsets = np.array(edges, np.int64)
    head_bytes = np.frombuffer(stream, np.uint8)[offsets[:-1, None] + np.arange(head_size)]
    heads = head_bytes.view(_HEAD_DTYPE)[:, 0]
    offsets -= head_size * np.arange(len(offsets))
    return ReadoutBlock(data, heads["readout_id"].astype(np.uint32), heads["timestamp"].astype(np.uint64), offsets)


def find_record(
    file: BinaryIO, start: int, stop: int, size_bytes: int, *, damage: int, after: int | None
) -> int | None:
    """Offset of the first record that begins at `start` or later, before `stop`; None where there is none.

    The bytes of a readout may look like the beginning of a record. So what begins like one is taken for one only if it
    is whole within the `size_bytes` of the file, and

    - its id is one that it must have: as many readouts as fit between `damage`, where the damage begins, and here, may
      have been lost after readout `after` (None: not known);
    - or another begins behind it, with an id that is larger by `MAX_SKIPPED_READOUTS` at most;
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
    return bool(marker == RECORD_MARKER and 0 < following_id - readout_id <= MAX_SKIPPED_READOUTS)
