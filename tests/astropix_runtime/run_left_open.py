"""Runs on disk as a daemon leaves them that was killed."""

import hashlib
import io
from pathlib import Path
from typing import Any

from protocol.apx import FileHeader
from protocol.readout import RECORD_HEAD, RECORD_MARKER, AstroPix4Readout
from protocol.run_record import Counts, FileRecord, RunRecord, file_name, run_name

BEGIN_NS = 1000
DATA = b"readout"


def record_bytes(readout_id: int, data: bytes = DATA) -> bytes:
    return RECORD_HEAD.pack(RECORD_MARKER, readout_id, BEGIN_NS + 10 * readout_id, len(data)) + data


def records(first: int, number: int) -> bytes:
    return b"".join(record_bytes(readout_id) for readout_id in range(first, first + number))


class RunLeftOpen:
    """Run `run` below `data_dir`; each file holds `per_file` readouts."""

    per_file = 5

    def __init__(self, data_dir: Path, run: int = 7) -> None:
        self.run = run
        self.directory = data_dir / run_name(run)
        self.directory.mkdir(parents=True)

    def path(self, index: int, suffix: str = "") -> Path:
        return self.directory / (file_name(self.run, index) + suffix)

    @property
    def record_path(self) -> Path:
        return self.directory / f"{run_name(self.run)}.json"

    @property
    def record(self) -> RunRecord:
        return RunRecord.from_json(self.record_path.read_bytes())

    def header(self, index: int) -> bytes:
        content = {
            "run": self.run, "daq": "bench", "comment": "beam", "begin_ns": BEGIN_NS, "chips": 4,
            "software": {"name": "test"}, "configuration": {"a": 1}, "chip_configuration": None, "file": index,
        }  # fmt: skip
        return FileHeader(AstroPix4Readout, content).to_bytes()

    def content(self, index: int, number: int | None = None) -> bytes:
        """What a file holds with so many readouts (None: as many as others)."""
        number = self.per_file if number is None else number
        return self.header(index) + records(self.per_file * index, number)

    def finish_file(self, index: int) -> FileRecord:
        """A finished file, and what the daemon's record says of it."""
        content = self.content(index)
        self.path(index).write_bytes(content)
        first = self.per_file * index
        return FileRecord(
            name=self.path(index).name,
            index=index,
            size_bytes=len(content),
            sha256=hashlib.sha256(content).hexdigest(),
            readouts=self.per_file,
            first_readout=first,
            last_readout=first + self.per_file - 1,
            begin_ns=BEGIN_NS + 10 * first - 1,
            end_ns=BEGIN_NS + 10 * (first + self.per_file) - 1,
        )

    def open_file(self, index: int, number: int, tail: bytes = b"") -> Path:
        """A file that is not finished."""
        part = self.path(index, ".part")
        part.write_bytes(self.content(index, number) + tail)
        return part

    def write_record(self, *files: FileRecord, **values: Any) -> RunRecord:
        known = {
            "daq": "bench", "run": self.run, "state": "running", "comment": "beam", "begin_ns": BEGIN_NS,
            "software": {"name": "test"}, "readout_uid": 4000, "chips": 4, "configuration": {"a": 1},
            "files": files,
        }  # fmt: skip
        record = RunRecord.model_validate({**known, **values})
        self.record_path.write_text(record.to_json())
        return record

    def snapshot(self) -> dict[str, bytes]:
        """Every file and its content."""
        return {path.name: path.read_bytes() for path in sorted(self.directory.iterdir())}

    def check_whole(self) -> RunRecord:
        """That the record says of every file what is in it, and names what was put aside; the record."""
        record = self.record
        files = {path.name for path in self.directory.glob("*.apx")}
        assert {file.name for file in record.files} == files
        kept = {cut.kept_as for cut in record.cuts}
        assert {path.name for path in self.directory.iterdir()} == files | kept | {self.record_path.name}
        for name in kept:
            size = sum(cut.size_bytes for cut in record.cuts if cut.kept_as == name)
            assert (self.directory / name).stat().st_size == size
        readouts, readout_bytes = 0, 0
        for file in record.files:
            content = (self.directory / file.name).read_bytes()
            assert (file.size_bytes, file.sha256) == (len(content), hashlib.sha256(content).hexdigest())
            ids, data_bytes = _read(content)
            assert file.readouts == len(ids)
            assert (file.first_readout, file.last_readout) == ((ids[0], ids[-1]) if ids else (None, None))
            readouts += len(ids)
            readout_bytes += data_bytes
        assert (record.counts.readouts, record.counts.readout_bytes) == (readouts, readout_bytes)
        assert record.counts.file_bytes == sum(file.size_bytes for file in record.files)
        return record


def _read(content: bytes) -> tuple[list[int], int]:
    file = io.BytesIO(content)
    readout_class = FileHeader.from_file(file).readout_class()
    begin, ids = file.tell(), []
    while (readout := readout_class.from_file(file)) is not None:
        ids.append(readout.readout_id)
    assert file.tell() == len(content)
    # Not what the readouts say of themselves: of what a power cut has made of one, they take the last 0xFF for padding.
    return ids, len(content) - begin - len(ids) * RECORD_HEAD.size


UNKNOWN = Counts(empty_readouts=None, board_bytes=None, padding_bytes=None)
"""What no file tells."""
