"""Where the readouts of a run lie in its files: found by the heads of the records, without looking at the data."""

import os
from bisect import bisect_right
from collections.abc import Generator
from pathlib import Path

from astropix_runtime.storage.durable import O_BINARY
from daqd.catching_up.archive import ArchivedRun
from daqd.following.follower import Position
from protocol.apx import HEADER_LENGTH, MAGIC, MAX_HEADER_BYTES
from protocol.readout import RECORD_HEAD, RECORD_MARKER
from protocol.readout_description import MAX_READOUT_BYTES

_CHUNK_BYTES = 1 << 20
_SPACING_BYTES = 1 << 16
"""Of a file, one place in so many bytes is remembered."""


class RunIndex:
    """Places in the files of one run, remembered from question to question; the last file may be growing."""

    def __init__(self, run: ArchivedRun) -> None:
        self._archived = run
        self._run = run.record.run
        self._files: list[_FileIndex] = []

    def place(self, readout: int, back_bytes: int) -> Generator[None, None, Position]:
        """A place with at least `back_bytes` of records between it and `readout`; at worst the begin of the run.

        A generator that pauses after each bounded piece of work; what it returns in the end is the place. `OSError` as
        the disk gives it.
        """
        number = 0
        while (first := self._file(number + 1).first) is not None and first <= readout:
            number += 1
            yield
        file = self._file(number)
        while file.look_on(readout):
            yield
        wanted = file.offset_of(readout) - back_bytes
        while (offset := file.last_place_at(wanted)) is None:
            if number == 0:
                return Position(self._run, 0, 0)
            number -= 1
            wanted -= file.begin
            file = self._file(number)
            while file.look_on(None):
                yield
            wanted += file.end
        return Position(self._run, number, offset)

    def _file(self, number: int) -> "_FileIndex":
        while len(self._files) <= number:
            self._files.append(_FileIndex(self._archived.names(len(self._files))))
        return self._files[number]


class _FileIndex:
    """Places in one file. `begin`: of its first record; `end`: it was looked at up to there (0: not yet)."""

    def __init__(self, names: tuple[Path, ...]) -> None:
        self._paths = names
        self._readouts: list[int] = []
        self._offsets: list[int] = []
        self._last_readout = -1
        self._damaged = False
        self.begin = 0
        self.end = 0

    @property
    def first(self) -> int | None:
        """The first readout; None where there is no file, or no readout in it that can be read."""
        if not self._readouts:
            self._look(RECORD_HEAD.size)
        return self._readouts[0] if self._readouts else None

    def offset_of(self, readout: int) -> int:
        """A place at or before `readout`, the last one that is known."""
        at = bisect_right(self._readouts, readout) - 1
        return self._offsets[at] if at >= 0 else self.begin

    def last_place_at(self, offset: int) -> int | None:
        """The last known place at or before `offset`; None where there is none."""
        at = bisect_right(self._offsets, offset) - 1
        return self._offsets[at] if at >= 0 else None

    def look_on(self, readout: int | None) -> bool:
        """Look at some more of the file, up to `readout` (None: to its end); whether that is to go on."""
        if readout is not None and self._last_readout >= readout:
            return False
        return self._look(_CHUNK_BYTES)

    def _look(self, size: int) -> bool:
        """Look at `size` bytes more; whether there was anything new."""
        descriptor = None if self._damaged else self._open()
        if descriptor is None:
            return False
        try:
            if not self.end and not self._pass_header(descriptor):
                return False
            os.lseek(descriptor, self.end, os.SEEK_SET)
            before = self.end
            self._walk(os.read(descriptor, size), os.fstat(descriptor).st_size)
            return self.end > before
        finally:
            os.close(descriptor)

    def _open(self) -> int | None:
        for path in self._paths:
            try:
                return os.open(path, os.O_RDONLY | O_BINARY)
            except FileNotFoundError:
                continue
        return None

    def _pass_header(self, descriptor: int) -> bool:
        head = os.read(descriptor, len(MAGIC) + HEADER_LENGTH.size)
        if len(head) < len(MAGIC) + HEADER_LENGTH.size:
            return False
        (length,) = HEADER_LENGTH.unpack_from(head, len(MAGIC))
        self._damaged = not head.startswith(MAGIC) or length > MAX_HEADER_BYTES
        self.begin = self.end = len(head) + length
        return not self._damaged

    def _walk(self, chunk: bytes, file_bytes: int) -> None:
        """Go from head to head in what was read at `end`, as far as the records are whole."""
        position, limit = 0, len(chunk) - RECORD_HEAD.size
        unpack = RECORD_HEAD.unpack_from
        begin = self.end
        readout = self._last_readout
        following = self._offsets[-1] + _SPACING_BYTES - begin if self._offsets else 0
        while position <= limit:
            marker, number, _, length = unpack(chunk, position)
            after = position + RECORD_HEAD.size + length
            if marker != RECORD_MARKER or length > MAX_READOUT_BYTES:
                self._damaged = True
                break
            if begin + after > file_bytes:
                break
            readout = number
            if position >= following:
                self._readouts.append(number)
                self._offsets.append(begin + position)
                following = position + _SPACING_BYTES
            position = after
        self._last_readout = readout
        self.end = begin + position
