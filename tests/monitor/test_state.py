"""The detector's state, fed with events made from real messages."""

import json
from dataclasses import replace

import numpy as np
import pytest

from monitor.detector import Geometry
from monitor.receiving.reader import ReceivedHits
from monitor.state.detector_state import LOG_LINES, DetectorState
from monitor.state.meters import RateMeter
from monitor.state.monitor_state import MonitorState
from protocol.layer_hit import LAYER_HIT_DTYPE
from protocol.ledger import Ledger
from tests.monitor.publishing import T0_NS, MessageMaker, StreamReader, make_apart, make_hits, run_record


def of_the_past(fed: "Fed", frames: list[bytes]) -> None:
    """Give `fed` a message of hits as if it had been asked for."""
    received = fed.reader.messages.read(frames)
    assert isinstance(received, ReceivedHits)
    fed.state.feed(fed.reader.runs.event(replace(received, past=True)))


class Fed:
    """A state behind a reader, with a clock that is set by hand."""

    def __init__(self, geometry: Geometry | None = None) -> None:
        self.now = 1000.0
        self.reader = StreamReader()
        self.state = DetectorState(geometry, clock=lambda: self.now)

    def __call__(self, *messages: list[bytes]) -> "Fed":
        for frames in messages:
            event = self.reader.read(frames)
            assert event is not None
            self.state.feed(event)
        return self

    def snapshot(self) -> MonitorState:
        return self.state.snapshot(self.reader.counters)


def test_everything_published_is_in_the_snapshot_and_in_its_json() -> None:
    maker, fed = MessageMaker(), Fed()
    fed(
        maker.run("begin", run_record(1, comment="beam on")),
        maker.hits(make_hits([(0, 0), (0, 1), (3, 0)], chip_id=[0, 0, 1], row=2, column=5), (0, 4)),
        maker.stat(chips=4, ledger=Ledger(hits=3)),
        maker.log("warning", "board lost"),
    )
    state = MonitorState.model_validate(json.loads(fed.snapshot().model_dump_json()))
    assert state == fed.snapshot()
    assert (state.daq, state.run, state.hits, state.readouts, state.ended) == ("bench", 1, 3, 5, False)
    assert state.record is not None
    assert state.record.comment == "beam on"
    assert state.stat is not None
    assert [chip.chip for chip in state.chips] == [0, 1, 2, 3]
    assert [chip.hits for chip in state.chips] == [2, 1, 0, 0]
    assert state.chips[0].hit_map[2][5] == 2
    assert state.chips[0].tot[4] == 2
    assert (state.tot[4], sum(state.tot), state.tot_overflow) == (3, 3, 0)
    assert (state.recent_hits, state.recent_readouts, [chip.recent_hits for chip in state.chips]) == (
        3,
        4,
        [2, 1, 0, 0],
    )
    assert state.hits_per_readout == [3, 1, 1]
    assert [entry.text for entry in state.log] == ["board lost"]
    assert state.counters["messages"] == {"run": 1, "hits": 1, "stat": 1, "log": 1}


def test_nothing_received_is_a_state_too() -> None:
    state = Fed().snapshot()
    assert (state.age_s, state.run, state.stat, state.hits) == (None, None, None, 0)
    assert [chip.chip for chip in state.chips] == [0]


def test_the_histograms_begin_anew_with_another_run_and_not_with_another_publisher() -> None:
    maker, fed = MessageMaker(), Fed()
    fed(maker.run("begin", run_record(1)), maker.hits(make_hits([(0, 0), (1, 0)]), (0, 1)))
    other = MessageMaker(pub=2)
    fed(other.run("begin", run_record(1)), other.hits(make_hits([(1, 0), (2, 0)]), (1, 2)))
    assert fed.snapshot().hits == 3
    fed(other.run("end", run_record(1, state="finished")))
    assert (fed.snapshot().hits, fed.snapshot().ended) == (3, True)
    fed(other.hits(make_hits([(0, 0)]), (0, 0), run=2))
    state = fed.snapshot()
    assert (state.run, state.hits, state.record, state.ended) == (2, 1, None, False)


def test_reset_empties_the_histograms_only() -> None:
    maker, fed = MessageMaker(), Fed()
    fed(maker.run("begin", run_record(1)), maker.hits(make_hits([(0, 0)]), (0, 0)))
    fed.state.reset()
    fed(maker.hits(make_hits([(1, 0)]), (1, 1)))
    state = fed.snapshot()
    assert (state.hits, state.readouts, state.run, state.counters["hits"]) == (1, 1, 1, 2)


def test_pixels_that_do_not_exist_are_counted() -> None:
    maker, fed = MessageMaker(), Fed(Geometry(chips=2))
    fed(maker.hits(make_hits([(0, 0), (0, 1), (0, 2)], chip_id=[5, 0, 0], row=[0, 13, 0]), (0, 0)))
    assert (fed.snapshot().outside, fed.snapshot().chips[0].hits) == (2, 1)


