"""The log of a daemon: it goes to standard error, and what the operator should read also to the stream.

Entries may quote others (comments, boards, clients). A line break in a quotation does not begin a new entry, and
nothing in it reaches a terminal as a command.
"""

import json
import logging
import os
import sys
import time
from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from typing import Any, Literal

from astropix_runtime.configuration import LogSection
from protocol.text import printable
from protocol.wire.messages import LogLine

_TEXT = "%(asctime)s %(levelname)s %(name)s: %(message)s"
_JOURNAL = "%(name)s: %(message)s"
_CONTINUED = "\n    "

_PRIORITIES = ((logging.CRITICAL, 2), (logging.ERROR, 3), (logging.WARNING, 4), (logging.INFO, 6), (logging.NOTSET, 7))
"""Levels of Python, and from each on upwards the priority of syslog(3)."""

Format = Literal["text", "journal", "json"]


def set_up_logging(section: LogSection, run: Callable[[], int | None] = lambda: None) -> None:
    """Log to standard error, UTC times. `run()`: the run that is being taken, for the formats that show it."""
    handler = logging.StreamHandler(sys.stderr)
    chosen = chosen_format() if section.format == "auto" else section.format
    handler.setFormatter(make_formatter(chosen, run))
    root = logging.getLogger()
    root.handlers[:] = [handler]
    root.setLevel(section.level.upper())


def chosen_format(environment: Mapping[str, str] = os.environ, descriptor: int = 2) -> Format:
    """`journal` where `descriptor` is the pipe into the journal that the service manager names, else `text`."""
    try:
        status = os.fstat(descriptor)
    except OSError:
        return "text"
    into_journal = environment.get("JOURNAL_STREAM") == f"{status.st_dev}:{status.st_ino}"
    return "journal" if into_journal else "text"


def make_formatter(chosen: Format, run: Callable[[], int | None] = lambda: None) -> logging.Formatter:
    """What makes lines out of entries."""
    match chosen:
        case "text":
            formatter: logging.Formatter = TextFormatter(_TEXT, "%Y-%m-%dT%H:%M:%SZ")
            formatter.converter = time.gmtime
            return formatter
        case "journal":
            return JournalFormatter(_JOURNAL)
        case "json":
            return JsonFormatter(run)


class TextFormatter(logging.Formatter):
    """Lines for people. What has more than one line is indented from the second on."""

    def format(self, record: logging.LogRecord) -> str:
        """One entry."""
        return _CONTINUED.join(map(_safe_line, super().format(record).split("\n")))


class JournalFormatter(logging.Formatter):
    """Lines for the journal, which takes the time itself: each begins with the priority, `<6>` (sd-daemon(3))."""

    def format(self, record: logging.LogRecord) -> str:
        """One entry; the journal makes one of each of its lines."""
        priority = next(number for level, number in _PRIORITIES if record.levelno >= level)
        first, *more = map(_safe_line, super().format(record).split("\n"))
        return "\n".join([f"<{priority}>{first}", *(f"<{priority}>    {line}" for line in more)])


class JsonFormatter(logging.Formatter):
    """One JSON object a line, all in ASCII; docs/operations.md, "Logs", says what is in it."""

    def __init__(self, run: Callable[[], int | None]) -> None:
        super().__init__()
        self._run = run

    def format(self, record: logging.LogRecord) -> str:
        """One entry."""
        moment = datetime.fromtimestamp(record.created, UTC).isoformat(timespec="milliseconds")
        entry: dict[str, Any] = {
            "time": moment.replace("+00:00", "Z"),
            "level": record.levelname.lower(),
            "logger": record.name,
            "message": record.getMessage(),
            "run": self._run(),
            "process": record.process,
            "thread": record.threadName,
        }
        if record.exc_info:
            entry["error"] = self.formatException(record.exc_info)
        return json.dumps(entry)


def _safe_line(line: str) -> str:
    """`line` with its tabs as they are and all else that is not printable written out."""
    return "\t".join(map(printable, line.split("\t")))


class OperatorLog(logging.Handler):
    """Gives what the operator should read (information and worse) to `send`, which may be called from any thread."""

    def __init__(self, send: Callable[[LogLine], None]) -> None:
        super().__init__(logging.INFO)
        self._send = send

    def emit(self, record: logging.LogRecord) -> None:
        """Called by `logging`."""
        try:
            self._send(LogLine.model_validate({"level": record.levelname.lower(), "text": record.getMessage()}))
        except Exception:  # a log must never stop the daemon
            self.handleError(record)
