"""How far a replay is: a small file that it writes, for the process that answers for what it has published.

The file begins with what does not change, one JSON object; then comes a ring of entries of equal size, one for each
time that a run was begun. An entry is written in one piece and carries a checksum: who reads it while it is written
reads again.
"""

import json
import os
import struct
import tempfile
import zlib
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Self

from daqd.following.recorded_runs import RecordedRun

_LENGTH = struct.Struct("<Q")
_ENTRY = struct.Struct("<QIIqIQq")
"""number, place, pass, begin_ns, file, offset, end_ns (0: it goes on)"""
_CHECKSUM = struct.Struct("<I")
_ENTRY_BYTES = _ENTRY.size + _CHECKSUM.size
_MIN_ENTRIES = 256
_MAX_ATTEMPTS = 1000


@dataclass(frozen=True)
class ReplayedRun:
    """A run that a replay has begun: the `number`th from 0, the one at `place` of what it has, in pass `pass_`.

    Everything before byte `offset` of its file `file` was published, or is about to be. `end_ns`: when all of it was,
    0 before. Times in ns since the epoch.
    """

    number: int
    place: int
    pass_: int
    begin_ns: int
    file: int = 0
    offset: int = 0
    end_ns: int = 0

    def to_bytes(self) -> bytes:
        """An entry of the file."""
        entry = _ENTRY.pack(self.number, self.place, self.pass_, self.begin_ns, self.file, self.offset, self.end_ns)
        return entry + _CHECKSUM.pack(zlib.crc32(entry))

    @classmethod
    def from_bytes(cls, data: bytes) -> Self | None:
        """Inverse of `to_bytes`; None for what is none, or not whole."""
        entry, checksum = data[: _ENTRY.size], data[_ENTRY.size :]
        if len(data) != _ENTRY_BYTES or _CHECKSUM.unpack(checksum)[0] != zlib.crc32(entry):
            return None
        return cls(*_ENTRY.unpack(entry))


@dataclass(frozen=True)
class ReplayDescription:
    """What is replayed: by the publisher that began at `pub`, `chips` in the chain where the files do not say."""

    pub: int
    chips: int | None
    runs: tuple[tuple[int, tuple[Path, ...]], ...]

    def to_bytes(self) -> bytes:
        """One JSON object."""
        runs = [[run, [str(path.absolute()) for path in files]] for run, files in self.runs]
        return json.dumps({"pub": self.pub, "chips": self.chips, "runs": runs}).encode()

    @classmethod
    def from_bytes(cls, data: bytes) -> Self:
        """Inverse of `to_bytes`."""
        content = json.loads(data)
        runs = tuple((run, tuple(map(Path, files))) for run, files in content["runs"])
        return cls(content["pub"], content["chips"], runs)

    @property
    def entries(self) -> int:
        """Size of the ring: all runs of this pass and of the one before are in it."""
        return max(_MIN_ENTRIES, 2 * len(self.runs))


class ReplayProgress:
    """Writes the file at `path`, a new one; a context manager that removes it in the end. `OSError` as of the disk."""

    def __init__(self, pub: int, chips: int | None, runs: Sequence[RecordedRun]) -> None:
        description = ReplayDescription(pub, chips, tuple((each.run, each.files) for each in runs))
        content = description.to_bytes()
        self._entries = description.entries
        self._begin = _LENGTH.size + len(content)
        self._told: ReplayedRun | None = None
        descriptor, name = tempfile.mkstemp(prefix="daqd-replay-")
        self.path = Path(name)
        self._file = os.fdopen(descriptor, "wb", buffering=0)
        try:
            self._file.write(_LENGTH.pack(len(content)) + content + bytes(self._entries * _ENTRY_BYTES))
        except BaseException:
            self.close()
            raise

    def tell(self, progress: ReplayedRun) -> None:
        """Note where the replay is; before it publishes what is new."""
        if progress != self._told:
            self._told = progress
            self._file.seek(self._begin + progress.number % self._entries * _ENTRY_BYTES)
            self._file.write(progress.to_bytes())

    def close(self) -> None:
        """Close and remove it."""
        self._file.close()
        with suppress(OSError):
            self.path.unlink()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


class ReplayView:
    """Reads the file at `path`; `OSError` where it is not there, `ValueError` where it is none.

    A context manager that removes it in the end: the replay is over then, or was killed and has left it.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        self._file = path.open("rb", buffering=0)
        try:
            (length,) = _LENGTH.unpack(self._file.read(_LENGTH.size))
            self.description = ReplayDescription.from_bytes(self._file.read(min(length, path.stat().st_size)))
        except (struct.error, ValueError, KeyError, TypeError) as error:
            self.close()
            raise ValueError(f"{path} does not tell of a replay: {error}") from None
        self._begin = _LENGTH.size + length

    def runs(self) -> list[ReplayedRun]:
        """The runs that are known, in the order in which they were begun."""
        found = [run for slot in range(self.description.entries) if (run := self._read(slot)) is not None]
        return sorted(found, key=lambda run: run.number)

    def run(self, number: int) -> ReplayedRun | None:
        """The `number`th that was begun; None where it is not known any more."""
        found = self._read(number % self.description.entries)
        return found if found is not None and found.number == number else None

    def _read(self, slot: int) -> ReplayedRun | None:
        for _ in range(_MAX_ATTEMPTS):
            self._file.seek(self._begin + slot * _ENTRY_BYTES)
            data = self._file.read(_ENTRY_BYTES)
            found = ReplayedRun.from_bytes(data)
            if found is not None or not any(data):
                return found
        return None

    def close(self) -> None:
        """Close it."""
        self._file.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()
        with suppress(OSError):
            self._path.unlink()
