"""Any stretch of a run, read from the middle of its files, has the hits that decoding all of the run gives it."""

import tempfile
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from daqd.catching_up.archive import StoredRun
from daqd.catching_up.past_run import HitRange, PastRun
from daqd.catching_up.record_index import RunIndex
from daqd.runs.run_store import RunStore
from protocol.block import ReadoutBlock
from protocol.hit import HitTable
from protocol.run_record import RunRecord
from tests.daqd.made_readouts import make_readouts
from tests.daqd.run_on_disk import Readout, RunOnDisk, number_readouts
from tests.protocol.streams import any_runs

pytestmark = pytest.mark.slow

NO_LIMIT = 1 << 16


@pytest.fixture(autouse=True)
def _dense_index(monkeypatch: pytest.MonkeyPatch) -> None:
    """So that runs of some hundred bytes are long ones."""
    monkeypatch.setattr("daqd.catching_up.record_index._SPACING_BYTES", 100)
    monkeypatch.setattr("daqd.catching_up.record_index._CHUNK_BYTES", 150)
    monkeypatch.setattr("daqd.catching_up.past_run._BACK_BYTES", 40)
    monkeypatch.setattr("daqd.following.followed_file._CHUNK_BYTES", 200)


def put_on_disk(store: RunStore, files: list[list[Readout]], **record: object) -> RunRecord:
    run = RunOnDisk(store, 1)
    run.write_all(files)
    return run.write_record("finished", end_ns=2, end_reason="enough", **record)


def all_hits(record: RunRecord, files: list[list[Readout]], *, flush: bool = True) -> HitTable:
    """Decoded in one go, from the begin of the run."""
    ids, timestamps, chunks = ([each[column] for file in files for each in file] for column in range(3))
    decoder = record.decoder()
    hits = decoder.decode(ReadoutBlock.from_columns(chunks, ids, timestamps))
    return np.concatenate([hits, decoder.flush()]) if flush else hits


def past_run(store: RunStore, record: RunRecord, first: int, settled_run: int = 0) -> PastRun:
    run = StoredRun(store, record, settled_run)
    return PastRun(run, RunIndex(run), first)


def stretches(past: PastRun, last: int | None = None, max_hits: int = NO_LIMIT) -> Iterator[HitRange]:
    """What one gets who asks until there is no more."""
    while True:
        past.look_again()
        for _ in range(10_000):
            if past.ready(last, max_hits):
                break
            past.work()
        else:
            pytest.fail("it is never ready")
        stretch = past.take(last, max_hits)
        yield stretch
        if not stretch.more:
            return


def check_order(got: list[HitRange], first: int) -> None:
    """That they go on from each other, and hold what they say."""
    expected = first
    for stretch in got:
        if stretch.last >= stretch.first:
            late = len(stretch.hits) and stretch.first == int(stretch.hits["readout_id"][0]) < expected
            assert stretch.first == expected or late
            expected = max(expected, stretch.last + 1)
        if len(stretch.hits):
            assert int(stretch.hits["readout_id"].max()) <= stretch.last
            assert int(stretch.hits["readout_id"].min()) >= stretch.first


def fetch(store: RunStore, record: RunRecord, first: int, last: int | None, max_hits: int = NO_LIMIT) -> HitTable:
    past = past_run(store, record, first)
    got = list(stretches(past, last, max_hits))
    past.close()
    check_order(got, first)
    assert all(len(stretch.hits) <= max_hits or len(set(stretch.hits["readout_id"])) == 1 for stretch in got)
    return np.concatenate([stretch.hits for stretch in got])


def within(hits: HitTable, first: int, last: int | None) -> HitTable:
    ids = hits["readout_id"]
    return hits[(ids >= first) & (ids <= (last if last is not None else 1 << 40))]


@st.composite
def files_of(draw: st.DrawFn, chunks: list[bytes]) -> list[list[Readout]]:
    readouts = number_readouts(chunks)
    cuts = sorted(draw(st.lists(st.integers(0, len(readouts)), max_size=3)))
    return [readouts[begin:end] for begin, end in zip([0, *cuts], [*cuts, len(readouts)], strict=True)]


