"""The follower: every readout once and in order, whatever the moment at which it looks."""

import errno
import os
import random
import re
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any
from unittest.mock import Mock

import pytest

from daqd.following.feed import Complaint, FeedEvent, ReadoutsRead, RunBegan, RunEnded
from daqd.following.follower import Follower, Position
from daqd.runs.run_store import RunStore
from tests.daqd.file_bytes import record_bytes
from tests.daqd.made_readouts import make_readouts
from tests.daqd.run_on_disk import Readout, RunOnDisk, kinds, number_readouts, poll_all, readouts_of

pytestmark = pytest.mark.slow

READOUTS = number_readouts(make_readouts(40, seed=7))
FILES: list[list[Readout]] = [READOUTS[:15], READOUTS[15:16], READOUTS[16:]]
Follow = Callable[..., Follower]


@pytest.fixture
def follow(store: RunStore) -> Iterator[Follow]:
    """Makes followers, which are closed."""
    made: list[Follower] = []

    def make(after_run: int = 0, **options: Any) -> Follower:
        made.append(Follower(store, after_run=after_run, **options))
        return made[-1]

    yield make
    for follower in made:
        follower.close()


def test_nothing_there(follow: Follow) -> None:
    follower = follow()
    assert poll_all(follower) == []
    assert (follower.position, follower.last_run, follower.lag_bytes) == (None, 0, 0)
    assert follower.wait_s() is None
    assert not follower.exhausted


def test_a_finished_run_of_several_files(store: RunStore, follow: Follow) -> None:
    run = RunOnDisk(store, 1)
    run.write_all(FILES)
    follower = follow()
    events = poll_all(follower)
    assert kinds(events) == ["begin", "readouts", "end"]
    assert readouts_of(events) == READOUTS
    assert events[0] == RunBegan(run.write_record("finished", end_ns=2, end_reason="enough"))
    assert isinstance(events[-1], RunEnded)
    assert events[-1].record.state == "finished"
    assert follower.position is None
    assert follower.last_run == 1


def test_several_runs_and_gaps_in_their_numbers(store: RunStore, follow: Follow) -> None:
    for number in (2, 3, 7):
        RunOnDisk(store, number).write_all([READOUTS[number : 2 * number]])
    events = poll_all(follow(after_run=2))
    assert kinds(events) == ["begin", "readouts", "end"] * 2
    assert [event.record.run for event in events if isinstance(event, RunBegan)] == [3, 7]
    assert readouts_of(events) == READOUTS[3:6] + READOUTS[7:14]


@pytest.mark.parametrize("torn", [False, True])
def test_after_every_step_of_the_writer(store: RunStore, follow: Follow, torn: bool) -> None:
    follower = follow()
    events = []
    for step in RunOnDisk(store, 1).steps(FILES, torn=torn):
        step()
        events += poll_all(follower)
    assert kinds(events) == ["begin", "readouts", "end"]
    assert readouts_of(events) == READOUTS


def test_byte_by_byte(store: RunStore, follow: Follow) -> None:
    run, follower = RunOnDisk(store, 1), follow()
    run.make_directory()
    run.write_record()
    run.next_file()
    readouts = READOUTS[:4]
    content = run.header + b"".join(record_bytes(*readout) for readout in readouts)
    events = poll_all(follower)
    ends = [len(run.header)]
    for readout in readouts:
        ends.append(ends[-1] + len(record_bytes(*readout)))
    for size in range(1, len(content) + 1):
        run.append(content[size - 1 : size])
        events += poll_all(follower)
        whole = sum(end <= size for end in ends[1:])
        assert readouts_of(events) == readouts[:whole]
        if size >= ends[0]:
            assert follower.position == Position(1, 0, ends[whole])
            assert follower.lag_bytes == size - ends[whole]
    run.rename()
    run.write_record("finished")
    events += poll_all(follower)
    assert kinds(events) == ["begin", "readouts", "end"]


