"""The checks on recorded files."""

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Self

from pydantic import ValidationError

from astropix_runtime.storage.run_directory import RunDirectory, run_directory_of
from monitor.continuity import HitArray
from monitor.detector import Geometry
from monitor.sanity.check import Check, CheckInput, CheckResult, Limits
from monitor.sanity.check_runner import CheckOutcome
from monitor.sanity.checks import event_checks
from monitor.sanity.checks.catalogue import CHECK_FAILED
from monitor.sanity.checks.hit_checks import HitTally, check_ledger
from monitor.sanity.checks.order import ReadoutOrder
from monitor.sanity.findings import Notice, Place
from monitor.sanity.recorded.recorded_looks import RecordedLooks
from monitor.sanity.recorded.run_quality import RunQuality
from protocol.apx import ApxReader, FileHeader
from protocol.errors import ApxFormatError
from protocol.ledger import Ledger
from protocol.readout_decoder import ReadoutDecoder
from protocol.run_record import RunRecord
from protocol.text import reason_of
from protocol.wire.alarms import AlarmLevel

OnRun = Callable[[Place, RunQuality, CheckInput], None]
"""Told of each run when it has been checked: where, in numbers, and the last look at it."""


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

    `chips`: chips in the chain; None takes each file's own word for it, and where it has none, any number. `looks`:
    checks that look at the run every ten seconds of it.
    `files`, `runs`, `readouts`, `hits`: what has been seen so far.
    """

    def __init__(
        self,
        limits: Limits,
        chips: int | None = None,
        looks: Sequence[Check] = (),
        on_run: OnRun | None = None,
    ) -> None:
        self._limits = limits
        self._chips = chips
        self._looks = looks
        self._on_run = on_run
        self._run: _RunOfFiles | None = None
        self.files = 0
        self.runs = 0
        self.readouts = 0
        self.hits = 0

    def check(self, paths: Sequence[Path]) -> Iterator[tuple[Place, Notice]]:
        """Notices of what is wrong with the files, as it is found; also where the disk refuses one of them."""
        for path in paths:
            yield from self._check_file(path)
        yield from self._end_run()

    def _check_file(self, path: Path) -> Iterator[tuple[Place, Notice]]:
        self.files += 1
        here = Place(file=str(path))
        try:
            reader = ApxReader(path)
        except (ApxFormatError, OSError) as error:
            yield here, Notice(event_checks.UNREADABLE, CheckResult("", _why(error)))
            yield from self._end_run()
            return
        with reader:
            piece = _Piece.of(reader.header)
            run = self._run
            if run is None or not piece.same_run(run.piece):
                yield from self._end_run()
                run = self._run = self._begin_run(reader.header, piece, path, here)
            elif not piece.follows(run.piece):
                for notice in run.between(self._flush(run)):
                    yield run.place, notice
            run.piece = piece
            place = replace(here, run=run.place.run)
            try:
                yield from self._check_readouts(reader, run, place)
            except (ApxFormatError, OSError) as error:
                result = CheckResult("", f"{_why(error)}; what follows was not checked")
                yield place, Notice(event_checks.UNREADABLE, result)
            if reader.leftover_bytes:
                # The last record of a file that is being written may be there in part.
                level = AlarmLevel.OK if path.suffix == ".part" else None
                text = f"{reader.leftover_bytes} bytes after the last whole readout, at byte {reader.consumed_bytes}"
                yield place, Notice(event_checks.CUT_FILE, CheckResult("", text, level=level))

    def _check_readouts(self, reader: ApxReader, run: "_RunOfFiles", place: Place) -> Iterator[tuple[Place, Notice]]:
        for block in reader.blocks():
            hits = run.decoder.decode(block)
            self.readouts += len(block)
            self.hits += len(hits)
            run.readouts += len(block)
            for notice in run.order.add(block.readout_id, block.timestamp):
                yield place, notice
            for notice in run.tally.add(hits):
                yield run.place, notice
            for notice in run.looked(run.looks.add(block, hits)):
                yield run.place, notice

    def _flush(self, run: "_RunOfFiles") -> HitArray:
        hits = run.decoder.flush()
        self.hits += len(hits)
        return hits

    def _begin_run(self, header: FileHeader, piece: _Piece, path: Path, here: Place) -> "_RunOfFiles":
        self.runs += 1
        number = header.get("run")
        chips = self._chips or header.chips()
        geometry = self._limits.geometry
        limits = replace(self._limits, geometry=Geometry(chips or geometry.chips, geometry.rows, geometry.columns))
        run = number if isinstance(number, int) and number >= 0 else None
        return _RunOfFiles(
            place=replace(here, run=run),
            piece=piece,
            limits=limits,
            decoder=header.decoder(chips),
            tally=HitTally(limits),
            order=ReadoutOrder(limits, complete=True),
            looks=RecordedLooks(
                self._looks,
                limits,
                run=run,
                record=_record_of(path, header),
                description=header.description(),
                chips=chips,
                from_its_begin=piece.file == 0,
            ),
        )

    def _end_run(self) -> Iterator[tuple[Place, Notice]]:
        run, self._run = self._run, None
        if run is None:
            return
        for notice in run.settle(self._flush(run)):
            yield run.place, notice
        seen = run.looks.last
        if seen is not None and self._on_run is not None:
            self._on_run(run.place, RunQuality.of(run.place, seen, run.ledger, run.readouts, run.tally.hits), seen)


@dataclass(slots=True)
class _RunOfFiles:
    """What is followed through the files of one run; `place` names the first of them, `piece` is the last so far."""

    place: Place
    piece: _Piece
    limits: Limits
    decoder: ReadoutDecoder
    tally: HitTally
    order: ReadoutOrder
    looks: RecordedLooks
    readouts: int = 0
    _in_a_row: dict[tuple[str, str], int] = field(default_factory=dict)

    @property
    def ledger(self) -> Ledger:
        return self.decoder.ledger

    def looked(self, outcomes: Iterable[CheckOutcome]) -> Iterator[Notice]:
        """What was wrong at so many looks in a row as its check asks for."""
        for outcome in outcomes:
            check = outcome.check
            if outcome.failure:
                yield Notice(CHECK_FAILED, CheckResult(check.name, f"{check.name}: {outcome.failure}"))
            if outcome.results is None:
                continue
            wrong = {(check.name, result.subject): result for result in outcome.results}
            for key in [key for key in self._in_a_row if key[0] == check.name and key not in wrong]:
                del self._in_a_row[key]
            for key, result in wrong.items():
                self._in_a_row[key] = self._in_a_row.get(key, 0) + 1
                if self._in_a_row[key] >= check.in_a_row:
                    yield Notice(check, result)

    def between(self, hits: HitArray) -> Iterator[Notice]:
        """Files of the run are missing here; `hits`: that the last file gave."""
        self.looks.late(hits)
        yield from self.tally.add(hits)

    def settle(self, last: HitArray) -> Iterator[Notice]:
        """Notices at the end of the run; `last`: the hits that the end of the run gave."""
        yield from self.tally.add(last)
        yield from self.tally.settle()
        yield from self.order.settle()
        yield from check_ledger(self.ledger, self.limits)
        yield from self.looked(self.looks.settle(last))


def _record_of(path: Path, header: FileHeader) -> RunRecord | None:
    """The record of the run where the file lies beside it, else what its header says; None if that is too little.

    Only the record knows of gaps.
    """
    directory = run_directory_of(path)
    if directory is not None:
        try:
            record = RunDirectory(directory).read_record()
        except (OSError, ValueError):
            record = None  # `apx verify` says what is wrong with it
        if record is not None and (record.run, record.begin_ns) == (header.get("run"), header.get("begin_ns")):
            return record
    content = header.content
    known = {name: value for name, value in content.items() if name in RunRecord.model_fields and value is not None}
    try:
        return RunRecord.model_validate({**known, "state": "finished"})
    except ValidationError:
        return None


def _why(error: ApxFormatError | OSError) -> str:
    return reason_of(error) if isinstance(error, OSError) else f"at byte {error.offset}: {error.reason}"
