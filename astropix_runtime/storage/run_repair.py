"""Completing a run that its daemon did not live to close: its files, and its record.

A plan is made by reading alone. Carrying it out changes the disk in steps, any of which may be the last: planned again
after that, the rest leads to the same end (docs/formats.md, "Repair").
"""

import hashlib
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

from pydantic import ValidationError

from astropix_runtime.storage import durable
from astropix_runtime.storage.file_repair import FileRepair, Watch, plan_file_repair, unwatched
from astropix_runtime.storage.run_directory import RunDirectory
from protocol.apx import HEADER_HEAD_BYTES, FileHeader, header_size_bytes
from protocol.errors import ApxFormatError
from protocol.readout import RECORD_HEAD, uid_to_readout_class
from protocol.run_record import Counts, Cut, FileRecord, RunRecord
from protocol.text import counted

_CHUNK_BYTES = 1 << 20


def record_from_header(header: FileHeader, run: int) -> RunRecord | None:
    """A record of `run` as it was at the beginning; None where the header does not say enough, or is of another run."""
    said = {name: header[name] for name in RunRecord.model_fields if name in header}
    try:
        record = RunRecord.model_validate({**said, "state": "running"})
    except ValidationError:
        return None
    return record if record.run == run else None


class Completion:
    """What the files of a run say for its record.

    `record`: the one that is there. `looked_at`: files that were read; `repairs`: those of them that are repaired. The
    other files are taken for what the record says.
    """

    def __init__(
        self, directory: RunDirectory, record: RunRecord, looked_at: Iterable[FileRepair], repairs: Iterable[FileRepair]
    ) -> None:
        self._directory = directory
        self._record = record
        self._known = {file.name: file for file in record.files}
        self._looked_at = {each.final.name: each for each in looked_at if each.opens}
        self._repairs = tuple(repairs)
        self._is_open = record.state == "running"

    @property
    def is_behind(self) -> bool:
        """Whether there are files that the record does not know, or knows as they were before a repair."""
        return any(name not in self._known or self._is_half_repaired(name) for name in self._looked_at)

    def complete(self, remarks: list[str]) -> RunRecord:
        """The record as it should be; adds to `remarks` what is wrong with the files."""
        cuts = self._cuts()
        files: list[FileRecord] = []
        readout_bytes = 0
        for name in sorted({*self._known, *self._looked_at}, key=lambda name: (len(name), name)):
            file, file_readout_bytes = self._file(name, remarks)
            files.append(file)
            readout_bytes += file_readout_bytes
        remarks += _id_jumps(files, self._looked_at)
        ledger = self._record.ledger
        return self._record.model_copy(
            update={
                "state": "interrupted" if self._is_open else self._record.state,
                "end_ns": self._end_ns(files),
                "end_reason": self._reason(files, cuts, remarks),
                "counts": self._counts(files, readout_bytes),
                "ledger": ledger if ledger is not None and ledger.get("bytes_read") == readout_bytes else None,
                "files": tuple(files),
                "cuts": cuts,
            }
        )

    def _cuts(self) -> tuple[Cut, ...]:
        """What was put aside before, and what is now; what is done again after a crash counts once."""
        new = [cut for repair in self._repairs for cut in repair.cuts]
        again = {cut.kept_as for cut in new}
        return (*(cut for cut in self._record.cuts if cut.kept_as not in again), *new)

    def _is_half_repaired(self, name: str) -> bool:
        """Whether the file was cut, and the record says how, but still has the file as it was before."""
        cuts = [cut for cut in self._record.cuts if cut.file == name]
        cut_bytes = sum(cut.size_bytes for cut in cuts if cut.kept_as == cuts[-1].kept_as)
        return name in self._known and 0 < cut_bytes == self._known[name].size_bytes - self._size_bytes(name)

    def _size_bytes(self, name: str) -> int:
        return self._looked_at[name].survey.size_bytes

    def _file(self, name: str, remarks: list[str]) -> tuple[FileRecord, int]:
        """The record of a file, and the bytes of its readouts."""
        known, looked_at = self._known.get(name), self._looked_at.get(name)
        if looked_at is None or not self._replaces(looked_at, known):
            assert known is not None  # noqa: S101 - a name is known or looked at, and what is not known is taken in
            path = self._directory.path / name
            if not path.exists():
                remarks.append(f"{name} is missing")
                return known, 0
            return known, known.size_bytes - _header_bytes(path) - RECORD_HEAD.size * known.readouts
        found, tally = looked_at.survey, looked_at.survey.tally
        size_bytes, sha256 = found.kept_bytes, found.sha256
        if looked_at not in self._repairs and found.cuts:
            size_bytes, sha256 = found.size_bytes, _sha256(looked_at.path)
            remarks.append(f"{name} was finished and is damaged; apx repair mends it")
        if known is not None and self._is_open and known.size_bytes != size_bytes and not self._is_half_repaired(name):
            remarks.append(f"{name} had {known.size_bytes} bytes when it was finished and has {size_bytes}")
        begin_ns = tally.first_ns or self._record.begin_ns
        file = FileRecord(
            name=name,
            index=self._index(name),
            size_bytes=size_bytes,
            sha256=sha256,
            readouts=tally.readouts,
            first_readout=tally.first_readout,
            last_readout=tally.last_readout,
            begin_ns=begin_ns if known is None else known.begin_ns,
            end_ns=(tally.last_ns or begin_ns) if known is None else known.end_ns,
        )
        return file, tally.readout_bytes

    def _replaces(self, looked_at: FileRepair, known: FileRecord | None) -> bool:
        """Whether what was found takes the place of what the record says."""
        return known is None or self._is_open or looked_at in self._repairs or self._is_half_repaired(known.name)

    def _index(self, name: str) -> int:
        return int(name.removesuffix(".apx").rpartition("_")[2])

    def _counts(self, files: list[FileRecord], readout_bytes: int) -> Counts:
        """From the files; what they do not tell stays as it is where the rest agrees, else it is not known."""
        before = self._record.counts
        counts = Counts(
            readouts=sum(file.readouts for file in files),
            empty_readouts=None,
            board_bytes=None,
            readout_bytes=readout_bytes,
            padding_bytes=None,
            file_bytes=sum(file.size_bytes for file in files),
        )
        if self._is_open or (before.readouts, before.readout_bytes) != (counts.readouts, counts.readout_bytes):
            return counts
        return before.model_copy(update={"file_bytes": counts.file_bytes})

    def _end_ns(self, files: list[FileRecord]) -> int | None:
        """The last sign of life."""
        if not self._is_open:
            return self._record.end_ns
        signs = [self._record.begin_ns, *(file.end_ns for file in files)]
        signs += [time_ns for gap in self._record.gaps for time_ns in (gap.from_ns, gap.to_ns) if time_ns is not None]
        return max(signs)

    def _reason(self, files: list[FileRecord], cuts: tuple[Cut, ...], remarks: list[str]) -> str:
        readouts = sum(file.readouts for file in files)
        said = [f"the daemon did not live to close it: {counted(readouts, 'readout')} in {counted(len(files), 'file')}"]
        if not self._is_open:
            said = [self._record.end_reason, "repaired afterwards"]
        if cuts:
            said.append(f"{sum(cut.size_bytes for cut in cuts)} bytes that are no whole readout put aside")
        return "; ".join([*said, *remarks])


