"""Whether a file is what it should be, and what to do where it is not."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

from astropix_runtime.storage.file_repair import Watch, unwatched
from astropix_runtime.storage.survey import Survey, survey_path
from protocol.errors import ApxFormatError
from protocol.run_record import PART_SUFFIX, Cut, FileRecord
from protocol.text import counted

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