@settings(max_examples=50, deadline=None)
@given(data=st.data())
def test_any_range_of_any_run(data: st.DataObject) -> None:
    chips, chunks = data.draw(any_runs())
    if data.draw(st.booleans()):
        chips, chunks = 4, make_readouts(data.draw(st.integers(1, 80)), data.draw(st.integers(0, 99)), damage=0.1)
    files = data.draw(files_of(chunks))
    first = data.draw(st.integers(0, len(chunks) + 1))
    last = data.draw(st.none() | st.integers(first, len(chunks) + 2))
    max_hits = data.draw(st.sampled_from([1, 3, 10, NO_LIMIT]))
    with tempfile.TemporaryDirectory() as folder:
        store = RunStore(Path(folder))
        full = data.draw(st.sampled_from([None, 16, 40]))
        record = put_on_disk(store, files, chips=chips, full_readout_bytes=full)
        got = fetch(store, record, first, last, max_hits)
    np.testing.assert_array_equal(got, within(all_hits(record, files), first, last))


def test_from_every_readout_of_a_long_run(store: RunStore) -> None:
    readouts = number_readouts(make_readouts(300, damage=0.1))
    files = [readouts[:100], readouts[100:101], readouts[101:]]
    record = put_on_disk(store, files)
    expected = all_hits(record, files)
    index = RunIndex(StoredRun(store, record, 0))
    for first in [*range(20), *range(90, 110), *range(20, 302, 9), 299, 300, 301]:
        past = PastRun(StoredRun(store, record, 0), index, first)
        (stretch,) = stretches(past)
        np.testing.assert_array_equal(stretch.hits, within(expected, first, None))
        assert stretch.over
        past.close()


def test_a_run_is_not_read_from_its_begin_for_its_end(store: RunStore) -> None:
    files = [number_readouts(make_readouts(2000))]
    record = put_on_disk(store, files)
    past = past_run(store, record, 1990)
    list(stretches(past))
    past.close()
    assert past.decoder.ledger.readouts < 40


def test_while_it_is_being_written(store: RunStore) -> None:
    """Asked after each readout: every hit once, the one that the end settles last."""
    chunks = [*make_readouts(60), b"\xbc\xe0\x50\x42"]
    run = RunOnDisk(store, 1)
    files = [number_readouts(chunks[:30]), number_readouts(chunks[30:], 30)]
    steps = run.steps(files)
    for step in steps[:4]:
        step()
    record = store.read_record(1)
    assert record is not None
    past = past_run(store, record, 0)
    got: list[HitRange] = list(stretches(past))
    for step in steps[4:]:
        step()
        got += stretches(past)
    past.close()
    check_order(got, 0)
    assert [stretch.over for stretch in got] == [False] * (len(got) - 1) + [True]
    assert (got[-1].first, got[-1].last, len(got[-1].hits)) == (60, 60, 1)
    np.testing.assert_array_equal(np.concatenate([each.hits for each in got]), all_hits(record, files))


def test_a_run_without_a_writer_is_over_where_its_files_end(store: RunStore) -> None:
    run = RunOnDisk(store, 1)
    files = [number_readouts([*make_readouts(5), b"\xbc\xe0\x50\x42"])]
    for step in run.steps(files)[:-2]:
        step()
    record = store.read_record(1)
    assert record is not None
    assert record.state == "running"
    for settled_run, over in ((0, False), (1, True)):
        past = past_run(store, record, 0, settled_run)
        (stretch,) = stretches(past)
        past.close()
        assert stretch.over is over
        np.testing.assert_array_equal(stretch.hits, all_hits(record, files, flush=over))


def test_beyond_the_end(store: RunStore) -> None:
    files = [number_readouts(make_readouts(20))]
    record = put_on_disk(store, files)
    past = past_run(store, record, 100)
    (stretch,) = stretches(past)
    past.close()
    assert (len(stretch.hits), stretch.more, stretch.over) == (0, False, True)
    assert stretch.last < stretch.first


def test_behind_damage(store: RunStore) -> None:
    """The rest of a damaged file is left out, as on the stream, wherever one begins."""
    run = RunOnDisk(store, 1)
    before, after = number_readouts(make_readouts(40)), number_readouts(make_readouts(40, seed=2), 60)
    for step in run.steps([before, after])[:4]:
        step()
    run.append_readouts(before)
    run.append(b"\0" * 50)
    run.rename()
    run.next_file()
    run.append(run.header)
    run.append_readouts(after)
    run.rename()
    record = run.write_record("finished", end_ns=2, end_reason="enough")
    expected = all_hits(record, [before, after])
    for first in (0, 10, 39, 40, 50, 60, 61, 75):
        np.testing.assert_array_equal(fetch(store, record, first, None), within(expected, first, None))


def test_no_file_and_no_record_in_it(store: RunStore) -> None:
    run = RunOnDisk(store, 1)
    run.make_directory()
    record = run.write_record("running")
    for first in (0, 7):
        past = past_run(store, record, first)
        (stretch,) = stretches(past)
        past.close()
        assert (len(stretch.hits), stretch.more, stretch.over) == (0, False, False)
