"""Colour, progress bars and lines of text that are safe for a terminal."""

import os
import stat
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from functools import lru_cache
from pathlib import Path
from typing import TextIO

from rich.color import ColorSystem
from rich.console import Console
from rich.progress import BarColumn, DownloadColumn, Progress, TextColumn, TimeRemainingColumn
from rich.style import Style

from protocol.text import printable
from protocol.units import NS_PER_S

COLOUR_CHOICES = ("auto", "always", "never")


def wants_colour(choice: str, stream: TextIO) -> bool:
    """Whether to write colours to `stream`: `choice` is one of `COLOUR_CHOICES`; auto means on a terminal only.

    The environment variable NO_COLOR, when not empty, turns auto into never (https://no-color.org).
    """
    if choice != "auto":
        return choice == "always"
    return stream.isatty() and not os.environ.get("NO_COLOR") and os.environ.get("TERM") != "dumb"


def is_file(stream: TextIO) -> bool:
    """Whether what is written to `stream` is kept in a file, and nobody looks at it as it comes."""
    try:
        return stat.S_ISREG(os.fstat(stream.fileno()).st_mode)
    except (OSError, ValueError):
        return False


@lru_cache
def _style(definition: str) -> Style:
    return Style.parse(definition)


def styled(text: str, definition: str, colour: bool) -> str:
    """`text` with the escape sequences of a rich style around it, or as it is without colour."""
    return _style(definition).render(text, color_system=ColorSystem.STANDARD) if colour else text


def moment(timestamp_ns: int) -> str:
    """A time stamp in UTC, as ISO 8601 with nanoseconds; as a plain number where it is no date."""
    seconds, nanoseconds = divmod(timestamp_ns, NS_PER_S)
    try:
        return f"{datetime.fromtimestamp(seconds, UTC):%Y-%m-%dT%H:%M:%S}.{nanoseconds:09d}Z"
    except (OverflowError, ValueError, OSError):
        return f"{timestamp_ns} ns"


def say(text: str) -> None:
    """One line on stdout."""
    print(printable(text))


def complain(text: str) -> None:
    """One line on stderr, with the program's name."""
    print(f"apx: {printable(text)}", file=sys.stderr)


@contextmanager
def progress(path: Path, size_bytes: int) -> Iterator[Callable[[int], None]]:
    """A bar on stderr for work on the file `path`, when stderr is a terminal; gives a function to move it.

    The function takes the bytes done so far. The bar is gone when the work is.
    """
    if not wants_colour("auto", sys.stderr) or size_bytes <= 0:
        yield lambda done_bytes: None
        return
    columns = (
        TextColumn("{task.description}", markup=False),
        BarColumn(),
        DownloadColumn(),
        TimeRemainingColumn(),
    )
    with Progress(*columns, console=Console(stderr=True), transient=True) as bar:
        task = bar.add_task(printable(path.name), total=size_bytes)
        yield lambda done_bytes: bar.update(task, completed=done_bytes)
