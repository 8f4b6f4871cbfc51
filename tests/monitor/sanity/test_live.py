"""The checks on a stream: events from real messages, time set by hand; then the program on a real socket."""

import json
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager

import pytest

from monitor.sanity.check import Limits
from monitor.sanity.findings import Findings
from monitor.sanity.live import LiveChecks
from protocol.ledger import Ledger
from protocol.run_record import Gap
from protocol.wire.alarms import AlarmLevel
from tests.deadline import DEADLINE_S
from tests.monitor.publishing import T0_NS, MessageMaker, StreamReader, TestPublisher, make_hits, run_record

pytestmark = pytest.mark.slow


class Watched:
    """The checks behind a reader, with a clock that is set by hand."""

    def __init__(self, limits: Limits | None = None) -> None:
        self.now = 100.0
        self.reader = StreamReader()
        self.checks = LiveChecks(limits or Limits(), self.now)
        self.findings = Findings()

    def __call__(self, *messages: list[bytes]) -> "Watched":
        for frames in messages:
            event = self.reader.read(frames)
            if event is not None:
                for place, notice in self.checks.feed(event, self.now):
                    self.findings.note(notice, place, 0)
        return self.tick(0.0)

    def tick(self, seconds: float) -> "Watched":
        self.now += seconds
        for place, notice in self.checks.tick(self.now, self.reader.counters.malformed, self.reader.last_error):
            self.findings.note(notice, place, 0)
        return self

    @property
    def found(self) -> dict[str, AlarmLevel]:
        for place, notice in self.checks.settle(self.now):
            self.findings.note(notice, place, 0)
        return {finding.check: finding.level for finding in self.findings}


def whole_run(maker: MessageMaker, run: int = 1) -> list[list[bytes]]:
    ledger = Ledger(hit=8 * 20, bytes_read=8 * 20, hits=20)
    return [
        maker.run("begin", run_record(run)),
        maker.stat(run=run),
        *(maker.hits(make_hits([(r, 0), (r, 1)]), (r, r), run=run) for r in range(10)),
        maker.run("end", run_record(run, state="finished", ledger=ledger.to_dict())),
        maker.stat("configured", run=run, ledger=ledger),
    ]


def test_a_whole_run_in_order_is_all_well() -> None:
    maker, watched = MessageMaker(), Watched()
    watched(*whole_run(maker), *whole_run(maker, 2))
    assert watched.found == {}
    assert watched.checks.runs_ended == 2


def test_messages_lost_are_found_twice_as_messages_and_as_readouts() -> None:
    messages = whole_run(MessageMaker())
    del messages[5]
    watched = Watched()(*messages)
    assert watched.found == {"sequence_gap": AlarmLevel.WARNING, "missed_readouts": AlarmLevel.CRITICAL}


def test_a_lost_last_message_is_found_at_the_end_of_the_run() -> None:
    messages = whole_run(MessageMaker())
    del messages[11]
    assert Watched()(*messages).found == {"run_totals": AlarmLevel.CRITICAL}


def test_a_run_without_any_message_of_its_hits_is_found() -> None:
    messages = whole_run(MessageMaker())
    assert Watched()(*messages[:2], *messages[12:]).found == {"run_totals": AlarmLevel.CRITICAL}


def test_a_run_joined_late_is_worth_knowing_and_no_more() -> None:
    messages = whole_run(MessageMaker())
    assert Watched()(*messages[6:]).found == {"joined_late": AlarmLevel.OK}
    assert Watched()(*messages[12:]).found == {}


def test_a_publisher_restart_that_delivers_everything_again_is_info() -> None:
    first, second = whole_run(MessageMaker(pub=1)), whole_run(MessageMaker(pub=2))
    watched = Watched()(*first[:6], *second)
    assert watched.found == {"publisher_restart": AlarmLevel.OK, "duplicates": AlarmLevel.OK}
    assert watched.checks.runs_ended == 1


def test_a_restart_whose_first_messages_we_missed_is_info_if_no_readouts_are_missing() -> None:
    first, second = whole_run(MessageMaker(pub=1)), whole_run(MessageMaker(pub=2))
    watched = Watched()(*first[:8], *second[4:])
    assert watched.found == {
        "publisher_restart": AlarmLevel.OK,
        "duplicates": AlarmLevel.OK,
        "sequence_gap": AlarmLevel.OK,
    }


def test_a_restart_that_leaves_readouts_out_is_a_finding() -> None:
    first, second = whole_run(MessageMaker(pub=1)), whole_run(MessageMaker(pub=2))
    found = Watched()(*first[:5], *second[7:]).found
    assert found["missed_readouts"] is AlarmLevel.CRITICAL


