"""The past of a replay is what it has published by then, to the last hit, and nothing beyond."""

import itertools
from collections.abc import Sequence
from contextlib import closing
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from astropix_pytest.generating import generate
from daqd.catching_up.past_run import HitRange, PastRun
from daqd.catching_up.record_index import RunIndex
from daqd.catching_up.replay_archive import ReplayArchive, ReplayedPast
from daqd.following.feed import RunEnded
from daqd.following.recorded_runs import recorded_runs
from daqd.following.replay_progress import ReplayedRun, ReplayProgress, ReplayView
from daqd.publishing.replay import Replay, Speed
from daqd.publishing.run_publisher import RunPublisher
from protocol.apx import ApxReader
from protocol.hit import HIT_DTYPE, HitTable
from protocol.wire.catch_up import HitsArgs, RunsArgs
from protocol.wire.messages import Topic
from tests.daqd.emulated_bench import HandClock
from tests.daqd.file_bytes import header_bytes, record_bytes
from tests.daqd.made_readouts import CHIPS, make_readouts
from tests.daqd.published import Sent
from tests.daqd.run_on_disk import Readout, number_readouts
from tests.daqd.test_layer_publishing import readouts as make_layer_readouts
from tests.daqd.test_past_run import stretches

PUB = 77
READOUTS = number_readouts(make_readouts(90, seed=5, damage=0.1))


def write(path: Path, readouts: Sequence[Readout], **header: Any) -> Path:
    path.write_bytes(
        header_bytes(**{"chips": CHIPS, **header}) + b"".join(record_bytes(*readout) for readout in readouts)
    )
    return path


class Stage:
    """A replay step by step, with what it has sent, and what can be asked for; a context manager."""

    def __init__(self, files: Sequence[Path], speed: Speed = "max", chips: int | None = None, **options: Any) -> None:
        runs = recorded_runs(files)
        self.clock = HandClock()
        self.feed = Replay(runs, speed=speed, chips=chips, clock=self.clock, **options)
        self.stream = Sent()
        self._publisher = RunPublisher(self.stream, max_hits=50)
        self.progress = ReplayProgress(PUB, chips, runs)
        self.view = ReplayView(self.progress.path)
        self.archive = ReplayArchive(self.view)

    def step(self) -> bool:
        """Publish what is due, wait where nothing is; whether a run has ended."""
        events = self.feed.poll()
        for event in events:
            if self.feed.progress is not None:
                self.progress.tell(self.feed.progress)
            self._publisher.handle(event)
        if not events:
            self.clock.sleep(self.feed.wait_s() or 0.0)
        return any(isinstance(event, RunEnded) for event in events)

    @property
    def pass_(self) -> int:
        """The pass that is on the stream, or was last."""
        return self.feed.pass_

    def sent(self, run: int, pass_: int, first: int = 0) -> HitTable:
        """The hits that were published of a run so far, from readout `first` on."""
        tables = [
            message.hits()
            for message in self.stream.sent
            if message.topic is Topic.HITS and (message.header.run, message.header.pass_) == (run, pass_)
        ]
        hits = np.concatenate(tables) if tables else np.zeros(0, HIT_DTYPE)
        return hits[hits["readout_id"] >= first]

    def find(self, run: int, pass_: int | None = None, pub: int | None = None) -> ReplayedPast | None:
        return self.archive.find(HitsArgs(run=run, pass_=pass_, pub=pub))

    def ask(self, run: int, pass_: int | None = None, first: int = 0) -> list[HitRange]:
        found = self.find(run, pass_, PUB)
        assert found is not None
        with closing(PastRun(found, RunIndex(found), first)) as past:
            return list(stretches(past))

    def check(self, run: int, pass_: int, first: int, *, over: bool) -> None:
        got = self.ask(run, pass_, first)
        np.testing.assert_array_equal(joined(got), self.sent(run, pass_, first))
        assert got[-1].over == over

    def __enter__(self) -> "Stage":
        return self

    def __exit__(self, *_: object) -> None:
        self.view.close()
        self.progress.close()
        self.feed.close()


def joined(got: list[HitRange]) -> HitTable:
    tables = [stretch.hits for stretch in got if len(stretch.hits)]
    return np.concatenate(tables) if tables else np.zeros(0, HIT_DTYPE)


@pytest.fixture(autouse=True)
def _small_chunks(monkeypatch: pytest.MonkeyPatch) -> None:
    """So that files of some hundred bytes are large ones."""
    monkeypatch.setattr("daqd.following.followed_file._CHUNK_BYTES", 200)
    monkeypatch.setattr("daqd.catching_up.record_index._SPACING_BYTES", 100)
    monkeypatch.setattr("daqd.catching_up.record_index._CHUNK_BYTES", 150)
    monkeypatch.setattr("daqd.catching_up.past_run._BACK_BYTES", 40)


def two_files(folder: Path) -> list[Path]:
    return [
        write(folder / f"o{index}.apx", part, run=7, daq="b", begin_ns=1, file=index)
        for index, part in enumerate((READOUTS[:40], READOUTS[40:]))
    ]


