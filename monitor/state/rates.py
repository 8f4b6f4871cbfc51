"""How many a second, over the last seconds."""

from collections import deque

from protocol.units import NS_PER_S


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