@pytest.mark.parametrize("size", [1, 2, 3, 7, 20, 100, 1000])
def test_in_chunks(store: RunStore, follow: Follow, monkeypatch: pytest.MonkeyPatch, size: int) -> None:
    monkeypatch.setattr("daqd.following.followed_file._CHUNK_BYTES", size)
    RunOnDisk(store, 1).write_all(FILES)
    follower = follow()
    events = []
    while kinds(events)[-1:] != ["end"]:
        new = follower.poll()
        assert new or follower.wait_s() == 0.0, "it says that there is nothing, and there is"
        events += new
    assert readouts_of(events) == READOUTS


class Interleaved:
    """Between any two calls of the operating system that the follower makes, the writer may have gone on."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, steps: list[Callable[[], object]], seed: int) -> None:
        self._steps = steps
        self._dice = random.Random(seed)
        self._pace = self._dice.choice((0.02, 0.1, 0.3, 0.7, 0.95))
        self._writing = False
        for name in ("open", "read", "lseek", "fstat", "close", "scandir"):
            monkeypatch.setattr(os, name, self._after_some_steps(getattr(os, name)))
        for name in ("stat", "exists", "read_bytes"):
            monkeypatch.setattr(Path, name, self._after_some_steps(getattr(Path, name)))

    def _after_some_steps(self, call: Callable[..., Any]) -> Callable[..., Any]:
        def called(*args: Any, **options: Any) -> Any:
            while not self._writing and self._steps and self._dice.random() < self._pace:
                self.step()
            return call(*args, **options)

        return called

    def step(self) -> None:
        self._writing = True
        self._steps.pop(0)()
        self._writing = False

    @property
    def more(self) -> bool:
        return bool(self._steps)


@pytest.mark.parametrize("seed", range(150))
def test_at_every_moment_between_two_system_calls(
    store: RunStore, follow: Follow, monkeypatch: pytest.MonkeyPatch, seed: int
) -> None:
    """Two short runs; names change, files and records appear at any moment. Seeds are enough to be at each of them."""
    first, second = RunOnDisk(store, 1), RunOnDisk(store, 2)
    files = [READOUTS[:2], READOUTS[2:3], READOUTS[3:5]]
    torn = bool(seed % 2)
    steps = first.steps(files, torn=torn) + second.steps(files[:1], torn=torn)
    follower = follow()
    events = []
    with monkeypatch.context() as patch:
        writer = Interleaved(patch, steps, seed)
        while writer.more:
            events += follower.poll()
            if follower.wait_s() is None and writer.more:
                writer.step()  # as the daemon wakes the publisher after it has written something
        events += poll_all(follower)
    assert kinds(events) == ["begin", "readouts", "end"] * 2
    assert readouts_of(events) == READOUTS[:5] + READOUTS[:2]
    ends = [event.record for event in events if isinstance(event, RunEnded)]
    assert [(record.run, record.state) for record in ends] == [(1, "finished"), (2, "finished")]


def test_a_run_that_was_claimed_is_waited_for(store: RunStore, follow: Follow) -> None:
    run, follower = RunOnDisk(store, 1), follow()
    run.make_directory()
    run.next_file()
    assert poll_all(follower) == []
    assert follower.last_run == 0
    run.write_record()
    assert kinds(poll_all(follower)) == ["begin"]


def test_a_run_that_was_claimed_and_never_begun_is_passed(store: RunStore, follow: Follow) -> None:
    RunOnDisk(store, 1).make_directory()
    follower = follow()
    assert poll_all(follower) == []
    RunOnDisk(store, 2).write_all([READOUTS[:2]])
    events = poll_all(follower)
    assert [event.record.run for event in events if isinstance(event, RunBegan)] == [2]


def test_a_run_of_an_earlier_daemon_ends_where_its_files_end(store: RunStore, follow: Follow) -> None:
    run = RunOnDisk(store, 1)
    run.begin(READOUTS[:3])
    run.append(record_bytes(*READOUTS[3])[:-2])
    follower = follow(settled_run=1)
    events = poll_all(follower)
    assert kinds(events) == ["begin", "readouts", "complaint", "end"]
    assert readouts_of(events) == READOUTS[:3]
    left_over = len(record_bytes(*READOUTS[3])) - 2
    assert events[-2] == Complaint(f"run_000001_0000.apx: {left_over} bytes after the last whole readout")
    assert isinstance(events[-1], RunEnded)
    assert (events[-1].record.state, events[-1].record.end_reason) == (
        "interrupted",
        "the daemon ended without closing it",
    )


def test_a_failed_run_whose_last_file_stayed_unfinished(store: RunStore, follow: Follow) -> None:
    run, follower = RunOnDisk(store, 1), follow()
    run.begin(READOUTS[:3])
    events = poll_all(follower)
    run.write_record("failed", end_reason="cannot write")
    events += poll_all(follower)
    assert kinds(events) == ["begin", "readouts", "end"]
    assert isinstance(events[-1], RunEnded)
    assert (events[-1].record.state, events[-1].record.end_reason) == ("failed", "cannot write")


def test_what_is_written_before_the_record_is_closed_comes_before_the_end(store: RunStore, follow: Follow) -> None:
    run, follower = RunOnDisk(store, 1), follow()
    run.begin()
    events = poll_all(follower)
    run.append_readouts(READOUTS[:3])
    run.rename()
    run.next_file()
    run.append(run.header)
    run.append_readouts(READOUTS[3:])
    run.rename()
    run.write_record("finished")
    events += poll_all(follower)
    assert kinds(events) == ["begin", "readouts", "end"]
    assert readouts_of(events) == READOUTS


def damaged(kind: str, run: RunOnDisk) -> bytes:
    records = [record_bytes(*readout) for readout in READOUTS[:5]]
    match kind:
        case "marker":
            return run.header + records[0] + records[1] + b"\0" + b"".join(records[2:])
        case "length":
            return (
                run.header + records[0] + records[1] + record_bytes(2, 0, b"")[:-4] + b"\xff\xff\xff\x7f" + records[3]
            )
        case "magic":
            return b"%APXDX" + run.header[6:] + b"".join(records)
        case "header length":
            return run.header[:6] + b"\xff\xff\xff\xff" + run.header[10:] + b"".join(records)
        case "empty":
            return b""
        case "half a header":
            return run.header[:-5]
    raise AssertionError(kind)


@pytest.mark.parametrize(
    ("kind", "before", "said"),
    [
        ("marker", 2, r"run_000001_0000\.apx: at byte \d+: no record marker fedcba, but 00fedc; the rest of this file"),
        (
            "length",
            2,
            r"run_000001_0000\.apx: at byte \d+: a readout of 2147483647 bytes announced; that is damage; the",
        ),
        (
            "magic",
            0,
            r"run_000001_0000\.apx: at byte 0: not an \.apx file: .*; the rest of this file is not on the",
        ),
        ("header length", 0, r"run_000001_0000\.apx: at byte 6: a header of .*; the rest of this file"),
        ("half a header", 0, r"run_000001_0000\.apx: \d+ bytes after the last whole readout"),
        ("empty", 0, None),
    ],
)
@pytest.mark.parametrize("growing", [False, True])
def test_damage_is_told_and_the_next_file_is_followed(
    store: RunStore, follow: Follow, kind: str, before: int, said: str | None, growing: bool
) -> None:
    run, follower = RunOnDisk(store, 1), follow()
    run.make_directory()
    run.write_record()
    run.next_file()
    run.append(damaged(kind, run))
    events = poll_all(follower) if growing else []
    run.append(b"and more of it" if kind in ("marker", "length", "magic") else b"")
    run.rename()
    run.next_file()
    run.append(run.header)
    run.append_readouts(READOUTS[10:])
    run.rename()
    run.write_record("finished")
    events += poll_all(follower)
    assert readouts_of(events) == READOUTS[:before] + READOUTS[10:]
    complaints = [event.text for event in events if isinstance(event, Complaint)]
    assert len(complaints) == (said is not None)
    if said is not None:
        assert re.match(said, complaints[0])
    assert kinds(events)[-1] == "end"
    assert follower.lag_bytes == 0


@pytest.mark.parametrize("text", ["", "{", '{"run": 1}'])
def test_a_run_whose_record_cannot_be_read_is_told_and_passed(store: RunStore, follow: Follow, text: str) -> None:
    RunOnDisk(store, 1).make_directory()
    store.record_path(1).write_text(text)
    RunOnDisk(store, 2).write_all([READOUTS[:2]])
    events = poll_all(follow())
    assert kinds(events) == ["complaint", "begin", "readouts", "end"]
    assert isinstance(events[0], Complaint)
    assert events[0].text.startswith("run 1 is not on the stream: not a run record")


def test_a_record_that_is_a_directory_is_told_and_passed(store: RunStore, follow: Follow) -> None:
    RunOnDisk(store, 1).make_directory()
    store.record_path(1).mkdir()
    RunOnDisk(store, 2).write_all([READOUTS[:2]])
    events = poll_all(follow())
    assert kinds(events) == ["complaint", "begin", "readouts", "end"]


@pytest.mark.parametrize("resumed", [False, True])
def test_a_run_is_not_missed_because_the_disk_refuses_its_record_for_a_moment(
    store: RunStore, follow: Follow, monkeypatch: pytest.MonkeyPatch, resumed: bool
) -> None:
    run = RunOnDisk(store, 1)
    run.begin(READOUTS[:3])
    options: dict[str, Any] = {}
    if resumed:
        first = follow()
        poll_all(first)
        options = {"after_run": 1, "position": first.position}
        run.append_readouts(READOUTS[3:5])
    follower = follow(**options)
    with monkeypatch.context() as patch:
        patch.setattr(RunStore, "read_record", Mock(side_effect=OSError(errno.EIO, "Input/output error")))
        events = poll_all(follower)
        events += poll_all(follower)
    events += poll_all(follower)
    assert kinds(events) == ["complaint", "begin", "readouts"]
    assert readouts_of(events) == (READOUTS[3:5] if resumed else READOUTS[:3])


def test_a_record_that_cannot_be_read_for_a_moment_is_read_later(store: RunStore, follow: Follow) -> None:
    run, follower = RunOnDisk(store, 1), follow()
    run.begin(READOUTS[:3])
    events = poll_all(follower)
    store.record_path(1).write_text("nonsense")
    events += poll_all(follower)
    run.append_readouts(READOUTS[3:5])
    events += poll_all(follower)
    assert kinds(events) == ["begin", "readouts"]
    run.rename()
    run.write_record("finished")
    events += poll_all(follower)
    assert kinds(events) == ["begin", "readouts", "end"]
    assert readouts_of(events) == READOUTS[:5]


def test_a_record_that_stays_damaged_ends_the_run_when_the_next_one_begins(store: RunStore, follow: Follow) -> None:
    run, follower = RunOnDisk(store, 1), follow()
    run.make_directory()
    run.write_record()
    events = poll_all(follower)
    store.record_path(1).write_text("nonsense")
    RunOnDisk(store, 2).write_all([READOUTS[:2]])
    events += poll_all(follower)
    assert kinds(events) == ["begin", "end", "begin", "readouts", "end"]


def test_a_run_that_is_taken_away_is_over_when_the_next_begins(store: RunStore, follow: Follow) -> None:
    """Not before: the writer of the run brings it back."""
    run, follower = RunOnDisk(store, 1), follow()
    run.begin(READOUTS[:3])
    events = poll_all(follower)
    for path in store.run_directory(1).iterdir():
        path.unlink()
    store.run_directory(1).rmdir()
    events += poll_all(follower)
    assert kinds(events) == ["begin", "readouts"]
    RunOnDisk(store, 2).make_directory()
    events += poll_all(follower)
    assert kinds(events) == ["begin", "readouts", "end"]
    assert isinstance(events[-1], RunEnded)
    assert events[-1].record.state == "interrupted"


def test_files_that_cannot_be_read_for_a_while(
    store: RunStore, follow: Follow, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whatever call it is that is refused: it is said once, and nothing is missing afterwards."""
    steps = RunOnDisk(store, 1).steps([READOUTS[:3], READOUTS[3:]])
    follower = follow()
    events: list[FeedEvent] = []

    def refuse(*_: object, **__: object) -> None:
        raise PermissionError(13, "Permission denied")

    for step in steps:
        step()
        with monkeypatch.context() as patch:
            for name in ("os.scandir", "pathlib.Path.open", "os.read", "pathlib.Path.stat", "pathlib.Path.exists"):
                patch.setattr(name, refuse)
            refused = [event for _ in range(3) for event in follower.poll()]
        assert kinds(refused) in (["complaint"], [])
        events += poll_all(follower)
    assert kinds(events) == ["begin", "readouts", "end"]
    assert readouts_of(events) == READOUTS


