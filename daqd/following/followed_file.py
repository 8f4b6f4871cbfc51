"""A file of records that is read to its end again and again."""

import os
from pathlib import Path
from typing import BinaryIO

from protocol.apx import HEADER_HEAD_BYTES, header_size_bytes
from protocol.block import ReadoutBlock
from protocol.errors import ApxFormatError
from protocol.records import RecordScanner

_CHUNK_BYTES = 1 << 20


def open_first(paths: tuple[Path, ...]) -> BinaryIO | None:
    """The first of these files that is there, open for reading without a buffer; None where none is."""
    for path in paths:
        try:
            return path.open("rb", buffering=0)
        except FileNotFoundError:
            continue
    return None


def first_record(file: BinaryIO) -> int:
    """Offset of the first record, as the header tells it; 0 while it does not, `ApxFormatError` where it is none."""
    file.seek(0)
    head = file.read(HEADER_HEAD_BYTES)
    return header_size_bytes(head) or 0 if len(head) == HEADER_HEAD_BYTES else 0


class FollowedFile:
    """One file of a run, while it is written or after; opened when it is there.

    `final`: its name when the writer has left it; `part`: before, where it had another. `offset`: where to begin, 0 for
    the first record.
    """

    def __init__(self, final: Path, part: Path | None = None, offset: int = 0) -> None:
        self.path = final
        self._names = (final,) if part is None else (part, final)  # renamed from one to the other, perhaps just now
        self._file: BinaryIO | None = None
        self._begin = offset
        self._scanner: RecordScanner | None = None
        self._skipping = False
        self.filled_chunk = False

    @property
    def offset(self) -> int:
        """Position after the last whole record given out."""
        return self._begin if self._scanner is None else self._scanner.offset

    @property
    def leftover_bytes(self) -> int:
        """Bytes after the last whole record, of a file that was read to its end; all of one with half a header."""
        if self._file is None or self._skipping:
            return 0
        return self._size_bytes(self._file) if self._scanner is None else self._scanner.leftover_bytes

    @property
    def lag_bytes(self) -> int:
        """Bytes on disk that were not given out."""
        if self._file is None or self._skipping:
            return 0
        return max(0, self._size_bytes(self._file) - self.offset)

    def read(self, until: int | None = None) -> ReadoutBlock | None:
        """The next readouts (perhaps none of them whole yet), or None where there is nothing to read now.

        `until`: nothing beyond that offset. `ApxFormatError` where the header or a record is damaged; the whole records
        before are given first.
        """
        self.filled_chunk = False
        file = self._file = self._file or open_first(self._names)
        if file is None or self._skipping:
            return None
        try:
            scanner = self._scanner = self._scanner or self._first_scanner(file)
            if scanner is None:
                return None
            size = _CHUNK_BYTES
            if until is not None:
                size = min(size, max(0, until - scanner.offset - scanner.leftover_bytes))
            chunk = os.read(file.fileno(), size)
            self.filled_chunk = len(chunk) == _CHUNK_BYTES
            block = scanner.feed(chunk)
        except ApxFormatError as error:
            raise error.in_file(self.path.name) from None
        return block if chunk else None

    @property
    def is_open(self) -> bool:
        """Whether it was there when it was to be read."""
        return self._file is not None

    def is_finished(self) -> bool:
        """Whether the writer has left it: nothing will be added any more."""
        return self.path.exists()

    def skip_rest(self) -> None:
        """Give nothing more out of this file."""
        self._skipping = True

    def close(self) -> None:
        """Close it if it is open."""
        if self._file is not None:
            self._file.close()
            self._file = None

    def _first_scanner(self, file: BinaryIO) -> RecordScanner | None:
        """A scanner for the records from the first one wanted on; None while the file does not reach to it."""
        self._begin = self._begin or first_record(file)
        if not self._begin or self._size_bytes(file) < self._begin:
            return None
        return RecordScanner(file.seek(self._begin))

    @staticmethod
    def _size_bytes(file: BinaryIO) -> int:
        return os.fstat(file.fileno()).st_size
