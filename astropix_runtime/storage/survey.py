"""What of an `.apx` file is whole and what is not, from one pass in constant memory (docs/formats.md, "Damage")."""

import hashlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import BinaryIO, NamedTuple

import numpy as np

from protocol.apx import FileHeader
from protocol.block import ReadoutBlock
from protocol.errors import ApxFormatError, UnknownReadoutError
from protocol.readout import RECORD_HEAD
from protocol.records import RecordScanner, find_record

MAX_DAMAGED_PLACES = 10_000
"""A file that is damaged in more places is not worth the name of a recording."""

_FIRST_CHUNK_BYTES = 1 << 16
_CHUNK_BYTES = 1 << 20

Advance = Callable[[int], None]
"""Is told how many bytes are done."""


class ByteRange(NamedTuple):
    """Bytes `start` to `stop` of a file, `stop` not included."""

    start: int
    stop: int

    @property
    def size_bytes(self) -> int:
        """How many."""
        return self.stop - self.start


@dataclass
class Tally:
    """What whole records say, in the order of the file. Ids and time stamps (ns) are None without readouts.

    `id_jumps`: readouts whose id is not that of the one before plus one; `first_jump`: the first of them, id before and
    after. `backward_steps`: time stamps earlier than the one before, both known; `largest_step_ns`: the largest.
    """

    readouts: int = 0
    readout_bytes: int = 0
    first_readout: int | None = None
    last_readout: int | None = None
    first_ns: int | None = None
    last_ns: int | None = None
    id_jumps: int = 0
    first_jump: tuple[int, int] | None = None
    backward_steps: int = 0
    largest_step_ns: int = 0

    def add(self, block: ReadoutBlock) -> None:
        """Count the next readouts; `block` is not empty."""
        ids = block.readout_id.astype(np.int64)
        timestamps = block.timestamp
        if self.last_readout is None or self.last_ns is None:
            self.first_readout, self.first_ns = int(ids[0]), int(timestamps[0])
        else:
            ids = np.concatenate(([self.last_readout], ids))
            timestamps = np.concatenate((np.array([self.last_ns], np.uint64), timestamps))
        jumps = np.flatnonzero(np.diff(ids) != 1)
        if len(jumps):
            self.id_jumps += len(jumps)
            self.first_jump = self.first_jump or (int(ids[jumps[0]]), int(ids[jumps[0] + 1]))
        backward = np.flatnonzero((timestamps[1:] < timestamps[:-1]) & (timestamps[1:] != 0))
        if len(backward):
            self.backward_steps += len(backward)
            largest = int((timestamps[backward] - timestamps[backward + 1]).max())
            self.largest_step_ns = max(self.largest_step_ns, largest)
        self.last_readout, self.last_ns = int(ids[-1]), int(timestamps[-1])
        self.readouts += len(block)
        self.readout_bytes += len(block.data)


@dataclass(frozen=True)
class Survey:
    """What is in a file of `size_bytes`.

    `header`: None where it is not whole (`fault` says what is wrong) or of a kind that is not known here (`foreign`).
    `kept`: header and whole records, `cuts`: all other bytes, both in order. `tally` and `sha256` are of what is kept.
    """

    size_bytes: int
    header: FileHeader | None = None
    header_bytes: int = 0
    foreign: bool = False
    fault: str = ""
    kept: tuple[ByteRange, ...] = ()
    cuts: tuple[ByteRange, ...] = ()
    tally: Tally = field(default_factory=Tally)
    sha256: str = hashlib.sha256().hexdigest()

    @property
    def kept_bytes(self) -> int:
        """Size of header and whole records."""
        return sum(piece.size_bytes for piece in self.kept)

    @property
    def cut_bytes(self) -> int:
        """Size of all else."""
        return self.size_bytes - self.kept_bytes

    @property
    def cut_at_end(self) -> bool:
        """Whether what is kept is one piece, from the beginning of the file on."""
        return len(self.kept) == 1


def survey_path(path: Path, advance: Advance = lambda _: None) -> Survey:
    """Look through the file at `path`, as long as it is now; `OSError` as `open`, `ApxFormatError` as `survey`."""
    with path.open("rb") as file:
        try:
            return survey(file, path.stat().st_size, advance)
        except ApxFormatError as error:
            raise error.in_file(str(path)) from None