def test_going_on_at_every_record(store: RunStore, follow: Follow, monkeypatch: pytest.MonkeyPatch) -> None:
    """A second follower goes on where the first is, after each poll of it: together they give everything once."""
    monkeypatch.setattr("daqd.following.followed_file._CHUNK_BYTES", 50)
    RunOnDisk(store, 1).write_all(FILES)
    RunOnDisk(store, 2).write_all([READOUTS[:3]])
    first = follow()
    before: list[Any] = []
    places = set()
    while True:
        position, last_run = first.position, first.last_run
        if position not in places:
            places.add(position)
            rest = poll_all(follow(after_run=last_run, position=position))
            assert readouts_of(before) + readouts_of(rest) == READOUTS + READOUTS[:3]
            if position is not None:
                assert isinstance(rest[0], RunBegan)
                assert rest[0].resumed
                assert rest[0].record.run == position.run
            assert all(not event.resumed for event in rest[1:] if isinstance(event, RunBegan))
        new = first.poll()
        before += new
        if not new and first.wait_s() is None:
            break
    assert len(places) > len(READOUTS)


def test_going_on_in_a_file_that_still_grows(store: RunStore, follow: Follow) -> None:
    run, first = RunOnDisk(store, 1), follow()
    run.begin(READOUTS[:3])
    events = poll_all(first)
    second = follow(after_run=1, position=first.position)
    events += poll_all(second)
    run.append_readouts(READOUTS[3:5])
    run.rename()
    run.write_record("finished")
    events += poll_all(second)
    assert kinds(events) == ["begin", "readouts", "begin", "readouts", "end"]
    assert readouts_of(events) == READOUTS[:5]


