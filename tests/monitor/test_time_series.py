"""Rates against time: what counting second by second gives, whatever the batches, losses and clocks."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from monitor.continuity import RunPass, RunTracker
from monitor.state.readout_times import LONGEST_S, ReadoutTimes
from monitor.state.time_series import SPANS, RunSeries
from protocol.run_record import Gap
from protocol.units import NS_PER_S
from tests.monitor.publishing import make_hits

pytestmark = pytest.mark.slow

T0_S = 1_700_000_040
"""A whole minute."""
KEY = RunPass("bench", 1, 0)


def at(seconds: float) -> int:
    """ns since the epoch, `seconds` after T0_S."""
    return T0_S * NS_PER_S + round(seconds * NS_PER_S)


class Fed:
    """A series behind what numbers the readouts."""

    def __init__(self, begin_s: float | None = None) -> None:
        self.series = RunSeries()
        self.tracker = RunTracker()
        self.times = ReadoutTimes()
        if begin_s is not None:
            self.times.begin(at(begin_s))
            self.series.begin(at(begin_s))

    def __call__(self, readouts: tuple[int, int], *rows: tuple[int, float, int]) -> "Fed":
        """A message that covers `readouts`; rows: id, seconds after T0_S, number of hits."""
        ids = [(readout, order) for readout, _, count in rows for order in range(count)]
        times = [at(seconds) for _, seconds, count in rows for _ in range(count)]
        return self.fill(readouts, make_hits(ids, timestamp=times))

    def fill(self, readouts: tuple[int, int], hits: np.ndarray) -> "Fed":
        step = self.tracker.hits(KEY, *readouts, hits)
        for stretch in self.times.stretches(step.hits, step.new):
            self.series.add(stretch)
        return self

    def hits(self) -> dict[int, float]:
        """Hits per second by seconds after T0_S, where it is known."""
        return known(*self.series.hit_rate("10min"))

    def readouts(self) -> dict[int, float]:
        return known(*self.series.readout_rate("10min"))


def known(t_s: np.ndarray, per_second: np.ndarray) -> dict[int, float]:
    return {int(t - T0_S - 0.5): float(rate) for t, rate in zip(t_s, per_second, strict=True) if not np.isnan(rate)}


def test_a_copy_stays_as_it_is() -> None:
    fed = Fed(0.0)((0, 1), (0, 1.0, 3), (1, 2.0, 1))
    copied, before = fed.series.copy(), fed.hits()
    fed((2, 2), (2, 5.0, 4))
    fed.series.leave_out([Gap(from_ns=at(0), to_ns=at(2), reason="cable")])
    assert known(*copied.hit_rate("10min")) == before != fed.hits()


def everything(series: RunSeries) -> list[object]:
    each = [rate(span) for span in SPANS for rate in (series.hit_rate, series.readout_rate)]
    return [[t.tolist(), np.nan_to_num(rate, nan=-1).tolist()] for t, rate in each]


def test_nothing_has_no_rate() -> None:
    series = RunSeries()
    assert [array.tolist() for array in series.hit_rate("10min")] == [[], []]


def test_hits_and_readouts_are_counted_in_the_second_of_the_readout() -> None:
    fed = Fed(begin_s=0.0)((0, 5), (0, 0.1, 2), (1, 0.5, 1), (3, 2.5, 4), (5, 4.0, 1), (5, 4.0, 1))
    # Readout 2 is halfway between 1 and 3; 4 is halfway between 3 and 5. The fourth second has only begun.
    assert fed.hits() == {0: 3, 1: 0, 2: 4, 3: 0}
    assert fed.readouts() == {0: 2, 1: 1, 2: 1, 3: 1}


def test_readouts_without_hits_wait_for_hits_and_lie_evenly_between_them() -> None:
    fed = Fed()((0, 0), (0, 0.0, 1))((1, 500))
    assert fed.readouts() == {}
    fed((501, 1000), (1000, 10.0, 1))((1001, 1001), (1001, 11.0, 1))
    assert fed.readouts() == dict.fromkeys(range(10), 100.0) | {10: 1}


def test_a_second_is_as_long_as_it_was_covered() -> None:
    fed = Fed(begin_s=0.5)((0, 9), *((number, 0.55 + 0.1 * number, 1) for number in range(10)))
    assert fed.hits() == {0: pytest.approx(10), 1: pytest.approx(5 / 0.45)}


def test_what_was_missed_is_not_known_until_it_comes() -> None:
    fed = Fed()((0, 1), (0, 0.0, 1), (1, 1.0, 1))((8, 9), (8, 8.0, 1), (9, 9.9, 1))
    assert fed.hits() == {0: 1, 1: 1, 8: 1, 9: pytest.approx(1 / 0.9)}
    fed((2, 7), *((number, float(number), 3) for number in range(2, 8)))
    assert fed.hits() == {0: 1, 1: 1, **dict.fromkeys(range(2, 8), 3.0), 8: 1, 9: pytest.approx(1 / 0.9)}
    assert fed.readouts() == {**dict.fromkeys(range(9), 1.0), 9: pytest.approx(1 / 0.9)}


def test_joining_late_and_asking_for_the_past_gives_the_same_as_being_there() -> None:
    messages = [
        ((first, first + 9), *((n, 0.37 * n, 2) for n in range(first, first + 10, 3))) for first in range(0, 90, 10)
    ]
    there, late = Fed(), Fed()
    for readouts, *rows in messages:
        there(readouts, *rows)
    for readouts, *rows in messages[5:]:
        late(readouts, *rows)
    assert late.hits() != there.hits()
    past = Fed()
    past((0, 49), *(row for _, *rows in messages[:5] for row in rows))
    for readouts, *rows in messages[5:]:
        past(readouts, *rows)
    assert everything(past.series) == everything(there.series)


def test_a_publisher_that_sends_a_stretch_again_changes_nothing() -> None:
    once, again = Fed(), Fed()
    first = ((0, 3), (1, 1.0, 2), (3, 3.0, 1))
    second = ((4, 6), (5, 5.0, 2), (6, 9.0, 1))
    once(*first)(*second)
    again(*first)(*first)((2, 5), (3, 3.0, 1), (5, 5.0, 2))(*second)
    assert everything(again.series) == everything(once.series)


def test_a_gap_of_the_run_is_not_known() -> None:
    fed = Fed()((0, 1), (0, 0.0, 5), (1, 100.5, 5))
    fed.series.leave_out([Gap(from_ns=at(10), to_ns=at(90.5), reason="board lost")])
    assert sorted(fed.hits()) == [*range(10), *range(90, 101)]
    fed.series.leave_out([Gap(from_ns=at(50), reason="board lost")])
    assert sorted(fed.hits()) == [*range(50)]


def test_time_goes_on_without_hits() -> None:
    fed = Fed(begin_s=0.0)
    fed.series.pass_until(at(3))
    assert fed.hits() == {0: 0, 1: 0, 2: 0}
    fed((0, 0), (0, 2.5, 4))
    assert fed.hits() == {0: 0, 1: 0, 2: 4}
    fed.series.pass_until(at(1))
    fed.series.pass_until(at(5))
    assert fed.hits() == {0: 0, 1: 0, 2: 4, 3: 0, 4: 0}


@pytest.mark.parametrize("back_s", [0.5, 20.0, 5000.0, 10.0 * LONGEST_S])
def test_a_clock_that_was_set_back_overwrites(back_s: float) -> None:
    fed = Fed()((0, 9), *((number, 30.0 + number, 1) for number in range(10)))
    from_s = 39.0 - back_s
    fed((10, 19), *((number, from_s + number - 10, 7) for number in range(10, 20)))
    hits = fed.hits()
    last_s = int(np.floor(from_s + 9))
    assert max(hits) in (last_s, last_s - 1)
    assert all(hits[second] == 7 for second in range(int(np.floor(from_s)) + 1, last_s))
    assert all(rate == 1 for second, rate in hits.items() if second < np.floor(from_s))


def test_a_clock_that_was_set_back_takes_nothing_of_what_was_before() -> None:
    fed = Fed(begin_s=0.0)((0, 9), *((number, number + 0.5, 1) for number in range(10)))
    fed((10, 10), (10, 4.5, 3))
    fed.series.pass_until(at(7))
    assert fed.hits() == {0: 1, 1: 1, 2: 1, 3: 1, 4: 4, 5: 0, 6: 0}


def test_a_clock_that_was_in_the_future_for_a_moment_does_no_lasting_harm() -> None:
    fed = Fed()((0, 0), (0, 0.0, 1))((1, 1), (1, 1e9, 1))((2, 2), (2, 2.0, 1))
    for number in range(3, 10):
        fed((number, number), (number, float(number), 2))
    assert fed.hits() == {2: 1, **dict.fromkeys(range(3, 9), 2.0)}


def test_a_run_of_more_than_twelve_hours() -> None:
    fed = Fed(begin_s=0.0)
    hours = 15
    for start in range(0, hours * 3600, 3600):
        numbers = range(start, start + 3600)
        # The rate rises by 1 each hour.
        fed((numbers[0], numbers[-1]), *((number, number + 0.5, 1 + number // 3600) for number in numbers))
    fed.series.pass_until(at(hours * 3600 - 0.001))
    for span, (bins, bin_s) in SPANS.items():
        t_s, rate = fed.series.hit_rate(span)
        assert len(t_s) == len(rate) == bins
        assert np.diff(t_s).tolist() == [bin_s] * (bins - 1)
        assert t_s[-1] == T0_S + hours * 3600 - bin_s / 2
        assert not np.isnan(rate).any()
        expected = 1 + (t_s - T0_S) // 3600
        assert rate == pytest.approx(expected, abs=0.002 * hours if bin_s > 1 else 0.02 * hours)


def test_the_series_of_another_run_begins_anew() -> None:
    fed = Fed()((0, 1), (0, 0.0, 5), (1, 1.0, 5))
    fed.series.reset()
    assert len(fed.series.hit_rate("1h")[0]) == 0
    fed.tracker, fed.times = RunTracker(), ReadoutTimes()
    fed((0, 1), (0, 1.0, 2), (1, 2.0, 5))
    assert fed.hits() == {1: 2}


@st.composite
def runs(draw: st.DrawFn) -> tuple[np.ndarray, int]:
    """Hits of a run, and its number of readouts."""
    per_readout = draw(st.lists(st.integers(0, 3), min_size=1, max_size=25))
    steps = st.one_of(st.integers(0, 3 * NS_PER_S), st.integers(-20 * NS_PER_S, 100 * NS_PER_S), st.just(NS_PER_S))
    times = at(0) + np.cumsum(draw(st.lists(steps, min_size=len(per_readout), max_size=len(per_readout))))
    rows = [(readout, order) for readout, count in enumerate(per_readout) for order in range(count)]
    return make_hits(rows, timestamp=[times[readout] for readout, _ in rows]), len(per_readout)


@given(runs(), st.data())
def test_any_batches_of_the_same_hits_give_the_same_series(run: tuple[np.ndarray, int], data: st.DataObject) -> None:
    hits, readouts = run
    whole = Fed().fill((0, readouts - 1), hits)
    split = Fed()
    cuts = sorted(data.draw(st.sets(st.integers(1, readouts), max_size=6)) | {readouts})
    for first, end in zip([0, *cuts], cuts, strict=False):
        split.fill((first, end - 1), hits[(hits["readout_id"] >= first) & (hits["readout_id"] < end)])
    assert everything(split.series) == everything(whole.series)
    assert (split.series._counts == whole.series._counts).all()


@given(runs())
def test_no_readout_and_no_hit_is_counted_twice_or_not_at_all(run: tuple[np.ndarray, int]) -> None:
    hits, _ = run
    times = hits["timestamp"].astype(np.int64)
    hits["timestamp"] = np.sort(times)
    fed = Fed().fill((0, int(hits["readout_id"].max(initial=0))), hits)
    filled = int(hits["readout_id"].max()) + 1 if len(hits) else 0
    assert fed.series._counts.sum(axis=1).tolist() == [len(hits), filled]
