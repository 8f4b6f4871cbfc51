"""Findings as text for a person, or as JSON for a program."""

import json
import sys
from collections.abc import Sequence
from datetime import UTC, datetime
from typing import TextIO

from pydantic import BaseModel, ConfigDict

from monitor.sanity.alarms.engine import AlarmTransition
from monitor.sanity.findings import Finding, Findings, Notice, Place, severity
from monitor.sanity.recorded.run_quality import RunQuality
from protocol.text import counted
from protocol.wire.alarms import Alarm, AlarmLevel

MAX_LINES = 50
"""Findings listed in the summary; JSON has them all."""


class Summary(BaseModel):
    """What there is to say at the end. `ok`: nothing worse than info. `checked`: what was looked at, and how much."""

    model_config = ConfigDict(frozen=True)

    ok: bool
    interrupted: bool
    checked: dict[str, int]
    info: int
    warning: int
    critical: int
    forgotten: int
    findings: list[Finding]
    runs: list[RunQuality] = []


def alarm_line(alarm: Alarm) -> str:
    """One line for a person: how bad it is, what it is, and what to do."""
    figures = f" [{alarm.figures}]" if alarm.figures else ""
    level = f"{alarm.level} (was {alarm.worst})" if alarm.level is AlarmLevel.OK else str(alarm.level)
    return f"{level} {alarm.id}: {alarm.text}{figures} → {alarm.advice}"


class Report:
    """Collects what the checks notice, and prints it to `out`.

    `as_json`: one JSON object a line, `{"kind": "finding", …}` as they come and `{"kind": "summary", …}` at the end;
    else lines of text. `live`: print findings as they come; else only the summary.
    """

    def __init__(self, *, as_json: bool = False, live: bool = True, out: TextIO | None = None) -> None:
        self.findings = Findings()
        self._as_json = as_json
        self._live = live
        self._out = out or sys.stdout
        self.alarmed = False
        """Whether alarms were on: then all was not well, whatever was found besides."""

    @property
    def exit_code(self) -> int:
        """0 where nothing is worse than info and no alarm was on, else 1."""
        return 1 if self.alarmed or self.findings.worst in (AlarmLevel.WARNING, AlarmLevel.CRITICAL) else 0

    def note(self, place: Place, notice: Notice, now_ns: int) -> None:
        """Take in what a check noticed; print it where it is new."""
        finding = self.findings.note(notice, place, now_ns)
        if finding is None or not self._live:
            return
        if self._as_json:
            self._print(f'{{"kind":"finding",{finding.model_dump_json()[1:]}')
        else:
            at = datetime.fromtimestamp(now_ns / 1e9, UTC)
            self._print(f"{at:%Y-%m-%dT%H:%M:%SZ} {finding.line()}")

    def announce(self, transition: AlarmTransition) -> None:
        """Print what became of an alarm."""
        if self._as_json:
            line = {"kind": "alarm", "event": transition.kind, "t": transition.t}
            self._print(json.dumps(line | {"alarm": transition.alarm.model_dump(mode="json")}, ensure_ascii=False))
        else:
            at = datetime.fromtimestamp(transition.t / 1e9, UTC)
            self._print(f"{at:%Y-%m-%dT%H:%M:%SZ} alarm {transition.kind}: {alarm_line(transition.alarm)}")

    def summary(self, checked: dict[str, int], interrupted: bool, runs: Sequence[RunQuality] = ()) -> Summary:
        """What there is to say so far."""
        counts = self.findings.counts()
        return Summary(
            ok=self.exit_code == 0,
            interrupted=interrupted,
            checked=checked,
            info=counts[AlarmLevel.OK],
            warning=counts[AlarmLevel.WARNING],
            critical=counts[AlarmLevel.CRITICAL],
            forgotten=self.findings.forgotten,
            findings=list(self.findings),
            runs=list(runs),
        )

    def finish(self, checked: dict[str, int], *, interrupted: bool = False, runs: Sequence[RunQuality] = ()) -> None:
        """Print the summary; `runs`: in numbers."""
        summary = self.summary(checked, interrupted, runs)
        if self._as_json:
            self._print(f'{{"kind":"summary",{summary.model_dump_json()[1:]}')
        else:
            self._print_text(summary)

    def _print_text(self, summary: Summary) -> None:
        worst_first = sorted(summary.findings, key=lambda finding: -finding.level.rank)
        for finding in worst_first[:MAX_LINES]:
            self._print(finding.line())
        if len(worst_first) > MAX_LINES:
            self._print(f"… and {len(worst_first) - MAX_LINES} more; --json has them all")
        for run in summary.runs[:MAX_LINES]:
            self._print(run.line())
        if len(summary.runs) > MAX_LINES:
            self._print(f"… and {len(summary.runs) - MAX_LINES} more runs; --json has them all")
        what = ", ".join(counted(number, name.removesuffix("s")) for name, number in summary.checked.items())
        levels = ", ".join(
            f"{number} {severity(level)}"
            for level, number in (
                (AlarmLevel.CRITICAL, summary.critical),
                (AlarmLevel.WARNING, summary.warning),
                (AlarmLevel.OK, summary.info),
            )
            if number
        )
        verdict = "alarms" if self.alarmed else "all well" if summary.ok else "findings"
        self._print(f"{verdict}: {what}" + (f"; {levels}" if levels else ""))

    def _print(self, line: str) -> None:
        print(line, file=self._out, flush=True)
