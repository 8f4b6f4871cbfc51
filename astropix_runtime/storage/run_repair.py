"""Completing a run that its daemon did not live to close: its files, and its record.

A plan is made by reading alone. Carrying it out changes the disk in steps, any of which may be the last: planned again
after that, the rest leads to the same end (docs/formats.md, "Repair").
"""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from astropix_runtime.storage import durable
from astropix_runtime.storage.file_repair import FileRepair, Watch, plan_file_repair, unwatched
from astropix_runtime.storage.run_completion import Completion, record_from_header
from astropix_runtime.storage.run_directory import RunDirectory
from protocol.readout import uid_to_readout_class
from protocol.run_record import RunRecord
from protocol.text import counted


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
