"""A file of records that is read to its end again and again."""

import os
from pathlib import Path

from astropix_runtime.storage.durable import O_BINARY
from protocol.apx import HEADER_LENGTH, MAGIC, MAX_HEADER_BYTES
from protocol.block import ReadoutBlock
from protocol.errors import ApxFormatError
from protocol.records import RecordScanner

_CHUNK_BYTES = 1 << 20


class OpenFile:
    """One file of a run, while it is written or after; opened when it is there.

    `final`: its name when the writer has left it; `part`: before, where it had another.
    """

    def __init__(self, final: Path, part: Path | None = None, offset: int = 0) -> None:
        self._final = final
        self._names = (final,) if part is None else (part, final)  # renamed from one to the other, perhaps just now
        self._descriptor: int | None = None
        self._offset = offset
        self._scanner: RecordScanner | None = None
        self._skipping = False
        self.filled_chunk = False

    @property
    def path(self) -> Path:
        """Name of the finished file."""
        return self._final

    @property
    def offset(self) -> int:
        """Position after the last whole record given out."""
        return self._offset if self._scanner is None else self._scanner.offset

    @property
    def leftover_bytes(self) -> int:
        """Bytes after the last whole record, of a file that was read to its end; all of one with half a header."""
        if self._descriptor is None or self._skipping:
            return 0
        if self._scanner is None:
            return os.fstat(self._descriptor).st_size
        return self._scanner.leftover_bytes

    @property
    def lag_bytes(self) -> int:
        """Bytes on disk that were not given out."""
        if self._descriptor is None or self._skipping:
            return 0
        return max(0, os.fstat(self._descriptor).st_size - self.offset)

    def read(self, until: int | None = None) -> ReadoutBlock | None:
        """The next readouts (perhaps none of them whole yet), or None where there is nothing to read now.

        `until`: nothing beyond that offset. `ApxFormatError` where the header or a record is damaged; the whole records
        before are given first.
        """
        self.filled_chunk = False
        if self._descriptor is None and not self._open():
            return None
        assert self._descriptor is not None  # noqa: S101 - just opened
        if self._skipping:
            return None
        try:
            if self._scanner is None and not self._pass_header():
                return None
            assert self._scanner is not None  # noqa: S101 - made when the header is passed
            size = _CHUNK_BYTES
            if until is not None:
                size = min(size, max(0, until - self._scanner.offset - self._scanner.leftover_bytes))
            chunk = os.read(self._descriptor, size)
            self.filled_chunk = len(chunk) == _CHUNK_BYTES
            block = self._scanner.feed(chunk)
        except ApxFormatError as error:
            raise ApxFormatError(error.reason, error.offset, self._final.name) from None
        return block if chunk else None

    @property
    def is_open(self) -> bool:
        """Whether it was there when it was to be read."""
        return self._descriptor is not None

    def is_finished(self) -> bool:
        """Whether the writer has left it: nothing will be added any more."""
        return self._final.exists()

    def skip_rest(self) -> None:
        """Give nothing more out of this file."""
        self._skipping = True

    def close(self) -> None:
        """Close it if it is open."""
        if self._descriptor is not None:
            os.close(self._descriptor)
            self._descriptor = None

    def _open(self) -> bool:
        for path in self._names:
            try:
                self._descriptor = os.open(path, os.O_RDONLY | O_BINARY)
            except FileNotFoundError:
                continue
            return True
        return False

    def _pass_header(self) -> bool:
        """Find the first record; False while the header is not whole, `ApxFormatError` where it is none."""
        assert self._descriptor is not None  # noqa: S101 - callers open first
        if self._offset == 0:
            os.lseek(self._descriptor, 0, os.SEEK_SET)
            head = os.read(self._descriptor, len(MAGIC) + HEADER_LENGTH.size)
            if len(head) < len(MAGIC) + HEADER_LENGTH.size:
                return False
            (length,) = HEADER_LENGTH.unpack_from(head, len(MAGIC))
            if not head.startswith(MAGIC) or length > MAX_HEADER_BYTES:
                raise ApxFormatError("no header of an .apx file", 0)
            self._offset = len(head) + length
        if os.fstat(self._descriptor).st_size < self._offset:
            return False
        os.lseek(self._descriptor, self._offset, os.SEEK_SET)
        self._scanner = RecordScanner(self._offset)
        return True
