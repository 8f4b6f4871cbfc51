"""Histograms of the last minute: the same as of its hits alone, whatever came before and in whatever batches."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from monitor.continuity import RunPass, RunTracker
from monitor.detector import Geometry
from monitor.state.histograms import HitHistograms
from monitor.state.readout_times import ReadoutTimes
from monitor.state.recent import SLOT_S, SLOTS, RecentHistograms
from protocol.astropix3_hit import ASTROPIX3_HIT_DTYPE
from protocol.hit import HIT_DTYPE
from protocol.layer_hit import LAYER_HIT_DTYPE
from protocol.units import NS_PER_S
from tests.monitor.publishing import make_hits

T0_S = 1_700_000_000
GEOMETRY = Geometry(chips=3)
KEY = RunPass("bench", 1, 0)


class Fed:
    """Recent histograms behind what numbers and times the readouts."""

    def __init__(self) -> None:
        self.recent = RecentHistograms(GEOMETRY)
        self.tracker = RunTracker()
        self.times = ReadoutTimes()

    def __call__(self, hits: np.ndarray, readouts: tuple[int, int]) -> "Fed":
        step = self.tracker.hits(KEY, *readouts, hits)
        for stretch in self.times.stretches(step.hits, step.new):
            self.recent.take(stretch, self.recent.sort(stretch.hits))
        return self


def content(histograms: HitHistograms) -> list[object]:
    pixels = np.argwhere(histograms.hit_map)
    return [
        histograms.kind,
        histograms.hit_map.tolist(),
        histograms.tot.tolist(),
        histograms.chip_hits.tolist(),
        histograms.hits_per_readout.tolist(),
        (histograms.hits, histograms.readouts, histograms.outside, histograms.tot_invalid, histograms.unpaired),
        [histograms.pixel_tot(*pixel).tolist() for pixel in pixels.tolist()],
    ]


def only_recent(hits: np.ndarray) -> HitHistograms:
    """Of the hits in the last slots, all at once; every readout has hits."""
    slots = hits["timestamp"].astype(np.int64) // NS_PER_S // SLOT_S
    last = hits[slots > slots[-1] - SLOTS]
    histograms = HitHistograms(GEOMETRY)
    histograms.fill(last, len(np.unique(last["readout_id"])))
    return histograms


@st.composite
def runs(draw: st.DrawFn) -> tuple[np.ndarray, int]:
    """Hits of a run, and its number of readouts, all of which have hits."""
    per_readout = draw(st.lists(st.integers(1, 4), min_size=1, max_size=25))
    dtype = draw(st.sampled_from([HIT_DTYPE, LAYER_HIT_DTYPE, ASTROPIX3_HIT_DTYPE]))
    steps = st.one_of(st.integers(0, NS_PER_S), st.integers(0, 80 * NS_PER_S))
    times = T0_S * NS_PER_S + np.cumsum(draw(st.lists(steps, min_size=len(per_readout), max_size=len(per_readout))))
    rows = [(readout, order) for readout, count in enumerate(per_readout) for order in range(count)]
    hits = np.zeros(len(rows), dtype)
    hits["readout_id"], hits["decoding_order"] = np.array(rows).T
    hits["timestamp"] = times[hits["readout_id"]]
    random = np.random.default_rng(draw(st.integers(0, 1000)))
    tops = {"chip_id": 4, "row": 14, "column": 17, "is_column": 2, "location": 36, "layer": 7, "chip_timestamp": 5}
    for name, top in tops.items():
        if name in dtype.names:
            hits[name] = random.integers(0, top, len(hits))
    hits["tot_us"] = random.choice([-1.0, np.nan, 3.0, 3.2, 4.0, 235.0, 1279.0, 1280.0, 9999.0], len(hits))
    return hits, len(per_readout)


@given(runs(), st.data())
def test_any_batches_give_the_histograms_of_the_last_minute_alone(
    run: tuple[np.ndarray, int], data: st.DataObject
) -> None:
    hits, readouts = run
    fed = Fed()
    cuts = sorted(data.draw(st.sets(st.integers(1, readouts), max_size=8)) | {readouts})
    for first, end in zip([0, *cuts], cuts, strict=False):
        fed(hits[(hits["readout_id"] >= first) & (hits["readout_id"] < end)], (first, end - 1))
    assert content(fed.recent) == content(only_recent(hits))
    assert len(fed.recent._slots) <= SLOTS


def one_each(seconds: range, **columns: object) -> np.ndarray:
    """A hit a second."""
    times = [(T0_S + second) * NS_PER_S for second in seconds]
    return make_hits([(second, 0) for second in seconds], timestamp=times, **columns)


def test_it_slides_in_steps_also_when_nothing_comes() -> None:
    fed = Fed()(one_each(range(100)), (0, 99))
    assert (fed.recent.hits, fed.recent.seconds) == (60, 59)
    for passed, left in ((1, 55), (4, 55), (6, 50), (50, 10), (54, 5), (56, 0), (1000, 0)):
        fed.recent.pass_until((T0_S + 99 + passed) * NS_PER_S)
        assert (fed.recent.hits, int(fed.recent.hit_map.sum()), fed.recent.readouts) == (left, left, left)
    assert content(fed.recent) == content(HitHistograms(GEOMETRY))


def test_the_minute_begins_with_the_run_or_with_what_came_first() -> None:
    there, late = Fed(), Fed()
    there.recent.begin((T0_S - 3) * NS_PER_S)
    for fed in (there, late):
        fed.recent.pass_until((T0_S - 1) * NS_PER_S)
    assert (there.recent.seconds, late.recent.seconds) == (2, 0)
    for fed in (there, late):
        fed(one_each(range(5)), (0, 4))
    assert (there.recent.seconds, late.recent.seconds) == (7, 4)
    there.recent.forget()
    assert (there.recent.seconds, there.recent.hits) == (0, 0)


def test_what_came_late_is_counted_where_it_belongs() -> None:
    hits = one_each(range(100))
    fed = Fed()(hits[:20], (0, 19))(hits[80:], (80, 99))(hits[20:80], (20, 79))
    assert content(fed.recent) == content(only_recent(hits))


def test_a_clock_that_was_set_back() -> None:
    fed = Fed()(one_each(range(100)), (0, 99))
    back = one_each(range(100, 120))
    back["timestamp"] -= np.uint64(30 * NS_PER_S)
    fed(back, (100, 119))
    # What was left of the last minute are the seconds 40 to 74; now they are followed by 70 to 89.
    assert fed.recent.hits == 30 + 5 + 20
    long_ago = one_each(range(120, 130))
    long_ago["timestamp"] -= np.uint64(10**6 * NS_PER_S)
    fed(long_ago, (120, 129))
    assert fed.recent.hits == 10


def test_a_reset_empties_it_and_the_minute_begins_anew() -> None:
    fed = Fed()(one_each(range(100)), (0, 99))
    fed.recent.reset()
    assert (fed.recent.hits, fed.recent.seconds) == (0, 0)
    fed(one_each(range(100, 110)), (100, 109))
    assert (fed.recent.hits, fed.recent.seconds) == (10, 10)


def test_many_hits_of_few_kinds_take_little_memory() -> None:
    fed = Fed()
    hits = np.zeros(300_000, HIT_DTYPE)
    hits["timestamp"] = T0_S * NS_PER_S
    hits["tot_us"] = 100
    for number in range(8):
        hits["readout_id"] = number
        fed(hits, (number, number))
    (slot,) = fed.recent._slots.values()
    assert slot.singles + len(slot.distinct) < 1 << 20
    assert fed.recent.hits == 2_400_000
    assert fed.recent.pixel_tot(0, 0, 0).tolist() == [0] * 10 + [2_400_000] + [0] * 118
    fed.recent.pass_until((T0_S + 100) * NS_PER_S)
    assert content(fed.recent) == content(HitHistograms(GEOMETRY))


@pytest.mark.parametrize("chip", [0, 2])
def test_a_pixel_without_hits_has_an_empty_spectrum(chip: int) -> None:
    fed = Fed()(one_each(range(3), chip_id=1), (0, 2))
    assert fed.recent.pixel_tot(chip, 0, 0).tolist() == [0] * 129