def test_rates_come_from_the_times_of_the_messages_and_fall_when_none_come() -> None:
    maker, fed = MessageMaker(), Fed()
    for second in range(10):
        for part in range(10):
            maker.t = T0_NS + second * 10**9 + part * 10**8
            readout = second * 10 + part
            fed(maker.hits(make_hits([(readout, order) for order in range(20)]), (readout, readout)))
    state = fed.snapshot()
    assert state.hits_hz == pytest.approx(200, rel=0.1)
    assert state.readouts_hz == pytest.approx(10, rel=0.1)
    assert state.age_s == 0
    fed.now += 2.5
    state = fed.snapshot()
    assert state.hits_hz == pytest.approx(100, rel=0.15)
    assert state.age_s == 2.5
    fed.now += 60
    assert fed.snapshot().hits_hz == 0


def known(rate: tuple[np.ndarray, np.ndarray]) -> list[float]:
    return [float(each) for each in rate[1] if not np.isnan(each)]


def test_time_goes_on_for_who_joined_late_a_board_that_is_silent() -> None:
    maker, fed = MessageMaker(), Fed()
    fed(maker.run("begin", run_record(1)))
    of_the_past(fed, maker.hits(make_hits([(0, 0), (1, 0)], timestamp=[T0_NS, T0_NS + 10**9]), (0, 2)))
    maker.t = T0_NS + 5 * 10**9
    fed(maker.stat(ledger=Ledger(hits=3)))
    assert known(fed.state.series.hit_rate("10min")) == [1]  # there is more to come
    of_the_past(fed, maker.hits(make_hits([(2, 0)], timestamp=T0_NS + 2 * 10**9), (3, 3)))
    fed(maker.stat(ledger=Ledger(hits=3)))
    assert known(fed.state.series.hit_rate("10min")) == [1, 1, 1, 0, 0]
    assert fed.state.recent.seconds == pytest.approx(4.5)


def test_the_series_is_by_the_times_of_the_readouts_and_goes_on_with_the_state() -> None:
    maker, fed = MessageMaker(), Fed()
    times = [T0_NS, T0_NS + 500_000_000, T0_NS + 2 * 10**9]
    fed(maker.run("begin", run_record(1)), maker.hits(make_hits([(0, 0), (1, 0), (2, 0)], timestamp=times), (0, 3)))
    series = fed.state.series
    assert known(series.hit_rate("10min")) == [2, 0]
    maker.t = T0_NS + 5 * 10**9
    fed(maker.stat(publisher={"lag_bytes": 10}), maker.stat(state="error"), maker.stat(run=2))
    assert known(series.hit_rate("10min")) == [2, 0]
    fed(maker.stat())
    assert known(series.hit_rate("10min")) == [2, 0, 1, 0, 0]
    assert known(series.readout_rate("10min")) == [2, 0, 1, 0, 0]
    fed.state.reset()
    assert known(series.hit_rate("10min")) == [2, 0, 1, 0, 0]
    gap = {"from_ns": T0_NS + 4 * 10**9, "to_ns": T0_NS + 6 * 10**9, "reason": "board lost"}
    fed(maker.run("end", run_record(1, state="finished", gaps=[gap], end_ns=T0_NS + 7 * 10**9)))
    assert known(series.hit_rate("10min")) == [2, 0, 1, 0, 0]
    assert series.last_ns == T0_NS + 7 * 10**9
    fed(maker.run("begin", run_record(2, begin_ns=T0_NS + 10**10)))
    assert known(series.hit_rate("10min")) == []


