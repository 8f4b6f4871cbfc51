"""The records of an `.apx` file: walked in any chunking, and found again after damage (docs/formats.md, "Record")."""

from itertools import pairwise
from typing import BinaryIO, NamedTuple

import numpy as np

from protocol.block import ReadoutBlock
from protocol.errors import ApxFormatError
from protocol.readout import RECORD_HEAD, RECORD_MARKER
from protocol.readout_description import MAX_READOUT_BYTES

MAX_SKIPPED_READOUTS = 1000
"""How far apart the ids of two readouts that follow each other can be, to be trusted after damage."""

_WINDOW_BYTES = 1 << 20


class RecordHeads(NamedTuple):
    """What the heads of consecutive records say.

    `edges`: offsets in the buffer of the start of each record and, last, of the end of the last one.
    """

    readout_ids: list[int]
    timestamps: list[int]
    edges: list[int]


def walk_records(buffer: bytes, end: int) -> RecordHeads:
    """The records from the start of `buffer`, up to the first one that is damaged or not whole.

    A record is whole if its head is in `buffer` and it ends at `end` or before, which may be beyond `buffer`.
    `record_fault` of the bytes that follow tells whether the walk stopped at damage.
    """
    readout_ids: list[int] = []
    timestamps: list[int] = []
    edges = [0]
    position, head_size, last = 0, RECORD_HEAD.size, len(buffer) - RECORD_HEAD.size
    unpack = RECORD_HEAD.unpack_from
    while position <= last:
        marker, readout_id, timestamp, length = unpack(buffer, position)
        position += head_size + length
        if position > end or marker != RECORD_MARKER or length > MAX_READOUT_BYTES:
            break
        readout_ids.append(readout_id)
        timestamps.append(timestamp)
        edges.append(position)
    return RecordHeads(readout_ids, timestamps, edges)


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
        heads = walk_records(stream, len(stream))
        end = heads.edges[-1]
        self._offset += end
        self._pending = stream[end:]
        self._fault = record_fault(self._pending, self._offset)
        if self._fault is not None and not end:
            raise self._fault
        head_size = RECORD_HEAD.size
        data = b"".join([stream[start + head_size : stop] for start, stop in pairwise(heads.edges)])
        offsets = np.array(heads.edges, np.int64)
        offsets -= head_size * np.arange(len(offsets))
        ids, timestamps = np.array(heads.readout_ids, np.uint32), np.array(heads.timestamps, np.uint64)
        return ReadoutBlock(data, ids, timestamps, offsets)


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