def test_readouts_missing_that_come_after_all_are_no_finding() -> None:
    first, second = whole_run(MessageMaker(pub=1)), whole_run(MessageMaker(pub=2))
    del first[4]
    found = Watched()(*first[:8], *second).found
    assert found["missed_readouts"] is AlarmLevel.OK
    assert found["sequence_gap"] is AlarmLevel.WARNING
    assert "run_totals" not in found


def test_bad_hits_and_ledgers_on_the_stream() -> None:
    maker = MessageMaker()
    watched = Watched()(
        maker.stat(chips=2),
        maker.hits(make_hits([(0, 0)], chip_id=2), (0, 0)),
        maker.hits(make_hits([(1, 0)], payload=4), (1, 1)),
        maker.stat(ledger=Ledger(bytes_read=100, idle=90, orphan=9)),
    )
    assert watched.found == {
        "impossible_address": AlarmLevel.WARNING,
        "payload": AlarmLevel.WARNING,
        "orphan_bytes": AlarmLevel.WARNING,
        "ledger_balance": AlarmLevel.CRITICAL,
    }


def test_time_stamps_on_the_stream() -> None:
    maker = MessageMaker()
    back = Watched()(
        maker.hits(make_hits([(0, 0)], timestamp=T0_NS), (0, 0)),
        maker.hits(make_hits([(1, 0)], timestamp=T0_NS - 1), (1, 1)),
        maker.hits(make_hits([(2, 0)], timestamp=T0_NS + 61 * 10**9), (2, 2)),
    )
    assert back.found == {"time_back": AlarmLevel.WARNING, "time_step": AlarmLevel.WARNING}


def test_state_and_log_of_the_daemon() -> None:
    maker = MessageMaker()
    assert Watched()(maker.stat("recovering", reason="board lost")).found == {"daemon_state": AlarmLevel.WARNING}
    watched = Watched()(maker.stat("error", reason="disk full"), maker.stat("error", reason="disk full"))
    assert watched.found == {"daemon_state": AlarmLevel.CRITICAL}
    assert [finding.count for finding in watched.findings] == [1]
    assert Watched()(maker.log("info", "run began")).found == {}
    assert Watched()(maker.log("warning", "slow")).found == {"daemon_log": AlarmLevel.OK}
    assert Watched()(maker.log("error", "disk full")).found == {"daemon_log": AlarmLevel.WARNING}


def test_a_run_that_failed_or_lost_its_board() -> None:
    maker = MessageMaker()
    gap = Gap(from_ns=1, to_ns=2, reason="cable")
    watched = Watched()(maker.run("begin", run_record(1)), maker.run("gap", run_record(1, gaps=(gap,))))
    assert watched.found == {"run_gaps": AlarmLevel.WARNING}
    watched(maker.run("end", run_record(1, state="failed", end_reason="disk full", gaps=(gap,))))
    assert watched.found == {"run_state": AlarmLevel.WARNING, "run_gaps": AlarmLevel.WARNING}
    assert [finding.count for finding in watched.findings] == [1, 1]


def test_nothing_at_all_is_noticed_once() -> None:
    watched = Watched()
    assert {finding.check for finding in watched.tick(4.9).findings} == set()
    assert watched.tick(0.2).tick(100).found == {"silence": AlarmLevel.WARNING}
    assert [finding.count for finding in watched.findings] == [1]


def test_silence_in_a_run_is_noticed_each_time() -> None:
    maker, watched = MessageMaker(), Watched()
    watched(maker.stat()).tick(6)
    watched(maker.stat()).tick(6)
    assert watched.found == {"silence": AlarmLevel.WARNING}
    assert [finding.count for finding in watched.findings] == [2]


def test_a_daemon_that_was_idle_and_went_away_is_info() -> None:
    assert Watched()(MessageMaker().stat("idle", run=None)).tick(6).found == {"silence": AlarmLevel.OK}


def test_no_hits_in_a_running_run() -> None:
    maker, watched = MessageMaker(), Watched(Limits(configured={"no_hits": {"max_s": 10}}))
    for _ in range(30):
        watched(maker.stat("configured")).tick(1)
    for _ in range(10):
        watched(maker.stat()).tick(1)
    assert watched.found == {}
    watched.tick(1)
    assert watched.found == {"no_hits": AlarmLevel.WARNING}


