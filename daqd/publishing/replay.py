"""Replay: recorded files published as if the detector were there."""

import time
from collections.abc import Callable, Generator, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import numpy as np
import numpy.typing as npt

from daqd.errors import DaqError
from daqd.following.feed import Complaint, Feed, FeedEvent, ReadoutsRead, RunBegan, RunEnded
from protocol.apx import ApxReader, FileHeader
from protocol.block import ReadoutBlock
from protocol.errors import ApxFormatError, NoRecordingsError
from protocol.run_record import RunRecord
from protocol.storage.recordings import recordings_in
from protocol.wire.messages import encode_body

Speed = float | Literal["max"]


class ReplayError(DaqError, ValueError):
    """The files cannot be replayed."""


@dataclass(frozen=True)
class RecordedRun:
    """Files that belong to one run, in order."""

    run: int
    header: FileHeader
    files: tuple[Path, ...]


def recorded_runs(files: Sequence[Path]) -> list[RecordedRun]:
    """The runs that `files` hold: files of ours with the same run number belong together, all others stand alone.

    A directory stands for the recordings in it. A file without a run number gets its place in the list, from 1.
    `ReplayError` where a file cannot be read, or a directory has none.
    """
    runs: list[RecordedRun] = []
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
            raise ReplayError(f"cannot replay {path}: {error.strerror or error}") from error
        number = _run_number(header)
        last = runs[-1] if runs else None
        if last and number and (number, header.get("daq")) == (_run_number(last.header), last.header.get("daq")):
            runs[-1] = RecordedRun(last.run, last.header, (*last.files, path))
        else:
            runs.append(RecordedRun(number or place, header, (path,)))
    return runs


def _run_number(header: FileHeader) -> int | None:
    """The run that a file of ours says it belongs to."""
    number = header.get("run")
    return number if type(number) is int and 0 < number < 1 << 63 else None


class Replay(Feed):
    """Gives out recorded runs, paced by the time stamps of their readouts.

    `speed`: 1.0 as it was, N times as fast, or "max"; a readout without a time stamp (0) comes with the one before.
    `loop`: begin again at the end, each pass with its number, unless a whole pass had no readout. `chips`: chips in the
    chain, where the files do not say. A damaged file is given out up to the damage, with a complaint; `damaged` says
    that there was one.
    """

    def __init__(
        self,
        runs: Sequence[RecordedRun],
        *,
        speed: Speed = 1.0,
        loop: bool = False,
        chips: int | None = None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._runs = runs
        self._speed = speed
        self._loop = loop
        self._chips = chips
        self._clock = clock
        self._steps: Generator[FeedEvent | ReadoutBlock, None, None] = self._play()
        self._waiting: _Paced | None = None
        self._exhausted = False
        self.damaged = False
        self.readouts = 0
        self.pass_ = 1

    @property
    def exhausted(self) -> bool:
        """Whether everything was given out."""
        return self._exhausted

    def wait_s(self) -> float | None:
        """Until the next readout is due."""
        if self._exhausted:
            return None
        return 0.0 if self._waiting is None else max(0.0, self._waiting.due - self._clock())

    def poll(self) -> list[FeedEvent]:
        """What is due now."""
        if self._waiting is None:
            step = next(self._steps, None)
            if step is None:
                self._exhausted = True
                return []
            if not isinstance(step, ReadoutBlock):
                return [step]
            self._waiting = self._pace(step)
        part = self._waiting.take(self._clock())
        if self._waiting.empty:
            self._waiting = None
        if not len(part):
            return []
        self.readouts += len(part)
        return [ReadoutsRead(part)]

    def close(self) -> None:
        """Close the file that is open."""
        self._steps.close()

    def _play(self) -> Generator[FeedEvent | ReadoutBlock, None, None]:
        while True:
            before = self.readouts
            for recorded in self._runs:
                yield from self._play_run(recorded)
            if not self._loop or self.readouts == before:
                return
            self.pass_ += 1

    def _play_run(self, recorded: RecordedRun) -> Iterator[FeedEvent | ReadoutBlock]:
        record = self._record(recorded)
        self._origin: tuple[float, int] | None = None
        yield RunBegan(record, self.pass_)
        for path in recorded.files:
            try:
                with ApxReader(path) as reader:
                    yield from reader.blocks()
                    if reader.leftover_bytes:
                        self.damaged = True
                        yield Complaint(f"{path}: {reader.leftover_bytes} bytes after the last whole readout")
            except (OSError, ApxFormatError) as error:
                self.damaged = True
                yield Complaint(f"{error}; the rest of this file is not replayed")
        yield RunEnded(
            record.model_copy(update={"state": "finished", "end_ns": time.time_ns(), "end_reason": "replayed"})
        )

    def _record(self, recorded: RecordedRun) -> RunRecord:
        header = recorded.header
        comment = header.get("comment")
        daq = header.get("daq")
        record = RunRecord(
            daq=daq if isinstance(daq, str) else recorded.files[0].name,
            run=recorded.run,
            state="running",
            comment=comment if isinstance(comment, str) else "",
            begin_ns=time.time_ns(),
            software={"replay": recorded.files[0].name},
            readout_uid=header.readout_uid(),
            **header.description().with_chips(self._chips).model_dump(),
            configuration=header.content,
        )
        try:
            encode_body(record)
        except (ValueError, OverflowError, RecursionError):
            # JSON can carry what MessagePack cannot: numbers beyond 64 bits, halves of characters, very deep nesting.
            plain = {"daq": _plain(record.daq), "comment": _plain(record.comment)}
            software = {"replay": _plain(recorded.files[0].name)}
            content = {"header": header.serialize()}
            return record.model_copy(update={**plain, "software": software, "configuration": content})
        return record

    def _pace(self, block: ReadoutBlock) -> "_Paced":
        now = self._clock()
        if self._speed == "max":
            return _Paced(block, np.full(len(block), now))
        stamp = block.timestamp
        known = np.flatnonzero(stamp)
        if self._origin is None and len(known):
            self._origin = (now, int(stamp[known[0]]))
        begin, first_ns = self._origin or (now, 0)
        passed_ns = np.where(stamp > first_ns, stamp - np.uint64(first_ns), np.uint64(0))
        # A readout whose time stamp is not known or goes back is due with the one before it.
        return _Paced(block, np.maximum.accumulate(begin + passed_ns / (1e9 * self._speed)))


def _plain(text: str) -> str:
    """`text` with a question mark in the place of each half of a character."""
    return text.encode(errors="replace").decode()


class _Paced:
    """A block whose readouts are due at certain times."""

    def __init__(self, block: ReadoutBlock, due: npt.NDArray[np.float64]) -> None:
        self._block = block
        self._due = due
        self._next = 0

    @property
    def due(self) -> float:
        """When the next readout is due."""
        return float(self._due[self._next])

    @property
    def empty(self) -> bool:
        """Whether all were taken."""
        return self._next >= len(self._block)

    def take(self, now: float) -> ReadoutBlock:
        """The readouts that are due."""
        stop = int(np.searchsorted(self._due, now, side="right"))
        part = self._block if stop - self._next == len(self._block) else self._block[self._next : max(stop, self._next)]
        self._next = max(stop, self._next)
        return part
