"""Whether a file is what it should be, and what to do where it is not."""

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

from astropix_runtime.storage.file_repair import Watch, unwatched
from astropix_runtime.storage.run_directory import RunDirectory
from astropix_runtime.storage.survey import Survey, survey_path
from protocol.errors import ApxFormatError
from protocol.run_record import PART_SUFFIX, Cut, FileRecord, RunRecord
from protocol.text import counted, reason_of

Level = Literal["note", "warning", "error"]

_SAID = {"error": "bad", "warning": "warning"}


@dataclass
class Verdict:
    """What was found about `path`, which is a file or the directory of a run.

    `facts`: numbers, for programs. `findings`: what is worth saying, the worst level decides.
    """

    path: Path
    kind: Literal["file", "run"]
    summary: str = ""
    facts: dict[str, Any] = field(default_factory=dict)
    findings: list[tuple[Level, str]] = field(default_factory=list)

    def note(self, text: str) -> None:
        """Something that is as it should be, and good to know."""
        self.findings.append(("note", text))

    def warn(self, text: str) -> None:
        """Something that may be as it should be."""
        self.findings.append(("warning", text))

    def fail(self, text: str) -> None:
        """Something that is not as it should be."""
        self.findings.append(("error", text))

    @property
    def word(self) -> str:
        """`ok`, `warning` or `bad`."""
        levels = {level for level, _ in self.findings}
        return next((word for level, word in _SAID.items() if level in levels), "ok")

    def text(self) -> str:
        """What was found, in words."""
        return "; ".join([self.summary, *(text for _, text in self.findings)])

    def to_dict(self) -> dict[str, Any]:
        """As JSON can carry it."""
        return {
            "path": str(self.path),
            "kind": self.kind,
            "verdict": self.word,
            "findings": [{"level": level, "text": text} for level, text in self.findings],
            **self.facts,
        }


@dataclass(frozen=True)
class Expectation:
    """What a file should be. `known`: as its run's record says; `cuts`: of this file, those that are known."""

    run: int | None = None
    known: FileRecord | None = None
    cuts: tuple[Cut, ...] = ()
    is_live: bool = False


def judge_file(
    path: Path, expected: Expectation | None = None, watch: Watch = unwatched
) -> tuple[Verdict, Survey | None]:
    """Read a file; `OSError` as `open`. None in the place of the survey where it is beyond hope."""
    expected = expected or Expectation()
    verdict = Verdict(path, "file")
    size_bytes = path.stat().st_size
    verdict.facts["size_bytes"] = size_bytes
    try:
        with watch(path, size_bytes) as advance:
            found = survey_path(path, advance)
    except ApxFormatError as error:
        verdict.summary = "not readable"
        verdict.fail(f"{error.reason}: look for a copy")
        return verdict, None
    if found.header is None:
        verdict.summary = "not readable"
        todo = "apx repair puts it aside" if path.name.endswith(PART_SUFFIX) else "look for a copy"
        if found.foreign:
            todo = "a newer version may know it"
        if expected.is_live:
            verdict.note("its header is being written")
        else:
            verdict.fail(f"{found.fault}: {todo}")
        return verdict, None
    _tell(verdict, found)
    _judge_structure(verdict, found, expected)
    _judge_name(verdict, found.header.content, expected)
    if expected.known is not None:
        _judge_against_record(verdict, found, expected.known)
    return verdict, found


def _tell(verdict: Verdict, found: Survey) -> None:
    tally = found.tally
    ids = "" if tally.first_readout is None else f", {tally.first_readout} to {tally.last_readout}"
    verdict.summary = f"{counted(tally.readouts, 'readout')}{ids}"
    verdict.facts |= {
        "readouts": tally.readouts,
        "readout_bytes": tally.readout_bytes,
        "first_readout": tally.first_readout,
        "last_readout": tally.last_readout,
        "id_jumps": tally.id_jumps,
        "backward_steps": tally.backward_steps,
        "cut_bytes": found.cut_bytes,
        "cuts": [[cut.start, cut.size_bytes] for cut in found.cuts],
        "sha256": found.sha256 if not found.cuts else None,
    }


def _judge_structure(verdict: Verdict, found: Survey, expected: Expectation) -> None:
    tally = found.tally
    if found.cuts:
        more = f" and at {counted(len(found.cuts) - 1, 'more place')}" if len(found.cuts) > 1 else ""
        where = f"at byte {found.cuts[0].start}{more}"
        if expected.is_live and found.cut_at_end:
            verdict.note(f"{found.cut_bytes} bytes of a readout that is being written")
        else:
            verdict.fail(f"{found.cut_bytes} bytes {where} belong to no whole readout: apx repair puts them aside")
    if tally.first_jump is not None:
        before, after = tally.first_jump
        text = f"readout ids jump {counted(tally.id_jumps, 'time')}, first from {before} to {after}"
        if expected.cuts:
            verdict.warn(f"{text}, where {sum(cut.size_bytes for cut in expected.cuts)} bytes were put aside")
        else:
            verdict.fail(f"{text}: readouts are missing here")
    if tally.backward_steps:
        verdict.warn(
            f"time stamps go back {counted(tally.backward_steps, 'time')}, by up to {tally.largest_step_ns / 1e9:.6f} s"
        )


def _judge_name(verdict: Verdict, header: Mapping[str, Any], expected: Expectation) -> None:
    """Whether it is the file that it is called."""
    if expected.run is None:
        return
    index = int(verdict.path.name.removesuffix(PART_SUFFIX).removesuffix(".apx").rpartition("_")[2])
    if (header.get("run"), header.get("file")) != (expected.run, index):
        said = f"run {header.get('run')}, file {header.get('file')}"
        verdict.fail(f"its header says {said}: it was renamed, or belongs elsewhere")


def _judge_against_record(verdict: Verdict, found: Survey, known: FileRecord) -> None:
    if found.kept_bytes < known.size_bytes:
        missing = known.size_bytes - found.kept_bytes
        verdict.fail(f"{missing} of the {known.size_bytes} bytes that the run record says are missing: look for a copy")
    elif found.size_bytes != known.size_bytes and not found.cuts:
        verdict.fail(f"the run record says {known.size_bytes} bytes, there are {found.size_bytes}: look for a copy")
    if found.cuts or found.size_bytes != known.size_bytes:
        return
    tally = found.tally
    if found.sha256 != known.sha256:
        verdict.fail("its SHA-256 is not that of the run record: it was changed; look for a copy")
    elif (tally.readouts, tally.first_readout, tally.last_readout) != (
        known.readouts,
        known.first_readout,
        known.last_readout,
    ):
        verdict.fail(
            f"the run record says {counted(known.readouts, 'readout')}, {known.first_readout} to {known.last_readout}"
        )
    else:
        verdict.summary += ", as recorded"


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
