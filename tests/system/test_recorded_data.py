"""A real recording through the whole chain: into new files, onto the stream, to the sanity checker."""

from pathlib import Path

import numpy as np
import pytest

from protocol.apx import ApxReader
from protocol.decode import StreamDecoder
from protocol.hit import HIT_DTYPE, HitTable
from tests.system.laboratory import Laboratory, Settings
from tests.system.processes import DEADLINE_S
from tests.system.taken_run import readouts_of

RECORDING = "20250723_092534_data.apx"
READOUTS, HITS = 775, 776

PATIENT = ["--silence", str(DEADLINE_S)]
"""For the sanity checker: a busy machine is no finding."""


@pytest.fixture
def recording(recordings: Path) -> Path:
    return recordings / RECORDING


def hits_of(path: Path) -> HitTable:
    """The hits of a recorded file, decoded here."""
    decoder = StreamDecoder()
    with ApxReader(path) as reader:
        tables = [decoder.decode(block) for block in reader.blocks()]
    return np.concatenate([*tables, decoder.flush()])


def without_times(hits: HitTable) -> HitTable:
    """The same with the host's time stamps, which are those of the new run, set to 0."""
    copy = hits.copy()
    copy["timestamp"] = 0
    return copy


def test_run_with_recorded_readouts(laboratory: Laboratory, recording: Path) -> None:
    emulator = {"source": "file", "file": recording, "speed": "max"}
    daemon = laboratory.configure({"emulator": emulator}).start()
    subscriber = daemon.subscribe()
    sanity = laboratory.start("apx-sanity", "--connect", daemon.endpoint, "--runs", "1", "--json", *PATIENT)
    subscriber.wait_until_heard(2)

    daemon.call("start", readouts=READOUTS, comment="played back")
    published = subscriber.wait_for_end(run=1)
    daemon.wait_for_status("the run is over", state="configured")
    assert sanity.wait() == 0, sanity.output
    assert daemon.end() == 0

    run = daemon.run(1)
    record = run.check_closed()
    recorded = readouts_of(recording)
    assert [each.data for each in run.readouts] == [each.data for each in recorded]
    assert [each.readout_id for each in run.readouts] == list(range(READOUTS))
    hits = subscriber.hits(run=1)
    assert hits.dtype == HIT_DTYPE
    assert len(hits) == HITS
    np.testing.assert_array_equal(without_times(hits), without_times(hits_of(recording)))
    np.testing.assert_array_equal(hits, run.hits)
    assert record.state == "finished"
    assert record.comment == "played back"
    assert record.counts.readouts == READOUTS
    ledger = run.check_ledger()
    assert ledger.hits == HITS
    assert published.ledger == ledger.to_dict()
    counters = subscriber.close()
    assert counters.hits == HITS
    assert (counters.missed_messages, counters.missed_readouts, counters.malformed) == ({}, 0, 0)


def test_run_played_until_the_board_falls_silent(laboratory: Laboratory, recording: Path) -> None:
    emulator = {"source": "file", "file": recording, "speed": 100.0}
    daemon = laboratory.configure({"emulator": emulator}).start("--autostart")
    daemon.wait_until_exhausted()
    assert daemon.ctl("stop").code == 0
    assert daemon.end() == 0
    run = daemon.run(1)
    assert run.check_closed().end_reason == "stopped by command"
    assert [each.data for each in run.readouts] == [each.data for each in readouts_of(recording)]
    checked = laboratory.run("apx-sanity", "--once", *run.files)
    assert checked.code == 0, checked.stdout


@pytest.mark.parametrize("speed", ["max", "100"])
def test_replay(laboratory: Laboratory, recording: Path, speed: str) -> None:
    bind = ["--bind", "tcp://127.0.0.1:*"]
    replay = laboratory.start("daqd", "replay", recording, "--speed", speed, "--wait-for", "2", *bind)
    endpoint = replay.wait_for_output(r"at (tcp://\S+)")[1]
    subscriber = laboratory.subscribe(endpoint)
    sanity = laboratory.start("apx-sanity", "--connect", endpoint, "--runs", "1", *PATIENT)
    ended = subscriber.wait_for_end(run=1, pass_=1)
    assert replay.wait() == 0
    assert sanity.wait() == 0, sanity.output

    np.testing.assert_array_equal(subscriber.hits(run=1), hits_of(recording))
    assert subscriber.ledger(run=1).hits == HITS
    assert subscriber.ledger(run=1).balanced
    assert ended.ledger is not None
    counters = subscriber.close()
    assert counters.hits == HITS
    assert (counters.missed_messages, counters.missed_readouts, counters.malformed) == ({}, 0, 0)


def test_replay_of_a_run_equals_the_run(laboratory: Laboratory) -> None:
    """Live, in a replay at any speed, and read from the files: the same hits and the same ledger."""
    settings: Settings = {
        "board": {"chips": 3},
        "emulator": {"rate_hz": 20_000.0, "hits_limit": 20_000},
        "emulator.misbehave": {"cut_hits": 0.02, "lost_bytes": 0.02, "garbage": 0.02, "padding": 0.02},
        "files": {"max_size_mb": 0.05},
    }
    daemon = laboratory.configure(settings).start()
    live = daemon.subscribe()
    live.wait_until_heard()
    daemon.call("start")
    daemon.wait_until_exhausted()
    daemon.call("stop")
    live.wait_for_end(run=1)
    assert daemon.end() == 0
    run = daemon.run(1)
    run.check_closed()
    assert len(run.files) > 3

    folder = run.files[0].parent
    replay = laboratory.start("daqd", "replay", folder, "--speed", "max", "--bind", "tcp://127.0.0.1:*")
    said = replay.wait_for_output(r"replaying (\d+) files at (tcp://\S+)")
    assert int(said[1]) == len(run.files)
    replayed = laboratory.subscribe(said[2])
    replayed.wait_for_end(run=1, pass_=1)
    assert replay.wait() == 0
    for subscriber in (live, replayed):
        np.testing.assert_array_equal(subscriber.hits(run=1), run.hits)
        assert subscriber.ledger(run=1) == run.ledger