def in_the_middle(folder: Path) -> list[Path]:
    return [write(folder / "m.apx", number_readouts(make_readouts(60, seed=6), first=5000), run=7)]


def without_a_word(folder: Path) -> list[Path]:
    return [write(folder / f"{number}.apx", READOUTS[:30]) for number in range(7)]


def damaged(folder: Path) -> list[Path]:
    """In the middle of the first, at the end of the second; and one without readouts."""
    paths = [
        write(folder / f"d{index}.apx", part, run=7, daq="b", file=index)
        for index, part in enumerate((READOUTS[:30], READOUTS[30:60], []))
    ]
    for path, damage in zip(
        paths, (b"damage" + record_bytes(*READOUTS[80]), record_bytes(*READOUTS[80])[:-1]), strict=False
    ):
        with path.open("ab") as file:
            file.write(damage)
    return paths


def ids_that_jump(folder: Path) -> list[Path]:
    return [write(folder / "j.apx", [(10 * number, when, data) for number, when, data in READOUTS], run=7)]


def layer_frames(folder: Path) -> list[Path]:
    """As the firmware of an A-STEP board frames them."""
    described = {"readout_uid": 4100, "layers": 3, "timestamp_bits": 64, "timestamp_order": "big"}
    frames = [(each.readout_id, each.timestamp * 10**6 + 1, each.data()) for each in make_layer_readouts(60)]
    return [write(folder / "l.apx", frames, run=7, **described)]


def of_version_3(folder: Path) -> list[Path]:
    """AstroPix 3, from a daemon's own header."""
    settings = {"board": {"chip_version": 3}, "emulator.misbehave": {"cut_hits": 0.05}}
    return list(generate(folder, 200, chips=2, rate_hz=20_000.0, settings=settings).files)


RECORDINGS = [two_files, in_the_middle, without_a_word, damaged, ids_that_jump, layer_frames, of_version_3]


