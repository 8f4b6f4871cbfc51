"""Histograms: the same as counting one by one, whatever the split."""

from collections import Counter

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from monitor.detector import ChipPlace, Geometry
from monitor.state.histograms import MAX_HITS_PER_READOUT, HitHistograms
from monitor.state.sorted_hits import TotBinning
from protocol.astropix3_hit import ASTROPIX3_LAYER_HIT_DTYPE
from protocol.hit import HIT_DTYPE
from protocol.layer_hit import LAYER_HIT_DTYPE
from tests.monitor.publishing import make_apart, make_hits

GEOMETRY = Geometry(chips=4)


def arrays(histograms: HitHistograms) -> tuple[object, ...]:
    return (
        histograms.hit_map.tolist(),
        histograms.tot.tolist(),
        histograms.hits_per_readout.tolist(),
        histograms.hits,
        histograms.readouts,
        histograms.outside,
        histograms.tot_invalid,
        [histograms.pixel_tot(*pixel).tolist() for pixel in np.argwhere(histograms.hit_map).tolist()],
    )


@st.composite
def runs(draw: st.DrawFn) -> tuple[np.ndarray, int]:
    """Hits of a run, and its number of readouts."""
    per_readout = draw(st.lists(st.integers(0, 4), min_size=1, max_size=20))
    rows = [(readout, order) for readout, count in enumerate(per_readout) for order in range(count)]
    hits = make_hits(rows)
    for name, top in (("chip_id", 6), ("row", 20), ("column", 31)):
        hits[name] = draw(st.lists(st.integers(0, top), min_size=len(rows), max_size=len(rows)))
    tots = st.one_of(st.integers(0, 131071).map(lambda n: n / 20), st.sampled_from([-1.0, float("nan"), float("inf")]))
    hits["tot_us"] = draw(st.lists(tots, min_size=len(rows), max_size=len(rows)))
    return hits, len(per_readout)


@given(runs(), st.data())
def test_any_split_of_the_same_hits_gives_the_same_histograms(run: tuple[np.ndarray, int], data: st.DataObject) -> None:
    hits, readouts = run
    whole = HitHistograms(GEOMETRY)
    whole.fill(hits, readouts)
    cuts = sorted(data.draw(st.lists(st.integers(0, len(hits)), max_size=5)))
    split = HitHistograms(GEOMETRY)
    told = 0
    for start, stop in zip([0, *cuts], [*cuts, len(hits)], strict=True):
        part = hits[start:stop]
        covered = readouts if stop == len(hits) else max(part["readout_id"].tolist(), default=-1) + 1
        split.fill(part, max(covered - told, 0))
        told = max(covered, told)
    assert arrays(split) == arrays(whole)


@given(runs())
def test_the_histograms_are_what_counting_one_by_one_gives(run: tuple[np.ndarray, int]) -> None:
    hits, readouts = run
    histograms = HitHistograms(GEOMETRY)
    histograms.fill(hits, readouts)
    pixels: Counter[tuple[int, int, int]] = Counter()
    tots: Counter[tuple[int, int]] = Counter()
    pixel_tots: Counter[tuple[int, int, int, int]] = Counter()
    outside = invalid = 0
    for hit in hits:
        chip, row, column, tot = int(hit["chip_id"]), int(hit["row"]), int(hit["column"]), float(hit["tot_us"])
        if chip >= 4 or row >= 13 or column >= 16:
            outside += 1
            continue
        pixels[chip, row, column] += 1
        if not tot >= 0:
            invalid += 1
        else:
            tots[chip, int(min(tot / 5, 1320))] += 1
            pixel_tots[chip, row, column, int(min(tot / 10, 128))] += 1
    assert {tuple(index): histograms.hit_map[tuple(index)] for index in np.argwhere(histograms.hit_map)} == pixels
    assert {tuple(index): histograms.tot[tuple(index)] for index in np.argwhere(histograms.tot)} == tots
    assert {
        (*pixel, int(each)): int(histograms.pixel_tot(*pixel)[each])
        for pixel in pixels
        for each in histograms.pixel_tot(*pixel).nonzero()[0]
    } == pixel_tots
    assert histograms.detector_tot.tolist() == histograms.tot.sum(axis=0).tolist()
    assert (histograms.outside, histograms.tot_invalid, histograms.hits) == (outside, invalid, len(hits))
    per_readout = Counter(Counter(hits["readout_id"].tolist()).values())
    per_readout[0] = readouts - per_readout.total()
    assert {n: int(c) for n, c in enumerate(histograms.hits_per_readout) if c} == +per_readout


