"""What a run left on disk, read back and held against its own record."""

import hashlib
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import numpy as np

from protocol.apx import ApxReader
from protocol.block import ReadoutBlock
from protocol.hit import HitTable
from protocol.ledger import Ledger
from protocol.readout import uid_to_readout_class
from protocol.run_record import RunRecord, run_name


@dataclass(frozen=True)
class RecordedReadout:
    """One record of a file."""

    readout_id: int
    timestamp_ns: int
    data: bytes


def readouts_of(path: Path, *, cut: bool = False) -> list[RecordedReadout]:
    """All whole records of a file; only where `cut` may it end in the middle of one."""
    with ApxReader(path) as reader:
        readouts = [each for block in reader.blocks() for each in _split(block)]
        assert cut or reader.leftover_bytes == 0, f"{path.name}: {reader.leftover_bytes} bytes left over"
    return readouts


def _split(block: ReadoutBlock) -> list[RecordedReadout]:
    return [
        RecordedReadout(
            int(block.readout_id[index]),
            int(block.timestamp[index]),
            block.data[block.offsets[index] : block.offsets[index + 1]],
        )
        for index in range(len(block))
    ]


def by_id(hits: HitTable) -> HitTable:
    """Hits in the order of readout and place within it."""
    return hits[np.lexsort((hits["decoding_order"], hits["readout_id"]))]


class TakenRun:
    """Run `run` in the data directory `data_dir`."""

    def __init__(self, data_dir: Path, run: int) -> None:
        self.directory = data_dir / run_name(run)

    @property
    def record(self) -> RunRecord:
        """The record, as it is now."""
        return RunRecord.from_json((self.directory / f"{self.directory.name}.json").read_bytes())

    @property
    def files(self) -> list[Path]:
        """Finished files, in order."""
        return sorted(self.directory.glob("*.apx"))

    @property
    def parts(self) -> list[Path]:
        """Files that were not finished."""
        return sorted(self.directory.glob("*.part"))

    @cached_property
    def readouts(self) -> list[RecordedReadout]:
        """All readouts, finished files first."""
        whole = [each for path in self.files for each in readouts_of(path)]
        return whole + [each for path in self.parts for each in readouts_of(path, cut=True)]

    @cached_property
    def _decoded(self) -> tuple[HitTable, Ledger]:
        record = self.record
        decoder = record.decoder()
        readouts = self.readouts
        block = ReadoutBlock.from_columns(
            [each.data for each in readouts],
            [each.readout_id for each in readouts],
            [each.timestamp_ns for each in readouts],
        )
        hits = decoder.decode(block)
        return np.concatenate([hits, decoder.flush()]), decoder.ledger

    @property
    def hits(self) -> HitTable:
        """What the files decode to, all at once."""
        return self._decoded[0]

    @property
    def ledger(self) -> Ledger:
        """The ledger of that decoding."""
        return self._decoded[1]

    def board_bytes(self, readout_bytes: int) -> bytes:
        """What the board sent, if each readout but the last had `readout_bytes`: what was stripped is put back."""
        *full, last = (each.data for each in self.readouts)
        return b"".join(data.ljust(readout_bytes, b"\xff") for data in full) + last

    def check_closed(self, *, clock_set_back: bool = False) -> RunRecord:
        """That everything is finished, and that the record says what the files hold; the record."""
        record = self.record
        assert record.state != "running", "the record was not closed"
        assert record.end_ns is not None and (record.end_ns >= record.begin_ns) is not clock_set_back
        assert record.end_reason
        assert not self.parts
        assert [path.name for path in self.files] == [file.name for file in record.files]
        assert sorted(path.name for path in self.directory.iterdir()) == sorted(
            [*(path.name for path in self.files), *{cut.kept_as for cut in record.cuts}, f"{self.directory.name}.json"]
        )
        self._check_files(record)
        self._check_counts(record)
        return record

    def _check_files(self, record: RunRecord) -> None:
        following = 0
        for index, (path, file) in enumerate(zip(self.files, record.files, strict=True)):
            content = path.read_bytes()
            readouts = readouts_of(path)
            with ApxReader(path) as reader:
                assert reader.header["run"] == record.run
                assert reader.header["file"] == index == file.index
            assert file.size_bytes == len(content)
            assert file.sha256 == hashlib.sha256(content).hexdigest()
            assert file.readouts == len(readouts)
            ids = [each.readout_id for each in readouts]
            assert ids == list(range(following, following + len(ids)))
            assert (file.first_readout, file.last_readout) == ((ids[0], ids[-1]) if ids else (None, None))
            following += len(ids)

    def _check_counts(self, record: RunRecord) -> None:
        counts = record.counts
        assert counts.readouts == len(self.readouts)
        assert counts.readout_bytes == sum(len(each.data) for each in self.readouts)
        if record.state == "interrupted":
            assert (counts.empty_readouts, counts.board_bytes, counts.padding_bytes) == (None, None, None)
        else:
            assert counts.readout_bytes + (counts.padding_bytes or 0) == counts.board_bytes
        assert counts.file_bytes == sum(path.stat().st_size for path in self.files)
        without_padding = uid_to_readout_class(record.readout_uid).without_padding
        assert all(each.data and without_padding(each.data) == each.data for each in self.readouts)

    def check_ledger(self) -> Ledger:
        """That the record's ledger is there, balanced, and that of the files; the ledger."""
        said = self.record.ledger
        assert said is not None, "the record has no ledger"
        ledger = Ledger.from_dict(said)
        assert ledger.balanced
        assert ledger == self.ledger
        assert ledger.bytes_read == self.record.counts.readout_bytes
        assert ledger.readouts == self.record.counts.readouts
        return ledger