@pytest.mark.parametrize("speed", ["max", 1.0])
@pytest.mark.parametrize("make", RECORDINGS)
def test_at_any_moment_from_anywhere(tmp_path: Path, make: Any, speed: Speed, monkeypatch: pytest.MonkeyPatch) -> None:
    """Asked after every few steps, from another readout each time; of recordings of any kind."""
    monkeypatch.setattr(ApxReader.blocks, "__defaults__", (700,))
    files = make(tmp_path)
    with ApxReader(files[0]) as reader:
        ids = next(iter(reader.blocks())).readout_id.tolist()
    starts = itertools.cycle([0, ids[len(ids) // 2], ids[-1], ids[:2][-1], 0, ids[-1] + 1])
    with Stage(files, speed) as stage:
        for step in itertools.count():
            ended = stage.step() or stage.feed.exhausted
            if ended or step % 15 == 0:
                assert stage.feed.progress is not None
                run = stage.view.description.runs[stage.feed.progress.place][0]
                stage.check(run, stage.pass_, next(starts), over=ended)
            if stage.feed.exhausted:
                break
        for each in stage.view.runs():
            stage.check(stage.view.description.runs[each.place][0], each.pass_, 0, over=True)


def play(stage: Stage, runs: int = 1) -> None:
    """Until so many more runs have ended."""
    while runs:
        runs -= stage.step()


def test_a_run_of_which_nothing_was_published(tmp_path: Path) -> None:
    with Stage(two_files(tmp_path)) as stage:
        assert stage.find(7) is None
        stage.step()
        (nothing,) = stage.ask(7)
        assert (len(nothing.hits), nothing.last, nothing.more, nothing.over) == (0, -1, False, False)


def test_what_begins_in_the_middle_is_covered_from_there(tmp_path: Path) -> None:
    """As on the stream: nobody has missed what was never recorded."""
    with Stage(in_the_middle(tmp_path)) as stage:
        play(stage)
        assert stage.ask(7)[0].first == 5000
        assert stage.ask(7, first=5005)[0].first == 5005


def test_each_pass_of_its_own(tmp_path: Path) -> None:
    first = write(tmp_path / "a.apx", READOUTS[:20], run=1, daq="b", comment="x")
    other = write(tmp_path / "b.apx", READOUTS[20:50], run=1, daq="c")
    with Stage([first, other], loop=True) as stage:
        play(stage, 4)
        for pass_, start, stop in ((1, 0, 20), (2, 20, 50), (3, 0, 20), (4, 20, 50)):
            stage.check(1, pass_, 0, over=True)
            assert {int(number) for number in stage.sent(1, pass_)["readout_id"]} <= set(range(start, stop))
            found = stage.find(1, pass_, PUB)
            assert found is not None
            assert (found.pass_, found.record.state, found.record.end_reason) == (pass_, "finished", "replayed")
        last, third = stage.find(1), stage.find(1, 3)
        assert last is not None
        assert third is not None
        assert (last.pass_, last.record.daq, third.record.daq, third.record.comment) == (4, "c", "b", "x")
        assert stage.find(1, 5) is None
        assert stage.find(2) is None
        assert stage.find(1, 1, PUB + 1) is None
        begins = [message.run().record for message in stage.stream.sent if message.topic is Topic.RUN]
        assert last.record.begin_ns == begins[-1].begin_ns
        assert last.record.end_ns == begins[-1].end_ns


def test_the_list_of_runs(tmp_path: Path) -> None:
    files = [write(tmp_path / f"{run}.apx", READOUTS[:3], run=run) for run in (9, 2, 5, 2)]
    with Stage(files) as stage:
        play(stage, 3)
        stage.step()
        listed = stage.archive.list_runs(RunsArgs())
        assert [(each.run, each.pass_, each.state) for each in listed.runs] == [
            (2, 2, "running"),
            (5, 1, "finished"),
            (9, 1, "finished"),
        ]
        assert not listed.more
        page = stage.archive.list_runs(RunsArgs(after=2, number=1))
        assert ([each.run for each in page.runs], page.more) == ([5], True)
        files[2].unlink()
        stage.archive = ReplayArchive(stage.view)  # another process in its place
        assert [each.run for each in stage.archive.list_runs(RunsArgs()).runs] == [2, 9]


def test_passes_long_ago_are_forgotten(tmp_path: Path) -> None:
    with Stage([write(tmp_path / "a.apx", READOUTS[:2], run=1)], loop=True) as stage:
        play(stage, 300)
        assert len(stage.view.runs()) == stage.view.description.entries == 256
        assert stage.find(1, 300 - 256) is None
        assert stage.find(1, 300 - 255) is not None


def test_a_recording_that_its_daemon_finishes_and_one_that_grows(tmp_path: Path) -> None:
    """The replay ends where the file ended then; so does its past, under whatever name."""
    run = tmp_path / "run_000007"
    run.mkdir()
    part = write(run / "run_000007_0000.apx.part", READOUTS[:40], run=7, daq="b", file=0)
    with Stage([run]) as stage:
        play(stage)
        with part.open("ab") as file:
            file.write(b"".join(record_bytes(*readout) for readout in READOUTS[40:]))
        stage.check(7, 1, 0, over=True)
        part.rename(run / "run_000007_0000.apx")
        stage.check(7, 1, 0, over=True)
        assert len(stage.sent(7, 1))


@pytest.mark.parametrize("files", [READOUTS[:20] + READOUTS[10:30], READOUTS[20:40] + READOUTS[:1]])
def test_readout_ids_that_go_back_are_no_past(tmp_path: Path, files: list[Readout]) -> None:
    """Of a file that another program has written: what cannot be asked for is refused, and nobody asks without end."""
    with Stage([write(tmp_path / "a.apx", files, run=7)]) as stage:
        play(stage)
        with pytest.raises(OSError, match="its readout ids go back"):
            stage.ask(7)


def test_files_that_are_gone(tmp_path: Path) -> None:
    files = two_files(tmp_path)
    with Stage(files) as stage:
        play(stage)
        found = stage.find(7)
        files[1].unlink()
        assert found is not None
        with closing(PastRun(found, RunIndex(found), 0)) as past, pytest.raises(FileNotFoundError):
            list(stretches(past))
        files[0].unlink()
        stage.archive = ReplayArchive(stage.view)
        with pytest.raises(FileNotFoundError):
            stage.find(7)


def test_an_entry_that_is_being_written_is_read_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    entry = ReplayedRun(3, 0, 2, begin_ns=-5, file=1, offset=1 << 40, end_ns=9)
    assert ReplayedRun.from_bytes(entry.to_bytes()) == entry
    for cut in range(len(entry.to_bytes())):
        assert ReplayedRun.from_bytes(entry.to_bytes()[:cut]) is None
        torn = entry.to_bytes()[:cut] + replace(entry, offset=(1 << 41) + 7, end_ns=77).to_bytes()[cut:]
        assert ReplayedRun.from_bytes(torn) in (None, entry, replace(entry, offset=(1 << 41) + 7, end_ns=77))
    with Stage(two_files(tmp_path)) as stage:
        play(stage)
        whole, read, attempts = stage.view.run(0), ReplayedRun.from_bytes, itertools.count()
        assert whole is not None
        monkeypatch.setattr(ReplayedRun, "from_bytes", lambda data: read(data) if next(attempts) == 3 else None)
        assert stage.view.run(0) == whole
        assert next(attempts) == 4


def test_what_tells_of_no_replay(tmp_path: Path) -> None:
    path = tmp_path / "x"
    for content in (b"", b"\1", b"\2\0\0\0\0\0\0\0{}", b"\2\0\0\0\0\0\0\0[]", b"\1\0\0\0\0\0\0\0{"):
        path.write_bytes(content)
        with pytest.raises(ValueError, match=r"does not tell of a replay"):
            ReplayView(path)
    with pytest.raises(FileNotFoundError):
        ReplayView(tmp_path / "missing")


def test_it_leaves_no_file_behind(tmp_path: Path) -> None:
    with Stage(two_files(tmp_path)) as stage:
        path = stage.progress.path
        assert path.exists()
    assert not path.exists()
    with Stage(two_files(tmp_path)) as stage, stage.view:  # the replay was killed: the other tidies up
        path = stage.progress.path
    assert not path.exists()