def hits_every(pause_s: int, number: int, watched: "Watched", maker: MessageMaker, first: int = 0) -> None:
    for readout in range(first, first + number):
        for _ in range(pause_s):
            watched(maker.stat()).tick(1)
        watched(maker.hits(make_hits([(readout, 0)], timestamp=T0_NS + round(watched.now * 10**9)), (readout, readout)))


def silent_s(watched: "Watched", maker: MessageMaker) -> int:
    """Seconds without hits until that is told."""
    for second in range(1, 5000):
        watched(maker.stat()).tick(1)
        if "no_hits" in {finding.check for finding in watched.findings}:
            return second
    raise AssertionError("no hits for an hour, and nobody said so")


@pytest.mark.parametrize(("pause_s", "told_s"), [(1, 61), (10, 143), (50, 615)])
def test_how_long_no_hits_are_usual_is_for_their_own_rate_to_say(pause_s: int, told_s: int) -> None:
    """At a tenth of a hit a second, known exactly, 128 s have a chance of a thousandth in an hour of them."""
    maker, watched = MessageMaker(), Watched()
    hits_every(pause_s, 60, watched, maker)
    assert watched.found == {}
    assert silent_s(watched, maker) == told_s


def test_the_rate_of_another_run_is_no_longer_believed_when_it_has_changed() -> None:
    maker, watched = MessageMaker(), Watched()
    hits_every(1, 200, watched, maker)
    watched(maker.stat("configured")).tick(10_000)
    watched(maker.stat("configured"))
    hits_every(30, 100, watched, maker, first=200)
    assert silent_s(watched, maker) == 373


def test_a_run_that_goes_silent_right_after_its_begin_is_told_of() -> None:
    maker, watched = MessageMaker(), Watched()
    hits_every(1, 2, watched, maker)
    assert silent_s(watched, maker) == 601


def test_nonsense_is_a_finding() -> None:
    watched = Watched()([b"hits", b"x", b"y"], MessageMaker().stat())
    assert watched.found == {"malformed": AlarmLevel.WARNING}


# ---- the program


@contextmanager
def sanity(publisher: TestPublisher, *arguments: str) -> Iterator[subprocess.Popen[str]]:
    command = [sys.executable, "-m", "monitor.sanity.cli", "--connect", publisher.endpoint, "--json", *arguments]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as process:
        try:
            publisher.wait_for_subscription(timeout_s=DEADLINE_S)
            yield process
        finally:
            process.kill()


def test_the_program_ends_after_the_run_and_says_that_all_is_well(publisher: TestPublisher) -> None:
    with sanity(publisher, "--runs", "1") as process:
        publisher.send(*whole_run(publisher.messages))
        out, err = process.communicate(timeout=DEADLINE_S)
    assert (process.returncode, err) == (0, "")
    summary = json.loads(out)
    assert summary["kind"] == "summary"
    assert summary["ok"]
    assert summary["checked"]["hits"] == 20


def test_findings_are_printed_as_they_come_and_summed_up_at_the_end(publisher: TestPublisher) -> None:
    with sanity(publisher) as process:
        publisher.send(publisher.messages.hits(make_hits([(0, 0)], row=20), (0, 0)))
        assert process.stdout is not None
        finding = json.loads(process.stdout.readline())
        assert (finding["kind"], finding["check"], finding["readout"]) == ("finding", "impossible_address", 0)
        process.send_signal(signal.SIGTERM)
        out, err = process.communicate(timeout=DEADLINE_S)
    assert (process.returncode, err) == (1, "")
    assert json.loads(out)["warning"] == 1


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_ends_it_in_good_order(publisher: TestPublisher, number: signal.Signals) -> None:
    with sanity(publisher) as process:
        publisher.send(publisher.messages.stat("idle", run=None), publisher.messages.log("critical", "seen"))
        assert process.stdout is not None
        process.stdout.readline()
        process.send_signal(number)
        out, err = process.communicate(timeout=DEADLINE_S)
    assert (process.returncode, err) == (1, "")
    assert json.loads(out)["critical"] == 1


def test_nothing_received_is_not_all_well_however_short_it_was() -> None:
    done = subprocess.run(
        [sys.executable, "-m", "monitor.sanity.cli", "--connect", "tcp://127.0.0.1:1", "--for", "0.1"],
        capture_output=True,
        text=True,
        timeout=DEADLINE_S,
        check=False,
    )
    assert (done.returncode, done.stderr) == (1, "")
    assert done.stdout.endswith("findings: 0 messages, 0 runs, 0 readouts, 0 hits; 1 warning\n")
