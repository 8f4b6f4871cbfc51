"""A replay answers for what it has published: to who comes late, who comes after the end, whatever is killed."""

import signal
from pathlib import Path

import numpy as np
import pytest

from astropix_pytest.generating import generate
from astropix_pytest.recording import Recording
from monitor.errors import HistoryError
from monitor.events import HitBatch, RunMessage
from monitor.receiving.history import run_hits, runs_on_disk
from tests.system.laboratory import Laboratory
from tests.system.processes import end_at_once, wait_until, wait_until_gone
from tests.system.programs import Program
from tests.system.subscriber import Subscriber

HISTORY = "daqd.catching_up.history"


def recorded(folder: Path, hits: int) -> Recording:
    """So many hits, in one second each twenty thousand."""
    misbehaviour = {"emulator.misbehave": {"cut_hits": 0.02, "garbage": 0.02}}
    return generate(folder, hits, chips=3, rate_hz=20_000.0, run=7, settings=misbehaviour)


def start(laboratory: Laboratory, recording: Recording, *options: str) -> tuple[Program, str]:
    """A replay and its stream."""
    replay = laboratory.start("daqd", "replay", *recording.files, "--bind", "tcp://127.0.0.1:*", *options)
    return replay, replay.wait_for_output(r"at (tcp://\S+)")[1]


def check_whole(subscriber: Subscriber, recording: Recording) -> None:
    subscriber.wait_for_end(run=7)
    np.testing.assert_array_equal(subscriber.hits(run=7), recording.hits)
    assert subscriber.ledger(run=7) == recording.ledger
    assert [event.body.event for event in subscriber.events if isinstance(event, RunMessage)] == ["begin", "end"]


@pytest.mark.soak
def test_it_does_not_end_before_the_late_have_everything(laboratory: Laboratory) -> None:
    """And then it does, although all of them stay."""
    recording = recorded(laboratory.folder, 10_000)
    replay, endpoint = start(laboratory, recording, "--speed", "0.05")
    early = laboratory.subscribe(endpoint)
    early.wait_for_hits(2000)
    late = laboratory.subscribe(endpoint, history=True)
    for each in (early, late):
        check_whole(each, recording)
    assert replay.wait() == 0
    counters = late.close()
    assert counters.past_hits >= 2000
    assert (counters.joined_at, counters.missed_readouts, counters.past_failures) == (0, 0, 0)


def test_after_the_end_and_with_what_is_killed(laboratory: Laboratory) -> None:
    recording = recorded(laboratory.folder, 20_000)
    replay, endpoint = start(laboratory, recording, "--speed", "max", "--stay", "--wait-for", "0")
    catch_up = replay.wait_for_output(r"past at (tcp://\S+)")[1]
    replay.wait_for_output("staying until interrupted")
    process = replay.child(HISTORY)
    end_at_once(process.pid, signal.SIGKILL)
    wait_until_gone(process)
    late = laboratory.subscribe(endpoint, history=True)
    check_whole(late, recording)
    assert late.close().past_failures == 0
    sanity = laboratory.start("apx-sanity", "--connect", endpoint, "--history", "--runs", "1", "--json")
    sanity.wait()
    assert f'"hits":{len(recording.hits)}' in sanity.output
    assert [(each.run, each.pass_, each.state) for each in runs_on_disk(catch_up)] == [(7, 1, "finished")]
    part = np.concatenate(list(run_hits(catch_up, 7, first=20, last=30)))
    ids = recording.hits["readout_id"]
    np.testing.assert_array_equal(part, recording.hits[(ids >= 20) & (ids <= 30)])
    with pytest.raises(HistoryError, match="there is no run 8"):
        list(run_hits(catch_up, 8))

    replay.kill()
    laboratory.wait_until_empty()
    wait_until("nothing is left", lambda: not list(laboratory.temporary_dir.iterdir()))


def test_the_past_does_not_run_ahead(laboratory: Laboratory) -> None:
    """Who asks at once for all there is gets what was published, in whatever pass."""
    recording = recorded(laboratory.folder, 2000)
    replay, endpoint = start(laboratory, recording, "--speed", "0.002")
    catch_up = replay.wait_for_output(r"past at (tcp://\S+)")[1]
    assert runs_on_disk(catch_up) == []
    early = laboratory.subscribe(endpoint)
    early.wait_for_hits(50)
    asked = np.concatenate(list(run_hits(catch_up, 7)))
    assert 50 <= len(asked) < len(recording.hits) / 2
    np.testing.assert_array_equal(asked, recording.hits[: len(asked)])
    assert replay.end() == 0


def test_one_pass_after_the_other(laboratory: Laboratory) -> None:
    """Who joins a loop gets the pass that it is in from its begin, and those after it."""
    recording = recorded(laboratory.folder, 10_000)
    replay, endpoint = start(laboratory, recording, "--loop", "--speed", "2")
    early = laboratory.subscribe(endpoint)
    early.wait_for_hits(12_000)
    late = laboratory.subscribe(endpoint, history=True)

    late.wait_for("two passes", lambda events: sum(isinstance(event, RunMessage) for event in events) >= 4)
    batches = [event for event in late.events if isinstance(event, HitBatch)]
    first = batches[0].pass_
    assert first >= 2
    for pass_ in (first, first + 1):
        hits = np.concatenate([batch.hits for batch in batches if batch.pass_ == pass_])
        np.testing.assert_array_equal(hits, recording.hits)
    assert replay.end() == 0
