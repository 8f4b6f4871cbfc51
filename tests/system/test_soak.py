"""What takes long: a hundred kills of the daemon, ten million hits, a cable with a loose contact. `make soak`."""

import hashlib
import os
import random
import threading
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Self

import pytest

from monitor.client import StreamClient
from monitor.events import HitBatch, RunMessage
from monitor.state.detector_state import DetectorState
from protocol.ledger import Ledger
from protocol.run_record import file_name
from tests.system.laboratory import Daemon, Laboratory
from tests.system.memory import MemoryWatch
from tests.system.processes import wait_until
from tests.system.taken_run import RecordedReadout, TakenRun, readouts_of

pytestmark = pytest.mark.soak

KILLS = int(os.environ.get("SOAK_KILLS", "100"))
HITS = int(os.environ.get("SOAK_HITS", "10000000"))
UNPLUGGED = int(os.environ.get("SOAK_UNPLUGGED", "20"))

_LONG_S = 1200.0


def _on_disk(folder: Path) -> dict[str, list[RecordedReadout]]:
    """The whole records of all files of a run that is being written, by the names that they will have when finished."""
    found = {}
    for path in sorted(folder.glob("*.apx*")):
        try:
            found[path.name.removesuffix(".part")] = readouts_of(path, cut=True)
        except (FileNotFoundError, ValueError):
            continue  # renamed meanwhile, or without its whole header yet
    return found


def test_kill_the_daemon_again_and_again(laboratory: Laboratory) -> None:
    chance = random.Random(20261122)
    daemon = laboratory.configure(
        {"board": {"spi_divider": 1}, "emulator": {"rate_hz": 100_000.0}, "files": {"max_size_mb": 0.3}}
    )
    data_dir = daemon.config.daq.data_dir
    flushed: dict[str, list[RecordedReadout]] = {}
    for _ in range(KILLS):
        daemon.launch("--autostart")
        if chance.random() < 0.8:
            daemon.program.wait_for_output(r"run \d+ began")
        time.sleep(chance.uniform(0, 1.5))  # the moment of the kill, wherever that is
        newest = max(data_dir.glob("run_*"), default=None)
        if newest is not None:
            flushed |= _on_disk(newest)
        daemon.program.kill()
        wait_until("its children have ended", lambda: not laboratory.processes())
    daemon.start()
    assert daemon.end() == 0

    runs = [TakenRun(data_dir, int(folder.name[4:])) for folder in sorted(data_dir.glob("run_*"))]
    assert len(runs) >= 0.6 * KILLS
    assert sum(map(len, flushed.values())) > 10 * KILLS, "hardly anything was taken"
    for run in runs:
        if any(run.directory.iterdir()):  # else the number was given, and the daemon killed before it did anything else
            _check_killed(run, flushed)
    verified = laboratory.run("apx", "verify", data_dir)
    assert verified.code == 0, verified.stdout + verified.stderr


def _check_killed(run: TakenRun, flushed: dict[str, list[RecordedReadout]]) -> None:
    """That a run which a kill ended is whole: nothing that was in the files is missing, and the record says so."""
    record = run.record
    assert record.state == "interrupted"
    assert not run.parts
    assert [path.name for path in run.files] == [file.name for file in record.files]
    assert [each.readout_id for each in run.readouts] == list(range(len(run.readouts)))
    assert record.counts.readouts == len(run.readouts)
    for index, (path, file) in enumerate(zip(run.files, record.files, strict=True)):
        assert path.name == file_name(record.run, index)
        assert file.sha256 == hashlib.sha256(path.read_bytes()).hexdigest()
        before = flushed.get(path.name, [])
        assert readouts_of(path)[: len(before)] == before, f"{path.name}: readouts that were flushed are missing"


@dataclass(frozen=True)
class Taken:
    """What somebody who listened has of a run."""

    hits: int
    sha256: str
    state: str
    ledger: Ledger


