"""Replay: recorded files published as if the detector were there."""

import time
from collections.abc import Callable, Generator, Iterator, Sequence
from dataclasses import replace
from typing import Literal

import numpy as np
import numpy.typing as npt

from daqd.following.feed import Complaint, Feed, FeedEvent, ReadoutsRead, RunBegan, RunEnded
from daqd.following.recorded_runs import RecordedRun, ended, now_called
from daqd.following.replay_progress import ReplayedRun
from protocol.apx import ApxReader
from protocol.block import ReadoutBlock
from protocol.errors import ApxFormatError
from protocol.readout import RECORD_HEAD

Speed = float | Literal["max"]


class Replay(Feed):
    """Gives out recorded runs, paced by the time stamps of their readouts.

    `speed`: 1.0 as it was, N times as fast, or "max"; a readout without a time stamp (0) comes with the one before.
    `loop`: begin again at the end, unless a whole pass had no readout. Another pass begins also where the number of a
    run comes again. `chips`: chips in the chain, where the files do not say. A damaged file is given out up to the
    damage, with a complaint; `damaged` says that there was one. `progress`: where it is, with all that was given out.
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
        self._steps = self._play()
        self._waiting: _PacedBlock | None = None
        self._exhausted = False
        self.progress: ReplayedRun | None = None
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
            if not isinstance(step, _PacedBlock):
                return [step]
            self._waiting = step
        paced = self._waiting
        part = paced.take(self._clock())
        if paced.empty:
            self._waiting = None
        if not len(part):
            return []
        self.readouts += len(part)
        assert self.progress is not None  # noqa: S101 - a run has begun
        self.progress = replace(self.progress, file=paced.file, offset=paced.end)
        return [ReadoutsRead(part)]

    def close(self) -> None:
        """Close the file that is open."""
        self._steps.close()

    def _play(self) -> "Generator[FeedEvent | _PacedBlock, None, None]":
        while True:
            before = self.readouts
            played: set[int] = set()
            for place, recorded in enumerate(self._runs):
                if recorded.run in played:
                    self.pass_ += 1
                    played.clear()
                played.add(recorded.run)
                yield from self._play_run(place, recorded)
            if not self._loop or self.readouts == before:
                return
            self.pass_ += 1

    def _play_run(self, place: int, recorded: RecordedRun) -> "Iterator[FeedEvent | _PacedBlock]":
        number = 0 if self.progress is None else self.progress.number + 1
        self.progress = ReplayedRun(number, place, self.pass_, begin_ns=time.time_ns())
        record = recorded.record(self.progress.begin_ns, self._chips)
        pacer = _Pacer(self._speed, self._clock)
        yield RunBegan(record, self.pass_)
        for file, path in enumerate(recorded.files):
            try:
                with ApxReader(now_called(path)) as reader:
                    for block in reader.blocks():
                        begin = reader.consumed_bytes - _size_of_records(block)
                        yield _PacedBlock(block, file, begin, pacer.due(block.timestamp))
                    if reader.leftover_bytes:
                        self.damaged = True
                        yield Complaint(f"{path}: {reader.leftover_bytes} bytes after the last whole readout")
            except (OSError, ApxFormatError) as error:
                self.damaged = True
                yield Complaint(f"{error}; the rest of this file is not replayed")
        self.progress = replace(self.progress, end_ns=time.time_ns())
        yield RunEnded(ended(record, self.progress.end_ns))


class _Pacer:
    """When the readouts of one run are due."""

    def __init__(self, speed: Speed, clock: Callable[[], float]) -> None:
        self._speed = speed
        self._clock = clock
        self._origin: tuple[float, int] | None = None
        """When the first time stamp was due, and this time stamp."""

    def due(self, timestamp: npt.NDArray[np.uint64]) -> npt.NDArray[np.float64]:
        """Times of the clock, in seconds, for time stamps in ns. The next block begins now at the earliest."""
        now = self._clock()
        if self._speed == "max":
            return np.full(len(timestamp), now)
        known = np.flatnonzero(timestamp)
        if self._origin is None and len(known):
            self._origin = (now, int(timestamp[known[0]]))
        begin, first_ns = self._origin or (now, 0)
        passed_ns = np.where(timestamp > first_ns, timestamp - np.uint64(first_ns), np.uint64(0))
        # A readout whose time stamp is unknown or goes back is due with the one before it.
        return np.maximum.accumulate(begin + passed_ns / (1e9 * self._speed))


def _size_of_records(block: ReadoutBlock) -> int:
    """Bytes that its readouts take in the file."""
    return len(block) * RECORD_HEAD.size + len(block.data)


class _PacedBlock:
    """A block whose readouts are due at certain times; it begins at offset `begin` of the run's file `file`."""

    def __init__(self, block: ReadoutBlock, file: int, begin: int, due: npt.NDArray[np.float64]) -> None:
        self.file = file
        self._block = block
        self._begin = begin
        self._due = due
        self._next = 0

    @property
    def due(self) -> float:
        """When the next readout is due."""
        return float(self._due[self._next])

    @property
    def end(self) -> int:
        """Offset in the file after those that were taken."""
        return self._begin + self._next * RECORD_HEAD.size + int(self._block.offsets[self._next])

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
