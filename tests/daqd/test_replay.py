"""Replay: the same hits as live, at any speed; paced by the time stamps, whatever they are; damage is told."""

import json
import struct
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from daqd.following.feed import Complaint, Feed, FeedEvent, RunBegan, RunEnded
from daqd.following.follower import Follower
from daqd.following.recorded_runs import ReplayError, recorded_runs
from daqd.publishing.replay import Replay, Speed
from daqd.publishing.run_publisher import RunPublisher
from daqd.runs.run_store import RunStore
from protocol.apx import ApxReader
from protocol.wire.messages import encode_body
from tests.daqd.emulated_bench import HandClock
from tests.daqd.file_bytes import header_bytes, record_bytes
from tests.daqd.made_readouts import CHIPS, make_readouts
from tests.daqd.published import Published, Sent
from tests.daqd.run_on_disk import Readout, RunOnDisk, kinds, number_readouts, poll_all, readouts_of

READOUTS = number_readouts(make_readouts(120, seed=21))
S = 1_000_000_000


def write(path: Path, readouts: Sequence[Readout], **header: Any) -> Path:
    path.write_bytes(header_bytes(**header) + b"".join(record_bytes(*readout) for readout in readouts))
    return path


def timed(*seconds: float) -> list[Readout]:
    """One readout at each of these times after an hour that is not zero."""
    return [(number, 3600 * S + round(second * S), b"\xbc") for number, second in enumerate(seconds)]


MakeReplay = Callable[..., Replay]


@pytest.fixture
def replay() -> Iterator[MakeReplay]:
    """Makes replays of files, which are closed."""
    made: list[Replay] = []

    def make(*files: Path, speed: Speed = "max", **options: Any) -> Replay:
        made.append(Replay(recorded_runs(files), speed=speed, **options))
        return made[-1]

    yield make
    for each in made:
        each.close()


def read_in_chunks(monkeypatch: pytest.MonkeyPatch, size_bytes: int) -> None:
    """So many bytes of a file at a time."""
    monkeypatch.setattr("daqd.following.followed_file._CHUNK_BYTES", size_bytes)
    monkeypatch.setattr(ApxReader.blocks, "__defaults__", (size_bytes,))


def given_out(feed: Replay, clock: HandClock) -> list[tuple[float, list[int]]]:
    """When each readout comes, by waiting just as long as the feed says."""
    begin, found = clock(), []
    while not feed.exhausted:
        events = feed.poll()
        ids = [number for number, _, _ in readouts_of(events)]
        if ids:
            found.append((round(clock() - begin, 6), ids))
        elif not events and (wait_s := feed.wait_s()):
            clock.sleep(wait_s)
    return found


def test_everything_at_once(replay: MakeReplay, tmp_path: Path) -> None:
    path = write(tmp_path / "a.apx", READOUTS, run=7, daq="bench", chips=CHIPS, comment="x", full_readout_bytes=2048)
    feed = replay(path)
    events = poll_all(feed)
    assert kinds(events) == ["begin", "readouts", "end"]
    assert readouts_of(events) == READOUTS
    assert feed.exhausted
    assert feed.readouts == len(READOUTS)
    assert not feed.damaged
    assert feed.wait_s() is None
    assert feed.poll() == []
    begin, end = events[0], events[-1]
    assert isinstance(begin, RunBegan)
    assert isinstance(end, RunEnded)
    record = begin.record
    assert (record.run, record.daq, record.comment, record.chips) == (7, "bench", "x", CHIPS)
    assert (record.full_readout_bytes, record.readout_uid, begin.pass_) == (2048, 4000, 1)
    assert record.software == {"replay": "a.apx"}
    assert record.configuration["comment"] == "x"
    assert (record.state, end.record.state, end.record.end_reason) == ("running", "finished", "replayed")
    assert end.record.run == 7


def test_as_it_was(replay: MakeReplay, tmp_path: Path) -> None:
    clock = HandClock()
    feed = replay(write(tmp_path / "a.apx", timed(0, 0.5, 0.5, 2.0, 10.0)), speed=1.0, clock=clock)
    assert given_out(feed, clock) == [(0.0, [0]), (0.5, [1, 2]), (2.0, [3]), (10.0, [4])]