def test_the_series_in_the_snapshot_begins_where_something_is_known() -> None:
    maker, fed = MessageMaker(), Fed()
    assert fed.snapshot().series["1h"].hits_hz == ()
    rows = [(number, order) for number in range(3) for order in range(2)]
    times = [T0_NS + number * 20 * 10**9 for number, _ in rows]
    fed(maker.hits(make_hits(rows, timestamp=times), (0, 2)))
    hours = fed.snapshot().series["1h"]
    assert (hours.bin_s, hours.from_s) == (10, T0_NS // 10**9)
    assert hours.hits_hz == (0.2, 0, 0.2, 0, None)
    text = fed.snapshot().model_dump_json()
    assert "NaN" not in text
    assert MonitorState.model_validate_json(text) == fed.snapshot()


def test_the_snapshot_after_twelve_hours_is_not_large() -> None:
    maker, fed = MessageMaker(), Fed()
    empty = len(fed.snapshot().model_dump_json())
    times = T0_NS + np.arange(0, 13 * 3600, 0.7) * 1e9
    rows = [(number, 0) for number in range(len(times))]
    fed(maker.hits(make_hits(rows, timestamp=times.astype(np.uint64)), (0, len(times) - 1)))
    assert len(fed.snapshot().model_dump_json()) < empty + 30_000


def test_the_size_of_readouts_comes_from_the_states() -> None:
    maker, fed = MessageMaker(), Fed()
    sizes = []
    for run, readouts, size_bytes in ((1, 0, 0), (1, 10, 200), (1, 20, 600), (1, 20, 600), (2, 5, 500), (2, 10, 600)):
        fed(maker.stat(run=run, counts={"readouts": readouts, "readout_bytes": size_bytes}))
        state = fed.snapshot()
        sizes.append((state.readout_bytes, state.readout_bytes_now))
    assert sizes == [(None, None), (20, 20), (30, 40), (30, None), (100, 100), (60, 20)]
    fed(maker.stat(run=3, counts={}))
    assert fed.snapshot().readout_bytes is None


def test_the_series_of_a_replay_is_at_the_time_of_its_hits() -> None:
    maker, fed = MessageMaker(), Fed()
    maker.t = T0_NS + 10**15
    hits = make_hits([(0, 0), (1, 0)], timestamp=[T0_NS, T0_NS + 10**9])
    fed(
        maker.run("begin", run_record(1, begin_ns=maker.t), pass_=1),
        maker.hits(hits, (0, 1), pass_=1),
        maker.stat(state="replay"),
        maker.run("end", run_record(1, begin_ns=maker.t, end_ns=maker.t), pass_=1),
    )
    assert fed.state.series.last_ns == T0_NS + 10**9
    assert known(fed.state.series.hit_rate("10min")) == [1]


def test_the_revision_grows_with_everything_that_changes() -> None:
    maker, fed = MessageMaker(), Fed()
    seen = [fed.state.revision]
    for message in (
        maker.run("begin", run_record(1)),
        maker.hits(make_hits([(0, 0)]), (0, 0)),
        maker.stat(),
        maker.log("info", "so"),
    ):
        fed(message)
        seen.append(fed.state.revision)
    fed.snapshot()
    assert seen[-1] == fed.state.revision
    fed.state.reset()
    seen.append(fed.state.revision)
    assert seen == sorted(set(seen))


def test_a_rate_meter_stays_small_and_takes_a_clock_set_back() -> None:
    meter = RateMeter(window_s=5, step_s=0.25)
    for step in range(100_000):
        meter.add(step * 10_000_000, 1)
    assert len(meter._buckets) <= 21
    assert meter.per_second(100_000 * 10_000_000) == pytest.approx(100, rel=0.1)
    meter.add(5, 7)
    assert meter.per_second(5) == pytest.approx(28)


def test_the_log_is_bounded() -> None:
    maker, fed = MessageMaker(), Fed()
    fed(*(maker.log("info", str(number)) for number in range(LOG_LINES + 50)))
    lines = fed.snapshot().log
    assert (len(lines), lines[-1].text) == (LOG_LINES, str(LOG_LINES + 49))


def test_layers_are_told_apart() -> None:
    maker, fed = MessageMaker(), Fed()
    plain = make_hits([(0, 0), (0, 1), (0, 2)], chip_id=[0, 0, 1], row=2, column=5)
    hits = np.zeros(3, LAYER_HIT_DTYPE)
    for name in plain.dtype.names:
        hits[name] = plain[name]
    hits["layer"] = [1, 2, 5]
    fed(maker.run("begin", run_record(1, layers=2)), maker.stat(chips=2), maker.hits(hits, (0, 0)))
    state = MonitorState.model_validate(json.loads(fed.snapshot().model_dump_json()))
    chips = [(chip.layer, chip.chip, chip.hits) for chip in state.chips]
    assert chips == [(1, 0, 1), (1, 1, 0), (2, 0, 1), (2, 1, 0), (5, 1, 1)]
    assert [sum(map(sum, chip.hit_map)) for chip in state.chips] == [1, 0, 1, 0, 1]


def test_rows_and_columns_apart() -> None:
    maker, fed = MessageMaker(), Fed()
    hits = make_apart([(0, 0, 0, 34, 10, 1010), (0, 1, 1, 20, 10, 1000), (0, 2, 1, 1, 10, 100)])
    fed(maker.run("begin", run_record(1)), maker.hits(hits, (0, 0)))
    state = fed.snapshot()
    assert (state.rows, state.columns, state.hits, state.unpaired, state.tot_bin_us) == (35, 35, 3, 1, 0.05)
    assert [(chip.layer, chip.chip, chip.hits) for chip in state.chips] == [(None, 0, 3)]
    assert state.chips[0].hit_map[34][20] == 1


@pytest.mark.parametrize(
    ("hits", "name"),
    [
        (make_hits([(0, 0)]), "row"),
        (make_hits([(0, 0)]), "tot_us"),
        (make_apart([(0, 0, 0, 1, 1, 1)]), "location"),
    ],
)
def test_hits_without_a_needed_column_are_no_hits(hits: np.ndarray, name: str) -> None:
    kept = [each for each in hits.dtype.names if each != name]
    fewer = np.zeros(len(hits), [(each, hits.dtype[each]) for each in kept])
    reader = StreamReader()
    assert reader.read(MessageMaker().hits(fewer, (0, 0))) is None
    assert f"no column {name}" in reader.last_error
