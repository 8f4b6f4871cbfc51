"""What is known of the run that a recorded file is of."""

from pathlib import Path

from pydantic import ValidationError

from astropix_runtime.storage.run_directory import RunDirectory, run_directory_of
from protocol.apx import FileHeader
from protocol.run_record import RunRecord


def record_of(path: Path, header: FileHeader) -> RunRecord | None:
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
