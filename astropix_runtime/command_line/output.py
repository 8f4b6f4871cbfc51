"""Standard output: closed, full, or read by nobody any more, as in `apx info FILE | head`."""

import io
import os
import sys
from contextlib import suppress
from typing import TextIO

_NAME = "standard output"


class NamedOutput(io.TextIOWrapper):
    """Standard output whose errors carry its name, so that nobody takes them for those of a file."""

    def write(self, text: str) -> int:
        """As of any text file; `OSError` with the name of standard output, but `BrokenPipeError` as it is."""
        try:
            return super().write(text)
        except OSError as error:
            raise _named(error) from None

    def flush(self) -> None:
        """As `write`."""
        try:
            super().flush()
        except OSError as error:
            raise _named(error) from None


def _named(error: OSError) -> OSError:
    return error if isinstance(error, BrokenPipeError) else OSError(error.errno, error.strerror, _NAME)


def is_of_output(error: OSError) -> bool:
    """Whether standard output is what failed."""
    return bool(error.filename == _NAME)


def prepare_streams() -> None:
    """Name the errors of standard output; closed standard streams lead to the null device.

    (Otherwise the next file or socket that is opened gets their number, and what is printed goes there.)
    """
    while (descriptor := os.open(os.devnull, os.O_RDWR)) <= 2:
        os.set_inheritable(descriptor, True)
    os.close(descriptor)
    sys.stdout = sys.stdout or _nowhere(1)
    sys.stderr = sys.stderr or _nowhere(2)
    if type(sys.stdout) is io.TextIOWrapper:
        old = sys.stdout
        options = {name: getattr(old, name) for name in ("encoding", "errors", "line_buffering", "write_through")}
        sys.stdout = NamedOutput(old.detach(), **options)
        sys.__stdout__ = sys.stdout  # type: ignore[misc]  # nobody can use the old one any more


def _nowhere(descriptor: int) -> TextIO:
    return os.fdopen(descriptor, "w", encoding="utf-8", closefd=False)


def drop_output() -> None:
    """Discard what is still in the buffer of standard output, so that the interpreter does not complain at its end."""
    with suppress(OSError, ValueError):
        stdout = sys.stdout.fileno()
        nowhere = os.open(os.devnull, os.O_WRONLY)
        os.dup2(nowhere, stdout)
        os.close(nowhere)
