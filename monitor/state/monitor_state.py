"""The detector as a stream shows it, in words and numbers: what programs print, send and draw. JSON-able."""

from typing import Any

from pydantic import BaseModel, ConfigDict

from monitor.state.time_series import SeriesState, Span
from protocol.run_record import RunRecord
from protocol.wire.messages import Stat

SILENT_S = 3.0
"""The daemon tells its state once a second: what it said is no longer known to hold when it has not for so long."""


class _Model(BaseModel):
    model_config = ConfigDict(frozen=True)


class LogEntry(_Model):
    """A line that the daemon wants read; `t`: when it was sent, ns since the epoch."""

    t: int
    level: str
    text: str


class MonitorSummary(_Model):
    """All that is known but for the histograms; JSON-able.

    `age_s`: since the last message, `stat_age_s`: since the daemon told its state; None before the first. `state`: of
    the daemon; `waiting` before it has told it, `silent` when it has not for `SILENT_S`. `run`, `pass_`: what the
    histograms are of. `record`: as of its begin or end. `hits`, `readouts`: in the histograms, since the begin of the
    run (or since we joined, or since a reset); `outside`, `tot_invalid`, `unpaired`: as in `HitHistograms`.
    `recent_hits`, `recent_readouts`: of the last `recent_s` seconds, a minute at most. `hits_hz`, `readouts_hz`:
    received, over the last seconds. `readout_bytes`, `readout_bytes_now`: mean size of the readouts of the run in
    `stat`, and of those since the state before; None where there were none. `counters`: as `StreamCounters`.
    """

    daq: str
    age_s: float | None
    stat_age_s: float | None
    state: str
    run: int | None
    pass_: int
    ended: bool
    record: RunRecord | None
    stat: Stat | None
    hits: int
    readouts: int
    outside: int
    tot_invalid: int
    unpaired: int
    recent_s: float
    recent_hits: int
    recent_readouts: int
    hits_hz: float
    readouts_hz: float
    readout_bytes: float | None
    readout_bytes_now: float | None
    counters: dict[str, Any]
    log: tuple[LogEntry, ...]

    @property
    def silent_s(self) -> float | None:
        """For how long the daemon has been silent; None while it is not, and before anything has come."""
        age_s = self.age_s if self.stat_age_s is None else self.stat_age_s
        return None if age_s is None or age_s < SILENT_S else age_s


class ChipState(_Model):
    """Histograms of one chip. `hit_map`: rows of columns. `tot`: counts in equal bins; `tot_overflow` above them.

    `chip`: its place in the chain; `layer`: which chain, None where hits name none. `hits`: in all; of AstroPix 3, hits
    of rows and hits of columns, of which `hit_map` has those that belong together. `recent_hits`: of the last minute.
    """

    layer: int | None
    chip: int
    hits: int
    recent_hits: int
    hit_map: list[list[int]]
    tot: list[int]
    tot_overflow: int


class MonitorState(MonitorSummary):
    """The summary and the histograms; JSON-able.

    `chips`: those that exist as far as we know, and those with hits. `tot_bin_us`: width of the bins of `tot`, from
    0 µs; `tot`, `tot_overflow`: of all chips. `hits_per_readout`: number of readouts with 0, 1, 2, … hits, up to the
    largest that occurred. `series`: rates against time, by how long a time they go back: `10min`, `1h`, `12h`.
    """

    rows: int
    columns: int
    tot_bin_us: float
    tot: list[int]
    tot_overflow: int
    chips: list[ChipState]
    hits_per_readout: list[int]
    series: dict[Span, SeriesState]
