"""A daemon that is dead or silent is nowhere said to be running: page, terminal, JSON and metrics alike."""

import json
from contextlib import nullcontext
from dataclasses import dataclass

import pytest

from monitor.state.detector_state import DetectorState
from monitor.state.monitor_state import SILENT_S, MonitorSummary
from monitor.terminal.status_lines import headline, one_line
from monitor.web.facts import facts
from monitor.web.metrics import Metrics
from tests.monitor.publishing import MessageMaker, StreamReader, make_hits, run_record

ENDPOINT = "tcp://daq-pc:5556"


@dataclass
class Heard:
    """What was heard of a daemon at time 0, and how it looks `now` seconds later."""

    now: float = 0.0

    def __post_init__(self) -> None:
        self.maker, self.reader = MessageMaker(), StreamReader()
        self.detector = DetectorState(clock=lambda: self.now)
        self.take(self.maker.run("begin", run_record(1)), self.maker.stat(run=1, state="running", elapsed_s=7))

    def take(self, *messages: list[bytes]) -> None:
        for frames in messages:
            event = self.reader.read(frames)
            assert event is not None
            self.detector.feed(event)

    def summary(self) -> MonitorSummary:
        return self.detector.summary(self.reader.counters)

    def pill(self) -> tuple[str, str, str]:
        state = facts(self.summary(), ENDPOINT, "", "")["state"]
        return state["name"], state["level"], state["trouble"]


def test_a_daemon_that_says_nothing_any_more() -> None:
    heard = Heard()
    assert heard.pill() == ("running", "good", "")
    assert headline(heard.summary(), ENDPOINT).plain.startswith(" RUNNING ")
    heard.now = SILENT_S - 0.1
    assert heard.pill()[0] == "running"
    heard.now = 83.0
    assert heard.pill() == (
        "no data for 0:01:23", "bad", "the daemon is silent; when it was last heard it was running",
    )  # fmt: skip
    assert headline(heard.summary(), ENDPOINT).plain.startswith(" NO DATA for 0:01:23  was running")
    assert "RUNNING" not in one_line(heard.summary(), ENDPOINT)
    told = json.loads(heard.detector.snapshot(heard.reader.counters).model_dump_json())
    assert (told["state"], told["stat_age_s"], told["stat"]["state"]) == ("silent", 83.0, "running")
    heard.take(heard.maker.stat(run=1, state="stopping"))
    assert heard.pill()[0] == "stopping"


def test_hits_that_come_say_nothing_of_the_state() -> None:
    heard = Heard()
    heard.now = 5.0
    heard.take(heard.maker.hits(make_hits([(0, 0)]), (0, 0)))
    assert heard.pill()[:2] == ("no state for 0:00:05", "bad")
    assert headline(heard.summary(), ENDPOINT).plain.startswith(" NO STATE for 0:00:05 ")
    assert heard.summary().state == "silent"


def test_before_anything_has_come_nobody_is_silent() -> None:
    summary = DetectorState().summary(StreamReader().counters)
    assert (summary.state, summary.silent_s, summary.stat_age_s) == ("waiting", None, None)
    assert facts(summary, ENDPOINT, "", "")["state"]["name"] == "waiting"
    assert facts(summary, ENDPOINT, "no such key", "")["state"]["name"] == "refused"
    state = facts(summary, ENDPOINT, "", "a tunnel to nowhere?")["state"]
    assert (state["name"], state["trouble"]) == ("waiting", "a tunnel to nowhere?")
    assert headline(summary, ENDPOINT, no_answer="a tunnel to nowhere?").plain == " waiting  a tunnel to nowhere?"


@pytest.mark.parametrize(("now", "state"), [(0.0, "running"), (60.0, "silent")])
def test_metrics_claim_one_state(now: float, state: str) -> None:
    heard = Heard()
    heard.now = now

    class Receiver:
        counters = heard.reader.counters

        def state(self) -> object:
            return nullcontext(heard.detector)

    text = Metrics(Receiver(), lambda: 0, lambda: ()).text().decode()
    assert f'astropix_state{{state="{state}"}} 1.0' in text
    assert sum(line.startswith("astropix_state{") and line.endswith(" 1.0") for line in text.splitlines()) == 1
    assert f"astropix_state_age_seconds {now}" in text