@pytest.mark.parametrize(("speed", "last_s"), [(0.5, 20.0), (4.0, 2.5), (1000.0, 0.01)])
def test_slower_and_faster(replay: MakeReplay, tmp_path: Path, speed: float, last_s: float) -> None:
    clock = HandClock()
    feed = replay(write(tmp_path / "a.apx", timed(0, 5, 10)), speed=speed, clock=clock)
    assert given_out(feed, clock) == [(0.0, [0]), (last_s / 2, [1]), (last_s, [2])]


def test_a_directory_is_the_runs_in_it(tmp_path: Path) -> None:
    files = [write(tmp_path / f"{number}.apx", timed(0), run=number) for number in (1, 2)]
    assert [run.files for run in recorded_runs([tmp_path])] == [(file,) for file in files]
    (tmp_path / "nothing").mkdir()
    with pytest.raises(ReplayError, match=r"nothing holds no recordings: give \.apx files"):
        recorded_runs([tmp_path / "nothing"])


def test_nothing_comes_before_its_time(replay: MakeReplay, tmp_path: Path) -> None:
    clock = HandClock()
    feed = replay(write(tmp_path / "a.apx", timed(0, 1, 2)), speed=1.0, clock=clock)
    events = poll_all(feed)
    assert readouts_of(events) == timed(0, 1, 2)[:1]
    assert feed.wait_s() == pytest.approx(1.0)
    clock.sleep(0.999)
    assert feed.poll() == []
    clock.sleep(0.001)
    assert len(readouts_of(feed.poll())) == 1
    clock.sleep(100.0)
    assert len(readouts_of(feed.poll())) == 1
    assert kinds(poll_all(feed)) == ["end"]


def test_who_is_behind_catches_up_without_pauses(replay: MakeReplay, tmp_path: Path) -> None:
    clock = HandClock()
    feed = replay(write(tmp_path / "a.apx", timed(*range(100))), speed=1.0, clock=clock)
    feed.poll()
    feed.poll()
    clock.sleep(50.5)
    assert [number for number, _, _ in readouts_of(feed.poll())] == list(range(1, 51))


def test_time_stamps_that_go_back(replay: MakeReplay, tmp_path: Path) -> None:
    """The clock was set back: what has an earlier time than the one before comes with it."""
    clock = HandClock()
    feed = replay(write(tmp_path / "a.apx", timed(0, 2, 1, -5, 3, 2.5, 4)), speed=1.0, clock=clock)
    assert given_out(feed, clock) == [(0.0, [0]), (2.0, [1, 2, 3]), (3.0, [4, 5]), (4.0, [6])]


def test_time_stamps_that_are_not_known(replay: MakeReplay, tmp_path: Path) -> None:
    unknown = [(number, 0, b"\xbc") for number in range(5)]
    clock = HandClock()
    assert given_out(replay(write(tmp_path / "a.apx", unknown), speed=1.0, clock=clock), clock) == [
        (0.0, [0, 1, 2, 3, 4])
    ]
    some = timed(0, 0, 0, 2, 3)
    for index in (0, 1, 3):
        some[index] = (index, 0, b"\xbc")
    assert given_out(replay(write(tmp_path / "a.apx", some), speed=1.0, clock=clock), clock) == [
        (0.0, [0, 1, 2, 3]),
        (3.0, [4]),
    ]


def test_time_stamps_beyond_all_measure(replay: MakeReplay, tmp_path: Path) -> None:
    readouts = [(0, 1, b"\xbc"), (1, (1 << 64) - 1, b"\xbc"), (2, 1 << 63, b"\xbc")]
    clock = HandClock()
    ((first_s, first), (last_s, last)) = given_out(
        replay(write(tmp_path / "a.apx", readouts), speed=1e9, clock=clock), clock
    )
    assert (first_s, first, last) == (0.0, [0], [1, 2])
    assert last_s == pytest.approx(18.446744, rel=1e-3)
    assert readouts_of(poll_all(replay(tmp_path / "a.apx"))) == readouts


