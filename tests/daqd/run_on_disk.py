"""Runs put on disk step by step, as a writer leaves them at any moment."""

from collections.abc import Callable, Sequence
from typing import Any

from daqd.following.feed import Complaint, Feed, FeedEvent, ReadoutsRead, RunBegan, RunEnded
from daqd.runs.run_store import RunStore
from protocol.run_record import RunRecord, RunState
from tests.daqd.file_bytes import header_bytes, record_bytes
from tests.daqd.made_readouts import CHIPS

Readout = tuple[int, int, bytes]
"""Id, time stamp, data."""


def number_readouts(chunks: Sequence[bytes], first: int = 0) -> list[Readout]:
    """With the trailing padding removed, as files have them; time stamp = 10 × id + 5."""
    return [(number, 10 * number + 5, data.rstrip(b"\xff")) for number, data in enumerate(chunks, first)]


class RunOnDisk:
    """Run `run` of `store`: what its writer does, step by step."""

    def __init__(self, store: RunStore, run: int) -> None:
        self.store = store
        self.run = run
        self.index = -1

    def make_directory(self) -> None:
        self.store.run_directory(self.run).mkdir()

    def write_record(self, state: RunState = "running", **values: Any) -> RunRecord:
        known = {"daq": "bench", "run": self.run, "begin_ns": 1, "software": {}, "readout_uid": 4000, "chips": CHIPS}
        record = RunRecord.model_validate({**known, "configuration": {}, "state": state, **values})
        self.store.write_record(record)
        return record

    def next_file(self) -> None:
        """Its `.part`, empty yet."""
        self.index += 1
        self.store.part_path(self.run, self.index).touch(exist_ok=False)

    @property
    def header(self) -> bytes:
        return header_bytes(run=self.run, file=self.index)

    def append(self, data: bytes) -> None:
        with self.store.part_path(self.run, self.index).open("ab") as file:
            file.write(data)

    def append_readouts(self, readouts: Sequence[Readout]) -> None:
        self.append(b"".join(record_bytes(*readout) for readout in readouts))

    def begin(self, readouts: Sequence[Readout] = ()) -> None:
        """All up to these readouts, in its first file."""
        self.make_directory()
        self.write_record()
        self.next_file()
        self.append(self.header)
        self.append_readouts(readouts)

    def rename(self) -> None:
        self.store.part_path(self.run, self.index).rename(self.store.file_path(self.run, self.index))

    def steps(self, files: Sequence[Sequence[Readout]], *, torn: bool = False) -> list[Callable[[], object]]:
        """All that is done for a run with these files, in order; `torn`: records in two pieces each."""
        steps: list[Callable[[], object]] = [self.make_directory, self.next_file, lambda: self.append(self.header)]
        steps.append(self.write_record)
        for index, readouts in enumerate(files):
            if index:
                steps += [self.rename, self.next_file, lambda: self.append(self.header)]
            for readout in readouts:
                record = record_bytes(*readout)
                cut = len(record) // 2 if torn else len(record)
                steps += [lambda piece=piece: self.append(piece) for piece in (record[:cut], record[cut:]) if piece]
        steps += [self.rename, lambda: self.write_record("finished", end_ns=2, end_reason="enough")]
        return steps

    def write_all(self, files: Sequence[Sequence[Readout]]) -> None:
        for step in self.steps(files):
            step()


def poll_all(feed: Feed) -> list[FeedEvent]:
    """Everything that there is now: until nothing comes twice and there is nothing to wait for."""
    events: list[FeedEvent] = []
    silent = 0
    while silent < 2:
        new = feed.poll()
        events += new
        silent = 0 if new or feed.wait_s() == 0.0 else silent + 1
    return events


def readouts_of(events: Sequence[FeedEvent]) -> list[Readout]:
    """The readouts that the events bring, in order."""
    found: list[Readout] = []
    for event in events:
        if isinstance(event, ReadoutsRead):
            block = event.block
            assert len(block), "a block of no readouts"
            for index in range(len(block)):
                data = block.data[block.offsets[index] : block.offsets[index + 1]]
                found.append((int(block.readout_id[index]), int(block.timestamp[index]), data))
    return found


def kinds(events: Sequence[FeedEvent]) -> list[str]:
    """What kind each event is, readouts that follow each other as one."""
    names = {RunBegan: "begin", ReadoutsRead: "readouts", RunEnded: "end", Complaint: "complaint"}
    found: list[str] = []
    for event in events:
        name = names[type(event)]
        if name != "readouts" or found[-1:] != ["readouts"]:
            found.append(name)
    return found
