"""Findings: the first occurrence and a count, and no flood."""

from typing import Any

from monitor.sanity.check import Check, CheckResult
from monitor.sanity.checks import event_checks
from monitor.sanity.findings import Findings, Notice, Place
from protocol.wire.alarms import AlarmLevel

RUN = Place(run=3)


def noticed(check: Check, text: str, subject: str = "", **values: Any) -> Notice:
    return Notice(check, CheckResult(subject, text, **values))


def test_the_same_thing_is_one_finding_printed_at_each_tenfold_count() -> None:
    findings = Findings()
    printed = [
        finding.count
        for number in range(1, 2001)
        if (finding := findings.note(noticed(event_checks.TIME_BACK, f"no. {number}", readout=number), RUN, number))
    ]
    assert printed == [1, 10, 100, 1000]
    (finding,) = findings
    assert (finding.count, finding.text, finding.readout, finding.first_seen_ns) == (2000, "no. 1", 1, 1)


def test_a_total_replaces_what_was_counted_before_and_may_get_better() -> None:
    findings = Findings()
    findings.note(noticed(event_checks.TOT_ZERO, "5 of 10", count=5, cumulative=True), RUN, 0)
    assert findings.worst is AlarmLevel.WARNING
    findings.note(noticed(event_checks.TOT_ZERO, "6 of 10000", count=6, cumulative=True, level=AlarmLevel.OK), RUN, 0)
    (finding,) = findings
    assert (finding.count, finding.text, finding.level) == (6, "6 of 10000", AlarmLevel.OK)
    assert findings.worst is AlarmLevel.OK


def test_getting_worse_is_printed() -> None:
    findings = Findings()
    assert findings.note(noticed(event_checks.ORPHAN_BYTES, "a few", cumulative=True, level=AlarmLevel.OK), RUN, 0)
    assert findings.note(noticed(event_checks.ORPHAN_BYTES, "many", cumulative=True), RUN, 0)
    assert not findings.note(noticed(event_checks.ORPHAN_BYTES, "a few", cumulative=True, level=AlarmLevel.OK), RUN, 0)


def test_runs_files_and_subjects_are_told_apart() -> None:
    findings = Findings()
    for place in (RUN, Place(run=4), Place(run=3, pass_=1), Place(file="a.apx")):
        assert findings.note(noticed(event_checks.DAEMON_LOG, "x", subject="x"), place, 0)
    assert findings.note(noticed(event_checks.DAEMON_LOG, "y", subject="y"), RUN, 0)
    assert len(findings) == 5


def test_subjects_without_end_are_summed_up() -> None:
    findings = Findings()
    for number in range(1000):
        findings.note(noticed(event_checks.DAEMON_LOG, str(number), subject=str(number)), RUN, 0)
    assert len(findings) == Findings.SUBJECTS_PER_CHECK + 1
    assert sum(finding.count for finding in findings) == 1000


def test_memory_is_bounded_and_the_worst_is_not_forgotten() -> None:
    findings = Findings(limit=10)
    findings.note(noticed(event_checks.MISSED_READOUTS, "x"), RUN, 0)
    for run in range(100):
        findings.note(noticed(event_checks.DUPLICATES, "x"), Place(run=run), 0)
    assert (len(findings), findings.forgotten) == (10, 91)
    assert findings.worst is AlarmLevel.CRITICAL


def test_a_line_says_what_where_how_often_and_what_to_do() -> None:
    findings = Findings()
    finding = findings.note(
        noticed(event_checks.READOUT_JUMP, "12 comes after 8", count=3, readout=12), Place(7, 1, "a.apx"), 0
    )
    assert finding is not None
    assert finding.line() == (
        "critical readout_jump (a.apx, run 7 pass 1, readout 12): 12 comes after 8 [x 3] → "
        + event_checks.READOUT_JUMP.advice
    )
