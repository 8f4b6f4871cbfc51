"""Every check has a test in which the emulated board, or what is around it, does what it looks for.

A test says with the mark `finds` which checks that is; the last one here holds all marks against the list of checks.
"""

from collections.abc import Callable, Iterable
from importlib import import_module
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from monitor.sanity.check import Limits
from monitor.sanity.checks import event_checks
from monitor.sanity.configuration import default_configuration
from monitor.sanity.findings import Notice
from monitor.sanity.live import LiveChecks
from monitor.sanity.recorded.recorded_files import RecordedChecks
from protocol.astropix3_readout import AstroPix3Readout
from protocol.hit import HitTable
from protocol.readout import AstroPix4Readout
from protocol.readout_description import ReadoutDescription
from protocol.run_record import Gap
from tests.monitor.publishing import MessageMaker, StreamReader, run_record
from tests.monitor.sanity.emulated_run import T0_NS, Board, blocks, emulated, write_file

S = 1_000_000_000
RATE_HZ = 20
RUN_S = 200.0
"""Ten messages of hits."""

ELSEWHERE = (
    "tests.monitor.sanity.test_every_check",
    "tests.monitor.sanity.test_detector_checks",
    "tests.monitor.sanity.test_frame_checks",
    "tests.monitor.sanity.test_reference",
    "tests.monitor.sanity.test_alarm_service",
    "tests.system.test_alarms",
    "tests.system.test_daemon_in_trouble",
    "tests.system.test_misbehaving_board",
)
"""Modules in which there are tests with that mark."""

Messages = list[list[bytes]]


@pytest.fixture
def claimed(request: pytest.FixtureRequest) -> set[str]:
    """What the test says that it finds."""
    return {name for mark in request.node.iter_markers("finds") for name in mark.args}


def published(
    board: Board | None = None, pub: int = 1, change: Callable[[HitTable], None] = lambda hits: None, **end: Any
) -> Messages:
    """A run of the emulated board as a publisher tells it. `change`: what becomes of the hits on the way."""
    maker, decoder = MessageMaker(pub), AstroPix4Readout.make_decoder(ReadoutDescription(chips=1))
    messages = [maker.run("begin", run_record(1, chips=1, begin_ns=T0_NS))]
    for block in blocks(board or emulated(1, rate_hz=RATE_HZ), RUN_S):
        hits = decoder.decode(block)
        change(hits)
        maker.t = int(block.timestamp[-1])
        messages.append(maker.hits(hits, (int(block.readout_id[0]), int(block.readout_id[-1]))))
        messages.append(maker.stat(ledger=decoder.ledger, chips=1))
    ledger = decoder.ledger.to_dict() | end.pop("ledger", {})
    messages.append(maker.run("end", run_record(1, **({"state": "finished", "ledger": ledger} | end))))
    return messages


def found(messages: Messages, then: Callable[[LiveChecks, float], Iterable[Notice]] | None = None) -> set[str]:
    """Checks that noticed something; `then`: what follows, from that time on."""
    reader, checks, now = StreamReader(), LiveChecks(Limits(), 0.0), 0.0
    told: list[Notice] = []
    for frames in messages:
        event = reader.read(frames)
        if event is not None:
            told += [notice for _, notice in checks.feed(event, now)]
        now += 1.0
        told += [notice for _, notice in checks.tick(now, reader.counters.malformed, reader.last_error)]
    if then is not None:
        told += then(checks, now)
    return {notice.check.name for notice in told}


def found_in_files(*paths: Path) -> set[str]:
    return {notice.check.name for _, notice in RecordedChecks(Limits()).check(paths)}


def test_a_run_in_order_finds_nothing(tmp_path: Path) -> None:
    assert found(published()) == set()
    assert found_in_files(write_file(tmp_path / "a.apx", emulated(1, rate_hz=RATE_HZ), RUN_S, chips=1)) == set()


# ---- on the way to the monitor


@pytest.mark.finds("sequence_gap", "missed_readouts")
def test_messages_that_are_lost(claimed: set[str]) -> None:
    messages = published()
    del messages[5]
    assert found(messages) == claimed


@pytest.mark.finds("run_totals")
def test_a_last_message_that_is_lost(claimed: set[str]) -> None:
    messages = published()
    del messages[-3]
    assert claimed <= found(messages)


@pytest.mark.finds("publisher_restart", "duplicates")
def test_a_publisher_that_is_started_again(claimed: set[str]) -> None:
    assert found([*published()[:8], *published(pub=2)]) == claimed


@pytest.mark.finds("joined_late")
def test_a_run_under_way(claimed: set[str]) -> None:
    assert found(published()[6:]) == claimed


@pytest.mark.finds("malformed")
def test_what_is_no_message(claimed: set[str]) -> None:
    assert found([*published(), [b"hits", b"x", b"y"]]) == claimed


@pytest.mark.finds("silence")
def test_a_daemon_that_falls_silent(claimed: set[str]) -> None:
    assert found(published(), lambda checks, now: [notice for _, notice in checks.tick(now + 6.0)]) == claimed


@pytest.mark.finds("no_hits")
def test_a_board_that_sends_no_more(claimed: set[str]) -> None:
    maker = MessageMaker()
    maker.seq["stat"] = 10
    messages = published()[:-1]
    assert found(messages + [maker.stat() for _ in range(70)]) == claimed


# ---- what the daemon says


@pytest.mark.finds("daemon_log")
def test_a_daemon_that_logs_an_error(claimed: set[str]) -> None:
    assert found([*published(), MessageMaker().log("error", "the board does not answer")]) == claimed


