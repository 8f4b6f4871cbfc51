"""What the stream and the daemon's counts say of the last seconds: rates, and the size of readouts."""

from collections import deque

from protocol.units import NS_PER_S
from protocol.wire.messages import Stat


class RateMeter:
    """Rate of something counted, from the times at which it was counted; constant memory.

    `window_s`: the rate is the mean over this long; `step_s`: times are told apart this finely.
    """

    def __init__(self, window_s: float = 5.0, step_s: float = 0.25) -> None:
        self._step_ns = round(step_s * NS_PER_S)
        self._steps = max(round(window_s / step_s), 1)
        self._buckets: deque[tuple[int, int]] = deque()
        self._began = 0

    def add(self, time_ns: int, count: int) -> None:
        """`count` more at `time_ns` (ns since the epoch). A clock that was set back begins the window anew."""
        bucket = time_ns // self._step_ns
        if self._buckets and bucket < self._buckets[-1][0] - self._steps:
            self._buckets.clear()
        if not self._buckets:
            self._began = bucket
        if self._buckets and bucket <= self._buckets[-1][0]:
            last, so_far = self._buckets[-1]
            self._buckets[-1] = (last, so_far + count)
        else:
            self._buckets.append((bucket, count))
        self._forget(bucket)

    def _forget(self, bucket: int) -> None:
        while self._buckets and self._buckets[0][0] <= bucket - self._steps:
            self._buckets.popleft()
            self._began = bucket - self._steps + 1

    def per_second(self, now_ns: int) -> float:
        """The rate at `now_ns`: over the window, or over the time since the first count where that is shorter."""
        bucket = now_ns // self._step_ns
        self._forget(bucket)
        if not self._buckets:
            return 0.0
        covered = max(bucket - self._began + 1, 1)
        return sum(count for _, count in self._buckets) / (covered * self._step_ns / NS_PER_S)


class ReadoutBytes:
    """Mean size of readouts as they are in the files, from the counts in one state after the other.

    `of_run`: of all in the run; `now`: of those since the state before; None: there were none, or nothing was told.
    """

    def __init__(self) -> None:
        self.of_run: float | None = None
        self.now: float | None = None
        self._counted = (0, 0)
        self._run: tuple[int | None, int] | None = None

    def take(self, stat: Stat) -> None:
        """The next state."""
        if (stat.run, stat.pass_) != self._run:
            self._run, self._counted = (stat.run, stat.pass_), (0, 0)
            self.of_run = None
        readouts, size_bytes = stat.counts.get("readouts", 0), stat.counts.get("readout_bytes")
        if size_bytes is None or readouts == self._counted[0]:
            self.now = None
            return
        before = self._counted if readouts > self._counted[0] else (0, 0)
        self._counted = (readouts, size_bytes)
        self.of_run = size_bytes / readouts if readouts else None
        self.now = (size_bytes - before[1]) / (readouts - before[0]) if readouts else None
