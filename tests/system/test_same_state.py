"""Whoever looks at a run, whenever and however fast, sees the same: histograms, spectra of pixels, rates."""

from typing import Any

from monitor.events import Event
from monitor.receiving.reader import StreamCounters
from monitor.state.detector_state import DetectorState
from monitor.state.time_series import SPANS
from tests.system.laboratory import Laboratory, Settings
from tests.system.subscriber import Subscriber

SETTINGS: Settings = {
    "board": {"chips": 3},
    "emulator": {"rate_hz": 20_000.0, "hot_pixels": [[1, 5, 7, 20.0]]},
    "emulator.misbehave": {"cut_hits": 0.01, "lost_bytes": 0.01},
    "files": {"max_size_mb": 0.3},
}


def state_of(events: list[Event]) -> DetectorState:
    """As a monitor has it after these."""
    state = DetectorState()
    for event in events:
        state.feed(event)
    return state


def shown(state: DetectorState) -> dict[str, Any]:
    """All that a display takes from it."""
    snapshot = state.snapshot(StreamCounters()).model_dump()
    names = ("hits", "outside", "tot_invalid", "rows", "columns", "chips", "hits_per_readout", "series", "recent_s")
    content = {name: snapshot[name] for name in names}
    for which in ("histograms", "recent"):
        histograms = getattr(state, which)
        content[f"pixels of {which}"] = {
            pixel: histograms.pixel_tot(*pixel).tolist()
            for pixel in zip(*map(list, histograms.hit_map.nonzero()), strict=True)
        }
        content[f"sizes of {which}"] = histograms.hits_per_readout.tolist()
    for span in SPANS:
        content[f"counts {span}"] = [
            rate[1].tobytes() for rate in (state.series.hit_rate(span), state.series.readout_rate(span))
        ]
    return content


def check_same(one: DetectorState, other: DetectorState) -> None:
    expected, got = shown(one), shown(other)
    assert {name for name in expected if expected[name] != got[name]} == set()


class Replayed:
    """A replay of run 1 of its own, with one who reads it from the begin; `late`: who come in its middle."""

    def __init__(self, laboratory: Laboratory, speed: str) -> None:
        files = sorted((laboratory.folder / "data").glob("run_000001/*.apx"))
        options = ("--speed", speed, "--bind", "tcp://127.0.0.1:*", "--stay")
        self.program = laboratory.start("daqd", "replay", *files, *options)
        self.endpoint = self.program.wait_for_output(r"at (tcp://\S+)")[1]
        self._laboratory = laboratory
        self.early = laboratory.subscribe(self.endpoint)
        self.late: list[Subscriber] = []

    def join(self, hits: int) -> None:
        """Another one, when so many were published."""
        self.early.wait_for_hits(hits)
        self.late.append(self._laboratory.subscribe(self.endpoint, history=True))


def test_late_or_early_and_at_any_speed(laboratory: Laboratory) -> None:
    daemon = laboratory.configure(SETTINGS).start()
    there = daemon.subscribe(history=True)
    there.wait_until_heard()
    daemon.call("start")
    daemon.wait_for_readouts(300)
    late = [daemon.subscribe(history=True)]
    there.wait_for_hits(20_000)
    late.append(daemon.subscribe(history=True))
    for each in late:
        each.wait_for_hits(20_000)
    daemon.call("stop")
    for each in (there, *late):
        each.wait_for_end(1)
    assert daemon.end() == 0
    live = state_of(there.events)
    assert live.histograms.hits == len(daemon.run(1).hits)
    assert live.histograms.pixel_tot(1, 5, 7).sum() == live.histograms.hit_map[1, 5, 7] > 0
    for each in late:
        check_same(live, state_of(each.events))
        assert each.close().past_hits > 0

    replays = [Replayed(laboratory, speed) for speed in ("1", "100", "max")]
    for each in replays:
        each.join(hits=2000)
    for each in replays:
        each.early.wait_for_end(1)
        each.join(hits=0)  # when all is over
    once, *faster = (state_of(each.early.events) for each in replays)
    for other in faster:
        check_same(once, other)
    for each in replays:
        for subscriber in each.late:
            subscriber.wait_for_end(1)
            assert subscriber.ledger(1) == each.early.ledger(1)
            check_same(once, state_of(subscriber.events))
            counters = subscriber.close()
            assert (counters.past_failures, counters.missed_readouts) == (0, 0)
        assert counters.past_hits == counters.hits  # of the one who came last
        assert each.program.end() == 0
    # When a run began is not in its files: its first and last second are shorter in a replay.
    for name in ("hits", "chips", "hits_per_readout", "pixels of histograms"):
        assert shown(once)[name] == shown(live)[name]
    assert sum(rate is not None for rate in once.snapshot(StreamCounters()).series["10min"].hits_hz) >= 1