class Listener:
    """Takes one run from the stream in constant memory: a digest of its hits, histograms, ledger. A context manager."""

    def __init__(self, endpoint: str) -> None:
        self._client = StreamClient(endpoint, high_water=100_000)
        self._detector = DetectorState()
        self._digest = hashlib.sha256()
        self._hits = 0
        self._ledger: Ledger | None = None
        self._thread = threading.Thread(target=self._listen, name="listener")

    def _listen(self) -> None:
        for event in self._client.events():
            self._detector.feed(event)
            if isinstance(event, HitBatch):
                self._digest.update(event.hits.tobytes())
                self._hits += len(event.hits)
            if isinstance(event, RunMessage) and event.body.event == "end":
                self._ledger = event.ledger
                return

    @property
    def hits(self) -> int:
        return self._hits

    def result(self) -> Taken:
        """When the run has ended; nothing may have been missed."""
        self._thread.join(_LONG_S)
        assert not self._thread.is_alive(), f"the run has not ended; {self._hits} hits came"
        assert self._ledger is not None
        counters = self._client.counters
        assert not counters.missed_messages
        assert counters.missed_readouts == counters.malformed == 0
        snapshot = self._detector.snapshot(counters)
        histograms = snapshot.model_dump_json(include={"hits", "readouts", "outside", "tot_invalid", "chips"})
        return Taken(self._hits, self._digest.hexdigest(), histograms, self._ledger)

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._client.interrupt()
        self._thread.join()
        self._client.close()


def test_ten_million_hits(laboratory: Laboratory) -> None:
    """Through every process: memory flat, every hit accounted for; replayed, the same hits, ledger and histograms."""
    daemon = laboratory.configure(
        {
            "board": {"chips": 4, "spi_divider": 1},
            "emulator": {"rate_hz": 500_000.0, "hits_limit": HITS, "fifo_bytes": 1 << 24},
            "files": {"max_size_mb": 16.0},
            "acquisition": {"queue_mb": 256.0},
        }
    ).start()
    monitor = laboratory.start("apx-sanity", "--connect", daemon.endpoint, "--runs", "1", "--json")
    pids = {"daqd": daemon.program.pid, "publisher": daemon.publisher.pid, "sanity": monitor.pid}
    with Listener(daemon.endpoint) as listener:
        wait_until("both are known", lambda: daemon.status().publisher.subscribers >= 2)
        with MemoryWatch(pids) as memory:
            daemon.call("start")
            wait_until("the board has sent everything", lambda: _exhausted(daemon), _LONG_S)
            wait_until("the stream is as far", lambda: listener.hits >= 0.99 * HITS, _LONG_S)
        daemon.call("stop")
        live = listener.result()
    assert monitor.wait() in (0, 1), monitor.output
    assert daemon.end() == 0

    for name, (early, late) in memory.halves().items():
        print(f"{name}: {early / 1e6:.1f} MB at most in the first half, {late / 1e6:.1f} MB in the second")
        assert late < 1.1 * early + 8e6, f"{name} grew from {early / 1e6:.0f} to {late / 1e6:.0f} MB"
    run = daemon.run(1)
    record = run.record
    assert record.state == "finished"
    ledger = Ledger.from_dict(record.ledger or {})
    assert ledger.balanced
    assert ledger == live.ledger
    assert live.hits == ledger.hits == HITS

    replay = laboratory.start("daqd", "replay", "--speed", "max", "--bind", "tcp://127.0.0.1:*", *run.files)
    endpoint = replay.wait_for_output(r"files at (\S+)")[1]
    with Listener(endpoint) as listener:
        replayed = listener.result()
    assert replay.wait() == 0
    assert replayed == live


def _exhausted(daemon: Daemon) -> bool:
    status = daemon.status()
    counters = status.board.counters
    return bool(counters["exhausted"]) and status.counts["board_bytes"] == counters["read_bytes"]


@pytest.mark.parametrize(("transport", "plugged_s"), [("emulated-usb", 1.0), ("emulated-pty", 5.0)])
def test_a_cable_with_a_loose_contact(laboratory: Laboratory, transport: str, plugged_s: float) -> None:
    """Out and in again, many times in one run: each gap is in the record, and no byte that was read is missing.

    The serial port has the pace of a UART: configuring the chips alone takes a second and more.
    """
    daemon = laboratory.configure(
        {
            "board": {"transport": transport},
            "emulator": {"rate_hz": 2_000.0, "unplug_every_s": plugged_s, "unplug_for_s": 0.3},
        }
    ).start()
    subscriber = daemon.subscribe()
    subscriber.wait_until_heard()
    daemon.call("start")
    wait_until("it was out often enough", lambda: len(daemon.run(1).record.gaps) >= UNPLUGGED, _LONG_S)
    wait_until("it is back", lambda: daemon.status().state == "running")
    daemon.call("stop")
    subscriber.wait_for_end(run=1)
    assert daemon.end() == 0

    run = daemon.run(1)
    record = run.check_closed()
    assert record.state == "finished"
    assert len(record.gaps) >= UNPLUGGED
    assert all(gap.to_ns is not None and gap.from_ns < gap.to_ns and gap.reason for gap in record.gaps)
    run.check_ledger()
    assert subscriber.hits(run=1).tobytes() == run.hits.tobytes()
