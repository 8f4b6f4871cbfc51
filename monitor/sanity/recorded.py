"""The checks on recorded files."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Self

from monitor.continuity import HitArray
from monitor.detector import Geometry
from monitor.sanity import catalogue
from monitor.sanity.checks import HitTally, check_ledger
from monitor.sanity.findings import Level, Notice, Place
from monitor.sanity.limits import Limits
from monitor.sanity.order import ReadoutOrder
from protocol.apx import ApxReader, FileHeader
from protocol.errors import ApxFormatError
from protocol.ledger import Ledger
from protocol.readout_decoder import ReadoutDecoder

MOST_CHIPS = 31


@dataclass(frozen=True, slots=True)
class _Piece:
    """Which file of which run a file is, as far as its header says."""

    daq: object
    run: object
    begin_ns: object
    file: object

    @classmethod
    def of(cls, header: FileHeader) -> Self:
        return cls(header.get("daq"), header.get("run"), header.get("begin_ns"), header.get("file"))

    def same_run(self, other: Self) -> bool:
        """Whether both are of one run; files that do not say stand alone."""
        known = isinstance(self.run, int) and isinstance(self.file, int) and isinstance(other.file, int)
        return known and (self.daq, self.run, self.begin_ns) == (other.daq, other.run, other.begin_ns)

    def follows(self, other: Self) -> bool:
        """Whether it is the next file of the same run, so that a hit may be cut between the two."""
        return isinstance(self.file, int) and isinstance(other.file, int) and self.file == other.file + 1


class RecordedChecks:
    """Checks files in the order given; neighbouring files of one run are checked as one stream.

    `chips`: chips in the chain; None takes each file's own word for it, and where it has none, any number.
    `files`, `runs`, `readouts`, `hits`: what has been seen so far.
    """

    def __init__(self, limits: Limits, chips: int | None = None) -> None:
        self._limits = limits
        self._chips = chips
        self._run: _RunOfFiles | None = None
        self.files = 0
        self.runs = 0
        self.readouts = 0
        self.hits = 0

    def check(self, paths: Sequence[Path]) -> Iterator[tuple[Place, Notice]]:
        """What is to be said about the files, as it is found. `OSError` as `open` does."""
        for path in paths:
            yield from self._check_file(path)
        yield from self._end_run()

    def _check_file(self, path: Path) -> Iterator[tuple[Place, Notice]]:
        self.files += 1
        here = Place(file=str(path))
        try:
            reader = ApxReader(path)
        except ApxFormatError as error:
            yield here, Notice(catalogue.UNREADABLE, f"at byte {error.offset}: {error.reason}")
            yield from self._end_run()
            return
        with reader:
            piece = _Piece.of(reader.header)
            run = self._run
            if run is None or not piece.same_run(run.piece):
                yield from self._end_run()
                run = self._run = self._begin_run(reader.header, piece, here)
            elif not piece.follows(run.piece):
                for notice in run.tally.add(self._flush(run)):
                    yield run.place, notice
            run.piece = piece
            place = replace(here, run=run.place.run)
            try:
                yield from self._check_readouts(reader, run, place)
            except ApxFormatError as error:
                text = f"at byte {error.offset}: {error.reason}; what follows was not checked"
                yield place, Notice(catalogue.UNREADABLE, text)
            if reader.leftover_bytes:
                # The last record of a file that is being written may be there in part.
                level = Level.INFO if path.suffix == ".part" else None
                text = f"{reader.leftover_bytes} bytes after the last whole readout, at byte {reader.consumed_bytes}"
                yield place, Notice(catalogue.CUT_FILE, text, level=level)

    def _check_readouts(self, reader: ApxReader, run: "_RunOfFiles", place: Place) -> Iterator[tuple[Place, Notice]]:
        for block in reader.blocks():
            hits = run.decoder.decode(block)
            self.readouts += len(block)
            self.hits += len(hits)
            for notice in run.order.add(block.readout_id, block.timestamp):
                yield place, notice
            for notice in run.tally.add(hits):
                yield run.place, notice

    def _flush(self, run: "_RunOfFiles") -> HitArray:
        hits = run.decoder.flush()
        self.hits += len(hits)
        return hits

    def _begin_run(self, header: FileHeader, piece: _Piece, here: Place) -> "_RunOfFiles":
        self.runs += 1
        number = header.get("run")
        chips = self._chips or header.chips()
        geometry = self._limits.geometry
        limits = replace(self._limits, geometry=Geometry(chips or geometry.chips, geometry.rows, geometry.columns))
        return _RunOfFiles(
            place=replace(here, run=number if isinstance(number, int) else None),
            piece=piece,
            limits=limits,
            decoder=header.decoder(chips),
            tally=HitTally(limits),
            order=ReadoutOrder(limits, complete=True),
        )

    def _end_run(self) -> Iterator[tuple[Place, Notice]]:
        run, self._run = self._run, None
        if run is None:
            return
        for notice in run.settle(self._flush(run)):
            yield run.place, notice


@dataclass(slots=True)
class _RunOfFiles:
    """What is followed through the files of one run; `place` names the first of them, `piece` is the last so far."""

    place: Place
    piece: _Piece
    limits: Limits
    decoder: ReadoutDecoder
    tally: HitTally
    order: ReadoutOrder

    @property
    def ledger(self) -> Ledger:
        return self.decoder.ledger

    def settle(self, last: HitArray) -> Iterator[Notice]:
        """What can be said now that the run is over; `last`: the hits that the end of the run gave."""
        yield from self.tally.add(last)
        yield from self.tally.settle()
        yield from self.order.settle()
        yield from check_ledger(self.ledger, self.limits)
