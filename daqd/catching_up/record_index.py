"""Where the readouts of a run lie in its files: found by the heads of the records, without looking at the data."""

import os
from bisect import bisect_left, bisect_right
from collections.abc import Generator
from pathlib import Path

from daqd.catching_up.archive import ArchivedRun
from daqd.following.followed_file import first_record, open_first
from daqd.following.follower import Position
from protocol.errors import ApxFormatError
from protocol.readout import RECORD_HEAD
from protocol.records import record_fault, walk_records

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
        file = None if self._damaged else open_first(self._paths)
        if file is None:
            return False
        with file:
            try:
                self.begin = self.begin or first_record(file)
            except ApxFormatError:
                self._damaged = True
            if self._damaged or not self.begin:
                return False
            before = self.end = self.end or self.begin
            file.seek(before)
            self._note(file.read(size), os.fstat(file.fileno()).st_size)
            return self.end > before

    def _note(self, chunk: bytes, file_bytes: int) -> None:
        """Note what was read at `end`, as far as the records are whole in the file."""
        begin = self.end
        heads = walk_records(chunk, file_bytes - begin)
        following = self._offsets[-1] + _SPACING_BYTES - begin if self._offsets else 0
        while (at := bisect_left(heads.edges, following)) < len(heads.readout_ids):
            self._readouts.append(heads.readout_ids[at])
            self._offsets.append(begin + heads.edges[at])
            following = heads.edges[at] + _SPACING_BYTES
        if heads.readout_ids:
            self._last_readout = heads.readout_ids[-1]
        self.end = begin + heads.edges[-1]
        self._damaged = record_fault(chunk[heads.edges[-1] :][: RECORD_HEAD.size], self.end) is not None
