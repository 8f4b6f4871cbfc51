"""Recorded files as runs: which of them belong together, and what a run's record says while it is replayed."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from astropix_runtime.storage.run_directory import recordings_in
from daqd.errors import DaqError
from protocol.apx import ApxReader, FileHeader
from protocol.errors import ApxFormatError, NoRecordingsError
from protocol.run_record import PART_SUFFIX, RunRecord
from protocol.text import reason_of
from protocol.wire.messages import encode_body


class ReplayError(DaqError, ValueError):
    """The files cannot be replayed."""


@dataclass(frozen=True)
class RecordedRun:
    """Files that belong to one run, in order; `header`: of the first."""

    run: int
    header: FileHeader
    files: tuple[Path, ...]

    def record(self, begin_ns: int, chips: int | None) -> RunRecord:
        """Its record while it is replayed; `chips` in the chain, where the files do not say."""
        header = self.header
        comment, daq = header.get("comment"), header.get("daq")
        name = self.files[0].name
        record = RunRecord(
            daq=daq if isinstance(daq, str) else name,
            run=self.run,
            state="running",
            comment=comment if isinstance(comment, str) else "",
            begin_ns=begin_ns,
            software={"replay": name},
            readout_uid=header.readout_uid(),
            **header.description().with_chips(chips).model_dump(),
            configuration=header.content,
        )
        try:
            encode_body(record)
        except (ValueError, OverflowError, RecursionError):
            # JSON can carry what MessagePack cannot: numbers beyond 64 bits, halves of characters, very deep nesting.
            plain = {"daq": _plain(record.daq), "comment": _plain(record.comment)}
            content = {"header": header.serialize()}
            return record.model_copy(
                update={**plain, "software": {"replay": _plain(name)}, "configuration": content},
            )
        return record


def ended(record: RunRecord, end_ns: int) -> RunRecord:
    """The record of a run of which everything was replayed."""
    return record.model_copy(update={"state": "finished", "end_ns": end_ns, "end_reason": "replayed"})


def recorded_runs(files: Sequence[Path]) -> list[RecordedRun]:
    """The runs that `files` hold: the files of one run of ours, one after the other, belong together.

    A directory stands for the recordings in it. A file without a run number gets its place in the list, from 1.
    `ReplayError` where a file cannot be read, or a directory has none.
    """
    runs: list[RecordedRun] = []
    before: FileHeader | None = None
    try:
        recordings = recordings_in(files)
    except (NoRecordingsError, OSError) as error:
        raise ReplayError(f"cannot replay: {error}") from error
    for place, path in enumerate(recordings, start=1):
        try:
            with ApxReader(path) as reader:
                header = reader.header
        except ApxFormatError as error:
            raise ReplayError(f"cannot replay {error}") from error
        except OSError as error:
            raise ReplayError(f"cannot replay {path}: {reason_of(error)}") from error
        if before is not None and _goes_on(before, header):
            runs[-1] = replace(runs[-1], files=(*runs[-1].files, path))
        else:
            runs.append(RecordedRun(_run_number(header) or place, header, (path,)))
        before = header
    return runs


def now_called(path: Path) -> Path:
    """The name of a file that was `path` when it was looked for, and that its daemon may have finished since."""
    final = path.with_name(path.name.removesuffix(PART_SUFFIX))
    return final if final != path and not path.exists() and final.exists() else path


def _goes_on(before: FileHeader, header: FileHeader) -> bool:
    """Whether a file goes on where the one before has ended: of the same run, and none of its files again."""
    if _run_number(header) is None or _run_of(before) != _run_of(header):
        return False
    last, index = before.get("file"), header.get("file")
    return not (type(last) is type(index) is int) or last < index


def _run_of(header: FileHeader) -> tuple[Any, ...]:
    """What all files of a run have in common; daemons of the same name may have counted from 1 more than once."""
    return _run_number(header), header.get("daq"), header.get("begin_ns")


def _run_number(header: FileHeader) -> int | None:
    """The run that a file of ours says it belongs to."""
    number = header.get("run")
    return number if type(number) is int and 0 < number < 1 << 63 else None


def _plain(text: str) -> str:
    """`text` with a question mark in the place of each half of a character."""
    return text.encode(errors="replace").decode()