def test_pacing_over_several_files_and_blocks(
    replay: MakeReplay, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    read_in_chunks(monkeypatch, 30)
    readouts = timed(0, 1, 1, 0.5, 4, 5)
    first = write(tmp_path / "a.apx", readouts[:2], run=1, daq="b", file=0)
    second = write(tmp_path / "b.apx", readouts[2:], run=1, daq="b", file=1)
    clock = HandClock()
    feed = replay(first, second, speed=1.0, clock=clock)
    assert sorted(given_out(feed, clock)) == [(0.0, [0]), (1.0, [1]), (1.0, [2]), (1.0, [3]), (4.0, [4]), (5.0, [5])]


def test_runs_follow_each_other_without_the_time_between_them(replay: MakeReplay, tmp_path: Path) -> None:
    first = write(tmp_path / "a.apx", timed(0, 1), run=1, daq="b")
    second = write(tmp_path / "b.apx", timed(5000, 5002), run=2, daq="b")
    clock = HandClock()
    assert given_out(replay(first, second, speed=1.0, clock=clock), clock) == [
        (0.0, [0]),
        (1.0, [1]),
        (1.0, [0]),
        (3.0, [1]),
    ]


def runs_and_files(*files: Path) -> list[tuple[int, int]]:
    return [(run.run, len(run.files)) for run in recorded_runs(files)]


def test_which_files_are_one_run(tmp_path: Path) -> None:
    def file(name: str, **header: Any) -> Path:
        return write(tmp_path / name, [], **header)

    ours = [file(f"o{number}.apx", run=5, daq="b", file=number) for number in range(3)]
    other_run = file("p.apx", run=6, daq="b")
    other_daq = file("q.apx", run=5, daq="c")
    other_time = [file(f"t{number}.apx", run=5, daq="b", file=number, begin_ns=number // 2) for number in range(4)]
    foreign = file("f.apx", comment="no run number")
    assert runs_and_files(*ours) == [(5, 3)]
    assert runs_and_files(*ours, other_run) == [(5, 3), (6, 1)]
    assert runs_and_files(ours[0], other_run, ours[1]) == [(5, 1), (6, 1), (5, 1)]
    assert runs_and_files(ours[0], other_daq, ours[1]) == [(5, 1), (5, 1), (5, 1)]
    assert runs_and_files(*other_time) == [(5, 2), (5, 2)]
    assert runs_and_files(ours[0], ours[1], ours[0], ours[2], ours[2]) == [(5, 2), (5, 2), (5, 1)]
    assert runs_and_files(foreign) == [(1, 1)]
    assert runs_and_files(ours[0], foreign, foreign, ours[1]) == [(5, 1), (2, 1), (3, 1), (5, 1)]


def test_a_foreign_file_does_not_take_ours_for_its_next(tmp_path: Path) -> None:
    foreign = write(tmp_path / "f.apx", [], comment="its place is 1")
    ours = write(tmp_path / "o.apx", [], run=1)
    assert runs_and_files(foreign, ours) == [(1, 1), (1, 1)]


@pytest.mark.parametrize("number", [0, -3, 2.0, "7", True, None, 1 << 64, [1]])
def test_what_is_no_run_number(tmp_path: Path, number: Any) -> None:
    path = write(tmp_path / "a.apx", READOUTS[:3], run=number)
    assert runs_and_files(path) == [(1, 1)]


@pytest.mark.parametrize(
    "header",
    [
        {"comment": "half a character: \ud800"},
        {"daq": "\udfff", "x": ["\ud800"]},
        {"number": 1 << 100},
        {"number": -(1 << 70)},
        {"number": float("nan")},
        {"deep": json.loads("[" * 600 + "]" * 600)},
        {"comment": 5, "daq": ["x"], "chips": "many", "full_readout_bytes": -1},
        {"chips": 99},
        {"software": 5, "configuration": None},
    ],
)
def test_any_header_that_json_can_carry(replay: MakeReplay, tmp_path: Path, header: dict[str, Any]) -> None:
    events = poll_all(replay(write(tmp_path / "a.apx", READOUTS[:3], **header)))
    assert kinds(events) == ["begin", "readouts", "end"]
    for event in events:
        if isinstance(event, RunBegan | RunEnded):
            assert encode_body(event.record)


def test_chips_given_go_before_chips_in_the_file(replay: MakeReplay, tmp_path: Path) -> None:
    path = write(tmp_path / "a.apx", READOUTS[:3], chips=2)
    for chips, expected in ((None, 2), (5, 5)):
        begin = replay(path, chips=chips).poll()[0]
        assert isinstance(begin, RunBegan)
        assert begin.record.chips == expected


def test_again_and_again(replay: MakeReplay, tmp_path: Path) -> None:
    first = write(tmp_path / "a.apx", READOUTS[:3], run=1, daq="b")
    second = write(tmp_path / "b.apx", READOUTS[3:5], run=2, daq="b")
    feed = replay(first, second, loop=True)
    events: list[FeedEvent] = []
    while feed.pass_ < 4:
        events += feed.poll()
    begins = [(event.record.run, event.pass_) for event in events if isinstance(event, RunBegan)]
    assert begins == [(1, 1), (2, 1), (1, 2), (2, 2), (1, 3), (2, 3), (1, 4)][: len(begins)]
    assert len(begins) >= 6
    assert readouts_of(events)[:15] == READOUTS[:5] * 3
    assert not feed.exhausted


def test_a_number_that_comes_again_is_another_pass(replay: MakeReplay, tmp_path: Path) -> None:
    """Run, pass and readout name a hit: also where two set-ups have counted their runs from 1."""
    files = [
        write(tmp_path / f"{place}.apx", READOUTS[:2], run=run, daq=daq)
        for place, (run, daq) in enumerate([(1, "a"), (2, "a"), (1, "b"), (3, "b"), (2, "b"), (2, "a")])
    ]
    events = poll_all(replay(*files))
    begins = [(event.record.run, event.pass_) for event in events if isinstance(event, RunBegan)]
    assert begins == [(1, 1), (2, 1), (1, 2), (3, 2), (2, 2), (2, 3)]


def test_a_loop_over_nothing_ends(replay: MakeReplay, tmp_path: Path) -> None:
    feed = replay(write(tmp_path / "a.apx", []), write(tmp_path / "b.apx", []), loop=True)
    assert kinds(poll_all(feed)) == ["begin", "end", "begin", "end"]
    assert feed.exhausted


CUT = {
    "in the record's head": record_bytes(9, 0, b"abc")[:7],
    "in the data": record_bytes(9, 0, b"abc")[:-1],
    "in the marker": b"\xfe",
}


@pytest.mark.parametrize("name", CUT)
def test_a_file_that_was_cut_is_given_out_to_its_last_whole_record(
    replay: MakeReplay, tmp_path: Path, name: str
) -> None:
    path = write(tmp_path / "a.apx", READOUTS[:5], run=1, daq="b")
    with path.open("ab") as file:
        file.write(CUT[name])
    next_file = write(tmp_path / "b.apx", READOUTS[5:8], run=1, daq="b")
    feed = replay(path, next_file)
    events = poll_all(feed)
    assert kinds(events) == ["begin", "readouts", "complaint", "readouts", "end"]
    assert readouts_of(events) == READOUTS[:8]
    (complaint,) = (event.text for event in events if isinstance(event, Complaint))
    assert complaint == f"{path}: {len(CUT[name])} bytes after the last whole readout"
    assert feed.damaged


def test_a_damaged_file_is_given_out_up_to_the_damage(replay: MakeReplay, tmp_path: Path) -> None:
    path = write(tmp_path / "a.apx", READOUTS[:5], run=1, daq="b")
    size = path.stat().st_size
    with path.open("ab") as file:
        file.write(b"damage" + record_bytes(*READOUTS[5]))
    next_file = write(tmp_path / "b.apx", READOUTS[5:8], run=1, daq="b")
    feed = replay(path, next_file)
    events = poll_all(feed)
    assert readouts_of(events) == READOUTS[:8]
    (complaint,) = (event.text for event in events if isinstance(event, Complaint))
    assert complaint.startswith(
        f"{path}: at byte {size}: no record marker fedcba, but 64616d; the rest of this file is"
    )
    assert feed.damaged


def test_a_file_that_is_gone_by_its_turn(replay: MakeReplay, tmp_path: Path) -> None:
    first = write(tmp_path / "a.apx", READOUTS[:5])
    second = write(tmp_path / "b.apx", READOUTS[5:8])
    feed = replay(first, second)
    second.unlink()
    events = poll_all(feed)
    assert kinds(events) == ["begin", "readouts", "end", "begin", "complaint", "end"]
    assert feed.damaged


NO_FILES = {
    "missing": None,
    "empty": b"",
    "not ours": b"hello, world",
    "half a header": header_bytes(run=1)[:-3],
    "no json": b"%APXDF" + struct.pack("<I", 4) + b"{[}]",
    "unknown uid": b"%APXDF" + struct.pack("<I", 20) + b'{"readout_uid": 123}',
}


@pytest.mark.parametrize("name", NO_FILES)
def test_what_cannot_be_replayed_is_told_before_anything_begins(tmp_path: Path, name: str) -> None:
    path = tmp_path / "a.apx"
    content = NO_FILES[name]
    if content is not None:
        path.write_bytes(content)
    good = write(tmp_path / "b.apx", READOUTS[:3])
    with pytest.raises(ReplayError, match=rf"^cannot replay {path}: ") as caught:
        recorded_runs([good, path])
    assert "\n" not in str(caught.value)


def published(feed: Feed, clock: HandClock | None = None, **options: Any) -> Published:
    """What becomes of a feed on the stream."""
    stream = Sent()
    publisher = RunPublisher(stream, **{"max_hits": 8192, **options})
    ended = False
    while not ended:
        events = feed.poll()
        for event in events:
            publisher.handle(event)
            ended = ended or isinstance(event, RunEnded)
        wait_s = feed.wait_s()
        if clock is not None and wait_s:
            clock.sleep(wait_s)
    return Published(stream.sent)


@pytest.mark.parametrize("chunk_bytes", [7, 100, 3000, 1 << 20])
@pytest.mark.parametrize("speed", [1.0, 1e6, "max"])
def test_live_and_replay_give_the_same_hits_and_the_same_ledger(
    replay: MakeReplay, store: RunStore, monkeypatch: pytest.MonkeyPatch, speed: Speed, chunk_bytes: int
) -> None:
    """The same files, followed while they grow, and replayed at any speed, in any chunks."""
    files = [READOUTS[:50], READOUTS[50:51], READOUTS[51:]]
    RunOnDisk(store, 1).write_all(files)
    live = published(Follower(store, after_run=0))

    read_in_chunks(monkeypatch, chunk_bytes)
    clock = HandClock()
    paths = [store.file_path(1, index) for index in range(3)]
    feed = replay(*paths, speed=speed, chips=CHIPS, clock=clock)
    again = published(feed, clock, max_hits=5)
    followed = published(Follower(store, after_run=0), max_hits=5)
    assert len(live.hits) > 300
    for other in (again, followed):
        np.testing.assert_array_equal(other.hits, live.hits)
        assert other.ledger == live.ledger
    assert [event.event for event in again.events] == ["begin", "end"]


def test_the_recorded_run(replay: MakeReplay, recordings: Path) -> None:
    """776 hits in 775 readouts, as the collaboration's own decoder found them."""
    path = recordings / "20250723_092534_data.apx"
    result = published(replay(path))
    assert len(result.hits) == 776
    assert result.ledger["readouts"] == 775


def test_the_recorded_run_at_its_own_speed(replay: MakeReplay, recordings: Path) -> None:
    path = recordings / "20250723_092534_data.apx"
    clock = HandClock()
    begin = clock()
    paced = published(replay(path, speed=1.0, clock=clock), clock)
    took_s = clock() - begin
    readout_times = np.unique(paced.hits["timestamp"])
    assert took_s == pytest.approx((int(readout_times[-1]) - int(readout_times[0])) / S, rel=0.05)
    np.testing.assert_array_equal(paced.hits, published(replay(path)).hits)