def test_many_hits_take_the_other_way_of_counting_and_give_the_same() -> None:
    generator = np.random.default_rng(1)
    hits = np.zeros(60_000, HIT_DTYPE)
    hits["row"], hits["column"] = generator.integers(0, 13, 60_000), generator.integers(0, 16, 60_000)
    hits["tot_us"] = generator.uniform(0, 7000, 60_000)
    at_once, bit_by_bit = HitHistograms(Geometry(chips=1)), HitHistograms(Geometry(chips=1))
    at_once.fill(hits, 1)
    for start in range(0, 60_000, 100):
        bit_by_bit.fill(hits[start : start + 100], int(start == 0))
    assert arrays(at_once) == arrays(bit_by_bit)
    assert at_once.hits_per_readout[MAX_HITS_PER_READOUT] == 1


def test_every_possible_tot_has_a_bin() -> None:
    binning = TotBinning()
    assert binning.width_us * binning.bins > 6553.55
    assert binning.indices(np.array([0.0, 4.95, 5.0, 6553.55, 6599.99, 6600.0, -0.05])).tolist() == [
        0,
        0,
        1,
        1310,
        1319,
        1320,
        -1,
    ]


def test_spectra_of_pixels_take_memory_only_for_chips_with_hits() -> None:
    histograms = HitHistograms()
    for chip in (7, 3, 7, 31):
        histograms.fill(make_hits([(0, 0)], chip_id=chip, row=12, column=15, tot_us=1279.95), 1)
    assert histograms._spectra._counts.nbytes == 3 * 13 * 16 * 129 * 4
    assert [int(histograms.pixel_tot(chip, 12, 15)[127]) for chip in (3, 7, 31, 0)] == [1, 2, 1, 0]


@pytest.mark.parametrize("wrong", [{"chips": 0}, {"rows": 65}, {"columns": -1}])
def test_an_impossible_geometry_is_refused(wrong: dict[str, int]) -> None:
    with pytest.raises(ValueError, match="give 1 to"):
        Geometry(**wrong)


# ---- rows and columns apart, layers

APART = [(0, 0, 0, 34, 10, 1010), (0, 1, 1, 33, 10, 1000), (0, 2, 0, 5, 77, 500), (1, 0, 1, 35, 10, 900)]


def test_rows_and_columns_make_a_map_of_those_that_belong_together() -> None:
    histograms = HitHistograms()
    histograms.fill(make_apart(APART), 2)
    assert histograms.hit_map.shape[1:] == (35, 35)
    assert np.argwhere(histograms.hit_map).tolist() == [[0, 34, 33]]
    # The column 35 does not exist, the row 5 has no partner.
    assert (histograms.hits, histograms.outside, histograms.unpaired) == (4, 1, 1)
    assert histograms.chip_hits[0] == 3
    assert histograms.hits_per_readout[[1, 3]].tolist() == [1, 1]
    # 5.05, 5 and 2.5 µs in bins of 0.05 µs.
    assert histograms.binning.width_us == 0.05
    assert histograms.tot[0].nonzero()[0].tolist() == [50, 100, 101]
    # The pixel has the ToT of its row: 5.05 µs in bins of 0.65 µs.
    assert histograms.pixel_tot(0, 34, 33).nonzero()[0].tolist() == [7]
    assert histograms.pixel_tot(0, 34, 33).sum() == 1


def test_another_run_may_have_other_chips() -> None:
    histograms = HitHistograms(GEOMETRY)
    histograms.fill(make_hits([(0, 0)]), 1)
    histograms.reset()
    histograms.fill(make_apart(APART), 2)
    assert (histograms.rows, histograms.columns, histograms.hits) == (35, 35, 4)
    histograms.reset()
    histograms.fill(make_hits([(0, 0)]), 1)
    assert (histograms.rows, histograms.columns, histograms.unpaired) == (13, 16, 0)
    assert histograms.binning == TotBinning()


@pytest.mark.parametrize("dtype", [LAYER_HIT_DTYPE, ASTROPIX3_LAYER_HIT_DTYPE])
def test_the_same_chip_of_two_layers_is_two(dtype: np.dtype) -> None:
    hits = np.zeros(5, dtype)
    hits["layer"], hits["chip_id"] = [1, 3, 3, 6, 1], [2, 2, 2, 2, 4]
    histograms = HitHistograms(GEOMETRY)
    histograms.fill(hits, 1)
    kind = histograms.kind
    places = {GEOMETRY.place(kind, slot): int(histograms.chip_hits[slot]) for slot in histograms.chip_hits.nonzero()[0]}
    assert places == {ChipPlace(1, 2): 1, ChipPlace(3, 2): 2}
    assert histograms.outside == 2  # no layer 6, no chip 4
    assert all(GEOMETRY.place(kind, GEOMETRY.slot(place)) == place for place in places)
    assert str(ChipPlace(3, 2)) == "layer 3 chip 2"
