"""How entries of the log look in each format."""

import json
import logging
import os
import sys
from pathlib import Path

import pytest

from astropix_runtime.process.logs import Format, chosen_format, make_formatter, set_up_logging
from daqd.configuration.config import LogSection


def entry(chosen: Format, level: int, message: str, *args: object, run: int | None = None) -> str:
    record = logging.LogRecord("daqd.x", level, "x.py", 1, message, args, None)
    record.created = 1_700_000_000.25
    return make_formatter(chosen, lambda: run).format(record)


def test_text() -> None:
    assert entry("text", logging.INFO, "run %d began", 3) == "2023-11-14T22:13:20Z INFO daqd.x: run 3 began"
    assert entry("text", logging.INFO, "a\n2023-11-14T22:13:21Z ERROR b\x1b[2J\r\u2028µ") == (
        "2023-11-14T22:13:20Z INFO daqd.x: a\n    2023-11-14T22:13:21Z ERROR b\\x1b[2J\\r\\u2028µ"
    )


@pytest.mark.parametrize(
    ("level", "priority"),
    [("CRITICAL", 2), ("ERROR", 3), ("WARNING", 4), ("INFO", 6), ("DEBUG", 7)],
)
def test_journal(level: str, priority: int) -> None:
    said = entry("journal", logging.getLevelName(level), "a\n<0>b")
    assert said == f"<{priority}>daqd.x: a\n<{priority}>    <0>b"


def test_json() -> None:
    line = entry("json", logging.WARNING, 'two\nlines\x85 "%s"\ud800', "µ", run=12)
    assert line.isascii()
    assert len(line.splitlines()) == 1
    values = json.loads(line)
    assert values.pop("process") == os.getpid()
    assert values.pop("thread") == "MainThread"
    assert values == {
        "time": "2023-11-14T22:13:20.250Z",
        "level": "warning",
        "logger": "daqd.x",
        "message": 'two\nlines\x85 "µ"\ud800',
        "run": 12,
    }


def test_json_with_a_trace() -> None:
    try:
        raise ValueError("wrong")
    except ValueError:
        record = logging.LogRecord("daqd.x", logging.ERROR, "x.py", 1, "failed", (), sys.exc_info())
    line = make_formatter("json").format(record)
    assert len(line.splitlines()) == 1
    assert json.loads(line)["error"].startswith("Traceback")
    assert json.loads(line)["error"].endswith("ValueError: wrong")


def test_the_journal_is_recognised(tmp_path: Path) -> None:
    with (tmp_path / "a").open("w") as file, (tmp_path / "b").open("w") as other:
        status = os.fstat(file.fileno())
        stream = {"JOURNAL_STREAM": f"{status.st_dev}:{status.st_ino}"}
        assert chosen_format(stream, file.fileno()) == "journal"
        assert chosen_format(stream, other.fileno()) == "text"
        assert chosen_format({}, file.fileno()) == "text"
    assert chosen_format(stream, -1) == "text"


def test_level_and_format_of_the_configuration(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    root = logging.getLogger()
    monkeypatch.setattr(root, "handlers", [])
    before = root.level
    try:
        set_up_logging(LogSection(level="warning", format="journal"))
        logging.getLogger("daqd.x").info("no")
        logging.getLogger("daqd.x").warning("yes")
    finally:
        root.setLevel(before)
    assert capsys.readouterr().err == "<4>daqd.x: yes\n"