def _id_jumps(files: list[FileRecord], looked_at: dict[str, FileRepair]) -> list[str]:
    """Where readout ids do not go up by one, from 0, over all files."""
    said = []
    following = 0
    for file in files:
        if file.first_readout is None or file.last_readout is None:
            continue
        if file.first_readout != following:
            said.append(f"{file.name} begins with readout {file.first_readout}, not {following}")
        if file.name in looked_at and (jump := looked_at[file.name].survey.tally.first_jump) is not None:
            jumps = looked_at[file.name].survey.tally.id_jumps
            said.append(f"readout ids jump {counted(jumps, 'time')} in {file.name}, first from {jump[0]} to {jump[1]}")
        following = file.last_readout + 1
    return said


def _header_bytes(path: Path) -> int:
    """Size of the header of a file, as it announces it; 0 for none."""
    with path.open("rb") as file:
        try:
            return header_size_bytes(file.read(HEADER_HEAD_BYTES)) or 0
        except ApxFormatError:
            return 0


def _sha256(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


@dataclass(frozen=True)
class RunRepair:
    """What there is to do about a run.

    `files`: those that need it. `adopts_draft`: the record that was not in its place yet is all there is. `before`: the
    record as it is written before files are cut, None where nothing is; `after`: the record in the end, None where it
    stays as it is. `remarks`: what cannot be mended.
    """

    directory: RunDirectory
    files: tuple[FileRepair, ...] = ()
    leftovers: tuple[Path, ...] = ()
    adopts_draft: bool = False
    before: RunRecord | None = None
    after: RunRecord | None = None
    remarks: tuple[str, ...] = ()

    @property
    def needed(self) -> bool:
        """Whether there is anything to do."""
        return bool(self.files or self.leftovers or self.adopts_draft or self.after)

    def carry_out(self) -> None:
        """Do it; `OSError` where the disk refuses: what is done by then stays, and the rest can be planned again."""
        if self.adopts_draft:
            durable.rename(self.directory.draft, self.directory.record_path)
        durable.remove(self.leftovers)  # before all that needs space
        for file in self.files:
            file.keep()
        if self.before is not None:
            self._write(self.before)
        for file in self.files:
            file.finish()
        if self.after is not None:
            self._write(self.after)

    def _write(self, record: RunRecord) -> None:
        durable.replace_text(self.directory.record_path, record.to_json())

    def describe(self) -> str:
        """What is done, in one line; the remarks are not in it."""
        done = [file.describe() for file in self.files]
        if self.after is not None:
            counts = self.after.counts
            done.append(
                f"the record says {self.after.state}, {counted(counts.readouts, 'readout')},"
                f" {counted(counts.file_bytes, 'byte')} in {counted(len(self.after.files), 'file')}"
            )
        return "; ".join(done) or "what was left over of it is removed"


def plan_run_repair(path: Path, *, thorough: bool = False, watch: Watch = unwatched) -> RunRepair:
    """Look at the run in the directory `path`, and say what there is to do.

    Finished files that are as large as the record says are taken for what it says; `thorough` has all files read, and
    finished ones mended, too. `OSError` as `open`, `ValueError` for a directory that is none of a run.
    """
    directory = RunDirectory(path)
    try:
        record = directory.read_record()
    except ValueError as error:
        return _plan_files(directory, f"{directory.record_path.name} is {error}; it was left as it is", watch)
    draft = directory.read_draft() if record is None else None
    record = record or draft
    if record is not None and not _is_known(record.readout_uid):
        remark = f"readout uid {record.readout_uid} is not known here; the run is left to a version that knows it"
        return RunRepair(directory, remarks=(remark,))
    leftovers = tuple(each for each in directory.leftovers if draft is None or each != directory.draft)
    is_open = record is None or record.state == "running"
    looked_at = [plan_file_repair(each, watch) for each in _to_look_at(directory, record, thorough)]
    repairs = tuple(each for each in looked_at if each.needed and (thorough or each.is_part))
    remarks = [each.obstacle for each in looked_at if each.obstacle]
    if record is None and (headers := [each.survey.header for each in looked_at if each.survey.header is not None]):
        record = record_from_header(headers[0], directory.run)
        if record is None:
            remarks.append("there is no run record, and the files do not say enough to make one")
    if record is None:
        return RunRepair(directory, repairs, leftovers, remarks=tuple(remarks))
    completion = Completion(directory, record, looked_at, repairs)
    if not (is_open or repairs or completion.is_behind):
        return RunRepair(directory, (), leftovers, draft is not None, remarks=tuple(remarks))
    after = completion.complete(remarks)
    before = record.model_copy(update={"cuts": after.cuts}) if any(each.cuts for each in repairs) else None
    return RunRepair(directory, repairs, leftovers, draft is not None, before, after, tuple(remarks))


def _to_look_at(directory: RunDirectory, record: RunRecord | None, thorough: bool) -> Iterator[Path]:
    """Files that have to be read: those that are not finished, and those of which the record should tell and does not.

    A run that ended as it should has a record that is complete; it is not asked.
    """
    yield from directory.parts.values()
    if record is not None and record.state == "finished" and not thorough:
        return
    known = {file.index: file for file in record.files} if record is not None else {}
    for index, path in directory.finished.items():
        changed = index in known and path.stat().st_size != known[index].size_bytes
        if thorough or index not in known or (changed and record is not None and record.state == "running"):
            yield path


def _is_known(readout_uid: int) -> bool:
    try:
        uid_to_readout_class(readout_uid)
    except ValueError:
        return False
    return True


def _plan_files(directory: RunDirectory, remark: str, watch: Watch) -> RunRepair:
    """The plan for a run whose record cannot be read: files that are not finished, and nothing else."""
    looked_at = [plan_file_repair(path, watch) for path in directory.parts.values()]
    remarks = (remark, *(each.obstacle for each in looked_at if each.obstacle))
    return RunRepair(directory, tuple(each for each in looked_at if each.needed), remarks=remarks)
