"""From the bytes of an `.apx` file to columns of readouts, in any chunking (docs/formats.md, "Record")."""

from protocol.block import ReadoutBlock
from protocol.errors import ApxFormatError
from protocol.readout import RECORD_HEAD, RECORD_MARKER
from protocol.readout_description import MAX_READOUT_BYTES


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
        chunks: list[bytes] = []
        readout_ids: list[int] = []
        timestamps: list[int] = []
        position, head_size, end = 0, RECORD_HEAD.size, len(stream)
        unpack = RECORD_HEAD.unpack_from
        while position + head_size <= end:
            marker, readout_id, timestamp, length = unpack(stream, position)
            if marker != RECORD_MARKER or length > MAX_READOUT_BYTES:
                break
            stop = position + head_size + length
            if stop > end:
                break
            chunks.append(stream[position + head_size : stop])
            readout_ids.append(readout_id)
            timestamps.append(timestamp)
            position = stop
        self._offset += position
        self._pending = stream[position:]
        self._fault = self._check(self._pending)
        if self._fault is not None and not chunks:
            raise self._fault
        return ReadoutBlock.from_columns(chunks, readout_ids, timestamps)

    def _check(self, pending: bytes) -> ApxFormatError | None:
        """What is wrong with the beginning of a record, if anything."""
        begun = pending[: len(RECORD_MARKER)]
        if begun != RECORD_MARKER[: len(begun)]:
            return ApxFormatError(f"no record marker {RECORD_MARKER.hex()}, but {begun.hex()}", self._offset)
        if len(pending) >= RECORD_HEAD.size:
            length = RECORD_HEAD.unpack_from(pending)[3]
            if length > MAX_READOUT_BYTES:
                return ApxFormatError(f"a readout of {length} bytes announced; that is damage", self._offset)
        return None
