"""Whether a run is what its record says, and what to do where it is not."""

from collections.abc import Callable, Iterator
from pathlib import Path

from astropix_runtime.storage.file_repair import Watch, unwatched
from astropix_runtime.storage.run_directory import RunDirectory
from astropix_runtime.storage.survey import Survey
from astropix_runtime.storage.verdict import Expectation, Verdict, judge_file
from protocol.run_record import PART_SUFFIX, RunRecord
from protocol.text import counted, reason_of


class RunJudge:
    """Looks at one run, file by file. `may_be_taken`: says whether a run that is open can be one that is being taken.

    `ValueError` for a directory that is none of a run, `OSError` where it cannot be read.
    """

    def __init__(self, path: Path, may_be_taken: Callable[[], bool], watch: Watch = unwatched) -> None:
        self._watch = watch
        self._verdict = Verdict(path, "run")
        self._directory = RunDirectory(path)
        self._record = self._read_record()
        self._is_live = self._record is not None and self._record.state == "running" and may_be_taken()
        self._following = 0
        self._readouts = 0
        self._readout_bytes = 0
        self._all_read = True

    def verdict_of(self, path: Path) -> Verdict:
        """Of one of its files alone."""
        files = {**self._directory.finished, **self._directory.parts}
        (index,) = (index for index, each in files.items() if each.name == path.name)
        return self._judge(index, path)[0]

    def verdicts(self) -> Iterator[Verdict]:
        """Of each file in turn, and then of the run as a whole."""
        paths = {**self._directory.finished, **self._directory.parts}
        for index in sorted(paths):
            verdict, found = self._judge(index, paths[index])
            self._count(verdict, found)
            yield verdict
        self._judge_files()
        self._judge_other_names()
        if self._record is not None:
            self._judge_record(self._record)
        self._verdict.summary = f"{counted(self._readouts, 'readout')} in {counted(len(paths), 'file')}"
        self._verdict.facts |= {
            "run": self._directory.run,
            "state": None if self._record is None else self._record.state,
            "files": len(paths),
            "readouts": self._readouts,
            "readout_bytes": self._readout_bytes,
        }
        yield self._verdict

    def _read_record(self) -> RunRecord | None:
        try:
            record = self._directory.read_record()
        except ValueError as error:
            self._verdict.fail(f"{self._directory.record_path.name} is {error}")
            return None
        if record is None and (self._directory.finished or self._directory.parts):
            self._verdict.fail("there is no run record: apx repair makes one from the files")
        elif record is None:
            self._verdict.warn("nothing was taken; the daemon ended when it had given the number")
        return record

    def _judge(self, index: int, path: Path) -> tuple[Verdict, Survey | None]:
        record = self._record
        known = None if record is None else next((file for file in record.files if file.index == index), None)
        is_part = path.name.endswith(PART_SUFFIX)
        cuts = () if record is None else tuple(cut for cut in record.cuts if cut.file == path.name)
        expected = Expectation(self._directory.run, None if is_part else known, cuts, is_part and self._is_live)
        try:
            verdict, found = self._look(path, index, expected)
        except OSError as error:
            verdict, found = Verdict(path, "file", "not readable"), None
            verdict.fail(reason_of(error))
        if is_part and self._is_live:
            verdict.note("is being written")
        elif is_part:
            verdict.fail("was not finished: the daemon's next start, or apx repair, finishes it")
        elif record is not None and known is None and not self._is_live:
            verdict.fail("is not in the run record: apx repair adds it, or it belongs elsewhere")
        return verdict, found

    def _look(self, path: Path, index: int, expected: Expectation) -> tuple[Verdict, Survey | None]:
        try:
            return judge_file(path, expected, self._watch)
        except FileNotFoundError:
            if not self._is_live:
                raise
            return judge_file(self._directory.file_path(index), watch=self._watch)  # it was finished just now

    def _count(self, verdict: Verdict, found: Survey | None) -> None:
        """Add a file up with those before."""
        if found is None:
            self._all_read = False
            return
        tally = found.tally
        self._readouts += tally.readouts
        self._readout_bytes += tally.readout_bytes
        if tally.first_readout is None or tally.last_readout is None:
            return
        if tally.first_readout != self._following:
            text = f"begins with readout {tally.first_readout}, the file before ended before {self._following}"
            is_known = self._record is not None and bool(self._record.cuts)
            (verdict.warn if is_known else verdict.fail)(text)
        self._following = tally.last_readout + 1

    def _judge_files(self) -> None:
        """Whether the files are there that the record names."""
        if self._record is None:
            return
        for file in self._record.files:
            if not (self._directory.path / file.name).exists():
                self._verdict.fail(f"{file.name} is missing, with {counted(file.readouts, 'readout')}: look for a copy")

    def _judge_other_names(self) -> None:
        recorded = {} if self._record is None else {cut.kept_as: 0 for cut in self._record.cuts}
        for cut in () if self._record is None else self._record.cuts:
            recorded[cut.kept_as] += cut.size_bytes
        there = {path.name: path.stat().st_size for path in self._directory.cuts}
        for name, size_bytes in recorded.items():
            if name not in there:
                self._verdict.warn(f"{name} is gone: the {size_bytes} bytes that had been put aside there")
            elif there[name] != size_bytes:
                self._verdict.warn(f"{name} has {there[name]} bytes, {size_bytes} were put aside there")
            else:
                self._verdict.note(f"{size_bytes} bytes that are no whole readout are kept in {name}")
        for name in sorted(there.keys() - recorded.keys()):
            self._verdict.warn(f"{name} is there, and the run record does not say why")
        if self._directory.leftovers and not self._is_live:
            names = ", ".join(path.name for path in self._directory.leftovers)
            self._verdict.warn(f"left over: {names}: apx repair removes it")

    def _judge_record(self, record: RunRecord) -> None:
        if self._is_live:
            self._verdict.note("is being taken")
            return
        if record.state == "running":
            self._verdict.fail("was left open: the daemon's next start, or apx repair, closes it")
            return
        if record.state != "finished":
            self._verdict.note(f"{record.state}: {record.end_reason}")
        counts = record.counts
        if not self._all_read or len(record.files) != len(self._directory.finished) or self._directory.parts:
            return
        if (counts.readouts, counts.readout_bytes) != (self._readouts, self._readout_bytes):
            self._verdict.fail(
                f"the run record counts {counts.readouts} readouts with {counts.readout_bytes} bytes,"
                f" the files have {self._readouts} with {self._readout_bytes}"
            )
        if record.ledger is not None and record.ledger.get("bytes_read") != counts.readout_bytes:
            self._verdict.fail(
                f"the ledger accounts for {record.ledger.get('bytes_read')} of {counts.readout_bytes} bytes"
            )
