"""The plugin as its users have it: found by pytest, real programs on free ports, nothing left when the test is over."""

import os
import signal
import subprocess
import sys
from collections.abc import Callable
from importlib.metadata import entry_points
from pathlib import Path

import numpy as np
import pytest

from astropix_pytest.daemon import DaemonSource
from astropix_pytest.recording import Recording
from astropix_pytest.replay import ReplaySource
from astropix_pytest.source import SourceError
from daqd.errors import ConfigError
from monitor.client import StreamClient
from monitor.events import HitBatch, RunMessage
from protocol.hit import HitTable
from protocol.ledger import Ledger
from tests.conftest import REPOSITORY
from tests.system.processes import DEADLINE_S, look_at
from tests.system.programs import program_path

Generate = Callable[..., Recording]
StartReplay = Callable[..., ReplaySource]
StartDaemon = Callable[..., DaemonSource]


def read_run(client: StreamClient) -> tuple[HitTable, Ledger]:
    """All hits and the ledger of the run, when it has ended on the stream."""
    tables = []
    for event in client.events(timeout_s=DEADLINE_S):
        if isinstance(event, HitBatch):
            tables.append(event.hits)
        elif isinstance(event, RunMessage) and event.body.event == "end":
            assert event.ledger is not None
            return np.concatenate(tables), event.ledger
    raise AssertionError("the run has not ended on the stream")


def check_clean(client: StreamClient) -> None:
    """Nothing was missed or came twice."""
    counters = client.counters
    assert (counters.missed_messages, counters.missed_readouts, counters.malformed) == ({}, 0, 0)


def test_it_is_registered() -> None:
    registered = [point for point in entry_points(group="pytest11") if point.name == "astropix_pytest"]
    assert registered, "the installed package is older than pyproject.toml: make test installs it anew"
    assert registered[0].load().__name__ == "astropix_pytest"


def test_it_costs_others_nothing() -> None:
    """Loaded in every run of pytest where the package is installed: it must not import what takes time."""
    code = "import astropix_pytest, sys; print(*sorted({name.partition('.')[0] for name in sys.modules}))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert not {"numpy", "zmq", "pydantic", "daqd", "protocol", "monitor"} & set(done.stdout.split())


def test_a_replay(astropix_generate: Generate, astropix_replay: StartReplay) -> None:
    run = astropix_generate(5000, chips=2, settings={"emulator.misbehave": {"cut_hits": 0.05, "garbage": 0.05}})
    assert run.ledger.dropped > 0
    replay = astropix_replay(run, wait_for=2)
    with StreamClient(replay.endpoint) as first, StreamClient(replay.endpoint) as second:
        for client in (first, second):
            hits, ledger = read_run(client)
            np.testing.assert_array_equal(hits, replay.hits)
            assert ledger == replay.ledger
            check_clean(client)
    replay.wait_until_done()


def test_a_replay_for_those_who_come_late(astropix_generate: Generate, astropix_replay: StartReplay) -> None:
    """After all was published: the whole run, from its begin to its end, or asked for beside the stream."""
    run = astropix_generate(5000, chips=2, settings={"emulator.misbehave": {"cut_hits": 0.05, "garbage": 0.05}})
    replay = astropix_replay(run, stay=True, wait_for=0)
    replay.wait_until_done()
    with StreamClient(replay.endpoint, history=True) as late:
        hits, ledger = read_run(late)
        np.testing.assert_array_equal(hits, replay.hits)
        assert ledger == replay.ledger
        check_clean(late)
    with StreamClient(replay.endpoint, catch_up=replay.catch_up) as beside:
        np.testing.assert_array_equal(np.concatenate(list(beside.history(1))), replay.hits)


def test_two_replays_of_files(astropix_generate: Generate, astropix_replay: StartReplay) -> None:
    """Each on its own port; by file or by directory, paced or not."""
    run = astropix_generate(500, rate_hz=50_000.0)
    replays = [astropix_replay(run.files[0]), astropix_replay(str(run.files[0].parent), speed=2)]
    assert replays[0].endpoint != replays[1].endpoint
    for replay in replays:
        with StreamClient(replay.endpoint) as client:
            np.testing.assert_array_equal(read_run(client)[0], run.hits)
            check_clean(client)
        replay.wait_until_done()


def test_a_replay_without_end(astropix_generate: Generate, astropix_replay: StartReplay) -> None:
    replay = astropix_replay(astropix_generate(100), loop=True)
    with StreamClient(replay.endpoint) as client:
        for _ in range(2):
            np.testing.assert_array_equal(read_run(client)[0], replay.hits)
    with pytest.raises(ValueError, match="never done"):
        replay.wait_until_done()
    replay.close()
    assert look_at(replay.pid) is None


def test_a_run_of_a_daemon(astropix_daemon: StartDaemon) -> None:
    """One who was there from the beginning, one who comes when all is over: the same."""
    daemon = astropix_daemon(2000, rate_hz="max", chips=2)
    with pytest.raises(RuntimeError, match="start"):
        daemon.wait_until_done()
    with StreamClient(daemon.endpoint) as client:
        client.receive(DEADLINE_S)  # the stream has us
        assert daemon.start("a run of a test") == 1
        with pytest.raises(RuntimeError, match="wait_until_done"):
            _ = daemon.hits
        daemon.wait_until_done()
        hits, ledger = read_run(client)
        check_clean(client)
    assert len(hits) == 2000
    np.testing.assert_array_equal(hits, daemon.hits)
    assert ledger == daemon.ledger
    assert daemon.recording.header["comment"] == "a run of a test"
    with StreamClient(daemon.endpoint, catch_up=daemon.catch_up) as late:
        np.testing.assert_array_equal(np.concatenate(list(late.history(1))), hits)


def test_what_goes_wrong_is_said(astropix_replay: StartReplay, astropix_daemon: StartDaemon, tmp_path: Path) -> None:
    (tmp_path / "bad.apx").write_bytes(b"nothing of the kind")
    with pytest.raises(SourceError, match=r"daqd replay ended with 1.*\n.*bad\.apx: at byte 0: not an \.apx file"):
        astropix_replay(tmp_path / "bad.apx")
    with pytest.raises(ValueError, match=r"no \.apx files in"):
        astropix_replay(tmp_path / "..")
    with pytest.raises(ConfigError, match="chips"):
        astropix_daemon(chips=32)


def test_a_replay_that_is_killed(astropix_generate: Generate, astropix_replay: StartReplay) -> None:
    replay = astropix_replay(astropix_generate(100))
    with pytest.raises(SourceError, match=r"is not done within 0\.1 s"):
        replay.wait_until_done(0.1)  # nobody reads it
    os.kill(replay.pid, signal.SIGKILL)
    with pytest.raises(SourceError, match="ended with -9"):
        replay.wait_until_done()


def test_programs_of_ours_read_it(astropix_generate: Generate, astropix_replay: StartReplay) -> None:
    run = astropix_generate(3000, chips=2, rate_hz=5000.0)
    replay = astropix_replay(run)
    checked = subprocess.run(
        [program_path("apx-sanity"), "--connect", replay.endpoint, "--runs", "1", "--silence", str(DEADLINE_S)],
        capture_output=True,
        text=True,
        check=False,
        timeout=DEADLINE_S,
        cwd=REPOSITORY,
    )
    assert (checked.returncode, checked.stderr) == (0, ""), checked.stdout
    assert "3000 hits" in checked.stdout
    replay.wait_until_done()