@pytest.mark.finds("run_gaps", "run_state")
def test_a_run_that_ends_with_the_board_gone(claimed: set[str]) -> None:
    gaps = (Gap(from_ns=T0_NS, to_ns=None, reason="cable"),)
    assert found(published(state="failed", end_reason="cable", gaps=gaps)) == claimed


@pytest.mark.finds("ledger_balance")
def test_a_publisher_that_miscounts(claimed: set[str]) -> None:
    assert found(published(ledger={"bytes_read": 1})) == claimed


@pytest.mark.finds("payload")
def test_a_publisher_that_decodes_what_is_no_hit(claimed: set[str]) -> None:
    def change(hits: HitTable) -> None:
        hits["payload"][3] = 4

    assert found(published(change=change)) == claimed


# ---- the bytes of the board


def misbehaving(**misbehave: float) -> Board:
    return emulated(1, rate_hz=RATE_HZ, misbehave=misbehave)


@pytest.mark.finds("tot_zero")
def test_hits_of_no_duration(claimed: set[str], tmp_path: Path) -> None:
    assert found(published(misbehaving(tot_zero=0.01))) == claimed
    path = write_file(tmp_path / "a.apx", misbehaving(tot_zero=0.01), RUN_S, chips=1)
    assert found_in_files(path) == claimed


@pytest.mark.finds("impossible_address")
def test_hits_in_rows_that_are_not_there(claimed: set[str]) -> None:
    assert found(published(misbehaving(wrong_rows=0.01))) == claimed


@pytest.mark.finds("tot_range")
def test_hits_longer_than_allowed(claimed: set[str], tmp_path: Path) -> None:
    path = write_file(tmp_path / "a.apx", emulated(1, rate_hz=RATE_HZ, tot_mean_us=900), 20, chips=1)
    told = RecordedChecks(Limits(configured={"tot_range": {"max_us": 800.0}})).check([path])
    assert {notice.check.name for _, notice in told} == claimed


@pytest.mark.finds("orphan_bytes")
def test_garbage(claimed: set[str]) -> None:
    assert claimed <= found(published(misbehaving(garbage=0.1)))


@pytest.mark.finds("restored_hits")
def test_hits_whose_end_goes_with_the_padding(claimed: set[str]) -> None:
    """Their last byte is that of padding, and nothing comes behind it."""
    hit = bytes.fromhex("e010c2ad092271ff")
    sent = emulated(1, rate_hz=RATE_HZ)

    def board(elapsed_s: float) -> bytes:
        data = sent(elapsed_s)
        return data + hit.rstrip(b"\xff") if data else data

    assert claimed <= found(published(board))


# ---- the clock of the computer


def clock_set(by_s: float) -> Callable[[HitTable], None]:
    """Set in the middle of the run."""

    def change(hits: HitTable) -> None:
        late = hits["timestamp"] > T0_NS + round(RUN_S / 2) * S
        hits["timestamp"][late] += np.uint64(by_s * S) if by_s > 0 else 0
        hits["timestamp"][late] -= np.uint64(-by_s * S) if by_s < 0 else 0

    return change


@pytest.mark.finds("time_back")
def test_a_clock_that_is_set_back(claimed: set[str]) -> None:
    assert found(published(change=clock_set(-30))) == claimed


@pytest.mark.finds("time_step")
def test_a_clock_that_is_set_ahead(claimed: set[str]) -> None:
    assert found(published(change=clock_set(100))) == claimed


@pytest.mark.finds("no_time")
def test_readouts_that_lost_their_time(claimed: set[str]) -> None:
    def change(hits: HitTable) -> None:
        hits["timestamp"][3:5] = 0

    assert found(published(change=change)) == claimed


@pytest.mark.finds("readout_back")
def test_readouts_that_come_again(claimed: set[str]) -> None:
    def change(hits: HitTable) -> None:
        hits["readout_id"][6] = hits["readout_id"][0]

    assert claimed <= found(published(change=change))


# ---- files


@pytest.mark.finds("cut_file", "unreadable")
def test_files_that_are_damaged(claimed: set[str], tmp_path: Path) -> None:
    cut = write_file(tmp_path / "a.apx", emulated(1, rate_hz=RATE_HZ), 20, chips=1)
    none = tmp_path / "b.apx"
    none.write_bytes(cut.read_bytes()[:5])
    cut.write_bytes(cut.read_bytes()[:-5])
    assert found_in_files(cut, none) == claimed


@pytest.mark.finds("readout_jump")
def test_a_file_that_is_left_out(claimed: set[str], tmp_path: Path) -> None:
    whole = write_file(tmp_path / "a.apx", emulated(1, rate_hz=RATE_HZ), 20, chips=1)
    data = whole.read_bytes()
    mark = b"\xfe\xdc\xba"
    begins = [index for index in range(len(data)) if data.startswith(mark, index)]
    whole.write_bytes(data[: begins[10]] + data[begins[12] :])
    assert claimed <= found_in_files(whole)


def test_version_3_in_order_finds_nothing(tmp_path: Path) -> None:
    board = emulated(1, version=3, rate_hz=RATE_HZ)
    assert found_in_files(write_file(tmp_path / "a.apx", board, 60, AstroPix3Readout, chips=1)) == set()


# ---- all of them


def test_every_check_has_a_test_that_makes_it_find_something() -> None:
    marked = set()
    for name in ELSEWHERE:
        for test in vars(import_module(name)).values():
            marks = getattr(test, "pytestmark", ())
            marked |= {check for mark in marks if mark.name == "finds" for check in mark.args}
    every = {check.name for check in event_checks.EVENT_CHECKS} | {
        check.name for check in default_configuration().all_checks
    }
    assert marked == every
