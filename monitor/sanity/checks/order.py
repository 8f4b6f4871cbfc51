"""Are the readouts in order: ids that jump or go back, time stamps that do?"""

from collections.abc import Iterator

import numpy as np
import numpy.typing as npt

from monitor.sanity.check import Check, CheckResult, Limits
from monitor.sanity.checks import event_checks
from monitor.sanity.checks.silence import Arrivals
from monitor.sanity.findings import Notice
from protocol.units import NS_PER_S
from protocol.wire.alarms import AlarmLevel


class ReadoutOrder:
    """Follows the readouts of one run.

    `complete`: all readouts are seen, so that an id left out is a readout missing. Else (hits from a stream, where
    readouts without hits are not seen) ids only must not go back, and repeat for the hits of one readout.
    """

    def __init__(self, limits: Limits, *, complete: bool) -> None:
        self._time_step = limits.of(event_checks.TIME_STEP)
        self._complete = complete
        self._last_id: int | None = None
        self._last_time: int | None = None
        self._arrivals = Arrivals()
        self._timed = 0
        self._untimed = 0
        self._first_untimed: int | None = None

    @property
    def last_id(self) -> int | None:
        """Id of the last readout seen."""
        return self._last_id

    def add(self, readout_ids: npt.NDArray[np.integer], timestamps_ns: npt.NDArray[np.integer]) -> Iterator[Notice]:
        """Look at more readouts: ids (n,) and time stamps (n,) in ns, 0 for none."""
        if not len(readout_ids):
            return
        ids = readout_ids.astype(np.int64)
        yield from self._check_ids(ids)
        timed = timestamps_ns != 0
        untimed = len(ids) - int(np.count_nonzero(timed))
        if untimed:
            self._untimed += untimed
            if self._first_untimed is None:
                self._first_untimed = int(ids[~timed][0])
        self._timed += len(ids) - untimed
        if self._timed and self._untimed:
            yield from self.settle()
        yield from self._check_times(ids[timed] if untimed else ids, timestamps_ns[timed] if untimed else timestamps_ns)

    def settle(self) -> Iterator[Notice]:
        """Notices at the end of the run, about all of it."""
        if self._untimed:
            # A recording that never had time stamps is as good as it ever was; one that lost some is not.
            result = CheckResult(
                "",
                f"{self._untimed} of {self._untimed + self._timed} have none",
                level=None if self._timed else AlarmLevel.OK,
                count=self._untimed,
                cumulative=True,
                readout=self._first_untimed,
            )
            yield Notice(event_checks.NO_TIME, result)

    def _check_ids(self, ids: npt.NDArray[np.int64]) -> Iterator[Notice]:
        steps = np.diff(ids, prepend=ids[0] - 1 if self._last_id is None else self._last_id)
        self._last_id = int(ids[-1])
        back = np.flatnonzero(steps <= 0 if self._complete else steps < 0)
        if len(back):
            yield _notice(event_checks.READOUT_BACK, ids, steps, back, "{readout} comes after {before}")
        ahead = np.flatnonzero(steps > 1) if self._complete else back[:0]
        if len(ahead):
            missing = int((steps[ahead] - 1).sum())
            yield _notice(event_checks.READOUT_JUMP, ids, steps, ahead, "{readout} comes after {before}", missing)

    def _check_times(self, ids: npt.NDArray[np.int64], timestamps_ns: npt.NDArray[np.integer]) -> Iterator[Notice]:
        if not len(ids):
            return
        times = timestamps_ns.astype(np.int64)
        steps = np.diff(times, prepend=times[0] if self._last_time is None else self._last_time)
        self._last_time = int(times[-1])
        back = np.flatnonzero(steps < 0)
        if len(back):
            yield _notice(event_checks.TIME_BACK, ids, steps, back, "by {step_s:.6g} s")
        ahead = self._wonders(times, steps)
        if len(ahead):
            yield _notice(event_checks.TIME_STEP, ids, steps, ahead, "by {step_s:.6g} s")

    def _wonders(self, times_ns: npt.NDArray[np.int64], steps_ns: npt.NDArray[np.int64]) -> npt.NDArray[np.intp]:
        """Where steps are longer than the limit, and than chance makes of readouts as rare as those before."""
        wonders: list[int] = []
        begin = 0
        ahead = np.flatnonzero(steps_ns > self._time_step["max_s"] * NS_PER_S)
        for index in [*ahead.tolist(), len(steps_ns)]:
            self._arrivals.add(np.unique(times_ns[begin:index] // NS_PER_S).tolist())
            longest_s = self._arrivals.longest_s(self._time_step["false_alarms_per_hour"])
            if index < len(steps_ns) and steps_ns[index] > longest_s * NS_PER_S:
                wonders.append(index)
            begin = index
        return np.array(wonders, np.intp)


def _notice(
    check: Check,
    ids: npt.NDArray[np.int64],
    steps: npt.NDArray[np.int64],
    where: npt.NDArray[np.intp],
    text: str,
    count: int | None = None,
) -> Notice:
    """About the first of the readouts at `where`, `count` in all."""
    first = int(where[0])
    readout, step = int(ids[first]), int(steps[first])
    shown = text.format(readout=readout, before=readout - step, step_s=abs(step) / NS_PER_S)
    return Notice(check, CheckResult("", shown, count=len(where) if count is None else count, readout=readout))