def survey(file: BinaryIO, size_bytes: int, advance: Advance = lambda _: None) -> Survey:
    """Look through the first `size_bytes` of a file.

    Raises `ApxFormatError` only for a file that is damaged in more than `MAX_DAMAGED_PLACES` places.
    """
    file.seek(0)
    try:
        header = FileHeader.from_file(file)
    except UnknownReadoutError as error:
        return Survey(size_bytes, foreign=True, fault=error.reason, kept=(ByteRange(0, size_bytes),))
    except ApxFormatError as error:
        whole = ByteRange(0, size_bytes)
        return Survey(size_bytes, fault=str(error), cuts=(whole,) if size_bytes else ())
    header_bytes = file.tell()
    kept = [ByteRange(header_bytes, size_bytes)]
    found = _read(file, header_bytes, kept, advance)
    if found.end < size_bytes:
        kept = list(_whole_ranges(file, header_bytes, found, size_bytes))
        if kept != [ByteRange(header_bytes, found.end)]:
            found = _read(file, header_bytes, kept, advance)
    edges = [header_bytes, *(edge for piece in kept for edge in piece), size_bytes]
    gaps = [ByteRange(*pair) for pair in zip(edges[::2], edges[1::2], strict=True)]
    ranges = [ByteRange(0, header_bytes), *kept]
    if len(kept) and kept[0].start == header_bytes:
        ranges = [ByteRange(0, kept[0].stop), *kept[1:]]
    return Survey(
        size_bytes,
        header,
        header_bytes,
        kept=tuple(ranges),
        cuts=tuple(gap for gap in gaps if gap.size_bytes),
        tally=found.tally,
        sha256=found.sha256,
    )


class _Walk:
    """The whole records of a range that begins with one, in blocks, each with the bytes that it stands in.

    `end`: behind the last whole record given; `last`: where that begins and the id that it should have, which is one
    more than that of the record before, if there is one; None before the first.
    """

    def __init__(self, file: BinaryIO, bounds: ByteRange) -> None:
        self._file = file
        self._bounds = bounds
        self.end = bounds.start
        self.last: tuple[int, int] | None = None

    def __iter__(self) -> Iterator[tuple[ReadoutBlock, memoryview]]:
        scanner = RecordScanner(self.end)
        position, pending = self.end, b""
        before: list[int] = []
        chunk_bytes = _FIRST_CHUNK_BYTES  # small first: where much is damaged, little follows
        self._file.seek(position)
        while chunk := self._file.read(min(chunk_bytes, self._bounds.stop - position)):
            position += len(chunk)
            chunk_bytes = min(2 * chunk_bytes, _CHUNK_BYTES)
            try:
                block = scanner.feed(chunk)
            except ApxFormatError:
                return
            stream = pending + chunk
            whole, self.end = scanner.offset - self.end, scanner.offset
            pending = stream[whole:]
            if len(block):
                last_bytes = RECORD_HEAD.size + int(block.offsets[-1] - block.offsets[-2])
                ids = [*before, *block.readout_id[-2:].tolist()]
                self.last = self.end - last_bytes, ids[-2] + 1 if len(ids) > 1 else ids[-1]
                before = ids[-1:]
                yield block, memoryview(stream)[:whole]


class _Found(NamedTuple):
    tally: Tally
    sha256: str
    end: int
    last: tuple[int, int] | None


def _read(file: BinaryIO, header_bytes: int, kept: list[ByteRange], advance: Advance) -> _Found:
    """Count and hash the header and what whole records there are in ranges that begin with one."""
    file.seek(0)
    digest = hashlib.sha256(file.read(header_bytes))
    tally = Tally()
    end, last = header_bytes, None
    for piece in kept:
        walk = _Walk(file, piece)
        for block, data in walk:
            tally.add(block)
            digest.update(data)
            advance(walk.end)
        end, last = walk.end, walk.last
    return _Found(tally, digest.hexdigest(), end, last)


def _whole_ranges(file: BinaryIO, start: int, found: _Found, size_bytes: int) -> Iterator[ByteRange]:
    """ByteRangees of whole records; the first begins at `start` and ends, as `found` says, before the file does."""
    end, last = found.end, found.last
    after: int | None = None
    for _place in range(MAX_DAMAGED_PLACES):
        stop, following = end, None
        if last is not None:
            last_start, after = last
            # A record with a damaged length can have swallowed others: then it was none itself.
            following = find_record(file, last_start + 1, end, size_bytes, damage=last_start, after=after)
            if following is not None:
                stop = last_start
        if following is None:
            following = find_record(file, end + 1, size_bytes, size_bytes, damage=end, after=after)
        if stop > start:
            yield ByteRange(start, stop)
        if following is None:
            return
        walk = _Walk(file, ByteRange(following, size_bytes))
        for _ in walk:
            pass
        start, end, last = following, walk.end, walk.last
        if end == size_bytes:
            yield ByteRange(start, end)
            return
    raise ApxFormatError(f"damaged in more than {MAX_DAMAGED_PLACES} places; nothing was changed", start)
