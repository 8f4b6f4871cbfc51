"""docs/sanity.md says what the code does: its table is that of the checks, its example is a check that works.

`python -m tests.monitor.sanity.test_sanity_document` writes the table.
"""

import re
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from monitor.sanity.check import Limit
from monitor.sanity.check_runner import CheckRunner
from monitor.sanity.checks.catalogue import BUILT_IN, load_checks
from monitor.sanity.checks.event_checks import EVENT_CHECKS
from monitor.sanity.cli import main
from monitor.sanity.findings import severity
from monitor.sanity.snapshots import Snapshots
from protocol.wire.alarms import AlarmLevel
from tests.monitor.publishing import MessageMaker, StreamReader, make_hits
from tests.monitor.sanity.emulated_run import emulated, write_file

DOCUMENT = Path(__file__).parents[3] / "docs" / "sanity.md"
TABLE = re.compile(r"(<!-- checks: begin -->\n).*?(<!-- checks: end -->)", re.DOTALL)


def _limits(limits: tuple[Limit, ...]) -> str:
    return ", ".join(f"`{limit.name}` {limit.default:g}" for limit in limits)


def table() -> Iterator[str]:
    """The lines of the table."""
    yield "| check | level | what it finds | limits | from | what to do |"
    yield "|---|---|---|---|---|---|"
    for check in (*EVENT_CHECKS, *BUILT_IN):
        looks = check.function is not None
        alarms = check.level is not AlarmLevel.OK and not check.files_only
        mark = "*" * check.live_only + "†" * check.files_only
        limits = f"{_limits(check.limits)} [{check.in_a_row}]".strip() if alarms else ""
        since = [f"{check.minimum_hits} hits"] * bool(check.minimum_hits)
        since += [f"{check.minimum_live_s:g} s"] * bool(check.minimum_live_s)
        start = f"| `{check.name}`{mark} | {severity(check.level)} | {check.what} | {limits} |"
        yield f"{start} {', '.join(since) + ' ' if looks else ''}| {check.advice} |"


def test_the_table_is_that_of_the_checks() -> None:
    match = TABLE.search(DOCUMENT.read_text(encoding="utf-8"))
    assert match is not None
    assert match[0].splitlines()[1:-1] == list(table())


def test_every_check_has_a_name_of_its_own_and_words() -> None:
    names = [check.name for check in (*EVENT_CHECKS, *BUILT_IN)]
    assert len(set(names)) == len(names)
    for check in (*EVENT_CHECKS, *BUILT_IN):
        assert check.what[-1] != "."
        assert check.advice
        assert all(limit.what and limit.least <= limit.default <= limit.most for limit in check.limits)


def test_the_example_is_a_check_that_works(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    text = DOCUMENT.read_text(encoding="utf-8")
    module, config = (re.findall(rf"```{language}\n(.*?)```", text, re.DOTALL)[0] for language in ("python", "toml"))
    (tmp_path / "loud_chip.py").write_text(module)
    (tmp_path / "sanity.toml").write_text(config)
    loud = [[1, row, column, 20] for row in range(13) for column in range(16)]
    path = write_file(tmp_path / "a.apx", emulated(2, rate_hz=300, hot_pixels=loud), 60, chips=2)
    assert main(["-c", str(tmp_path / "sanity.toml"), "--once", str(path)]) == 1
    assert "warning  loud_chip" in capsys.readouterr().out
    assert main(["-c", str(tmp_path / "sanity.toml"), "--list"]) == 0
    assert "loud_chip" in capsys.readouterr().out
    snapshots, reader = Snapshots(), StreamReader()
    event = reader.read(MessageMaker().hits(make_hits([(0, order) for order in range(2000)], chip_id=1), (0, 0)))
    assert event is not None
    snapshots.feed(event)
    seen = replace(snapshots.take(1, reader.counters), live_s=10.0)
    (outcome,) = CheckRunner(load_checks("loud_chip.py", tmp_path)).look(seen)
    assert outcome.check.name == "loud_chip"
    assert [result.subject for result in outcome.results or ()] == ["chip 1"]


if __name__ == "__main__":
    written = TABLE.sub(lambda match: match[1] + "\n".join(table()) + "\n" + match[2], DOCUMENT.read_text("utf-8"))
    DOCUMENT.write_text(written, "utf-8")