def test_going_on_behind_the_end_of_a_file_waits_and_ends_with_the_run(store: RunStore, follow: Follow) -> None:
    RunOnDisk(store, 1).write_all(FILES[:1])
    events = poll_all(follow(after_run=1, position=Position(1, 0, 1 << 40)))
    assert readouts_of(events) == []
    assert kinds(events)[0] == "begin"
    assert kinds(events)[-1] == "end"


def test_going_on_in_a_run_that_is_gone(store: RunStore, follow: Follow) -> None:
    RunOnDisk(store, 2).write_all([READOUTS[:2]])
    events = poll_all(follow(after_run=1, position=Position(1, 0, 100)))
    assert kinds(events) == ["begin", "readouts", "end"]
    assert readouts_of(events) == READOUTS[:2]


def test_lag_counts_what_is_there_and_not_given_out(
    store: RunStore, follow: Follow, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("daqd.following.followed_file._CHUNK_BYTES", 200)
    RunOnDisk(store, 1).write_all([READOUTS])
    follower = follow()
    size = sum(len(record_bytes(*readout)) for readout in READOUTS)
    lags = []
    while not isinstance((follower.poll() or [None])[-1], RunEnded):
        lags.append(follower.lag_bytes)
    assert max(lags) >= size - 200
    assert follower.lag_bytes == 0
    assert not any(isinstance(event, ReadoutsRead) for event in follower.poll())
