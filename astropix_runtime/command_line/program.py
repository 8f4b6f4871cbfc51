"""What all programs have in common: parser, exit codes, reports of failures, and the care of standard output.

Standard output may be closed, full, or read by nobody any more, as in `apx info FILE | head`.
"""

import argparse
import io
import os
import sys
from collections.abc import Callable
from contextlib import suppress
from typing import Any, NoReturn, TextIO

OK, FAILED, MISUSE = 0, 1, 2
INTERRUPTED = 130
"""As shells report a program that Ctrl-C ended."""

_STDOUT_NAME = "standard output"

Errors = type[Exception] | tuple[type[Exception], ...]


class ProgramParser(argparse.ArgumentParser):
    """A parser whose help keeps the lines of its examples, and that gives a program its exit code."""

    def __init__(self, **options: Any) -> None:
        super().__init__(formatter_class=argparse.RawDescriptionHelpFormatter, **options)

    def complain(self, text: str, code: int = FAILED) -> None:
        """Print why the program ends with exit code `code`: on stderr, the program's name before each line."""
        for line in text.splitlines():
            print(f"{self.prog}: {line}", file=sys.stderr)

    def run(
        self,
        work: Callable[[], int],
        errors: Errors,
        code_of: Callable[[Any], int],
        *,
        interrupted: int = INTERRUPTED,
        unread: int = OK,
    ) -> int:
        """Exit code of `work`. One of `errors` is reported, and `code_of` gives its code.

        `interrupted`: the code after Ctrl-C; `unread`: the code where nobody reads standard output any more, as in
        `apx dump … | head`. An error of standard output itself goes on: `astropix_programs` reports it.
        """
        try:
            code = work()
            sys.stdout.flush()
        except BrokenPipeError:
            drop_output()
            return unread
        except KeyboardInterrupt:
            return interrupted
        except errors as error:
            if isinstance(error, OSError) and is_of_output(error):
                raise
            code = code_of(error)
            self.complain(str(error), code)
        return code


class OneLineParser(ProgramParser):
    """A parser that takes options in full only, and whose errors are one line that names the help."""

    def __init__(self, **options: Any) -> None:
        super().__init__(allow_abbrev=False, **options)

    def error(self, message: str) -> NoReturn:
        """End with exit code 2."""
        self.complain(message, MISUSE)
        self.exit(MISUSE)

    def complain(self, text: str, code: int = FAILED) -> None:
        """As of any program; a single mistake in the command names the help, too."""
        hint = f" (see {self.prog} --help)" if code == MISUSE and len(text.splitlines()) == 1 else ""
        super().complain(text + hint, code)


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
    return error if isinstance(error, BrokenPipeError) else OSError(error.errno, error.strerror, _STDOUT_NAME)


def is_of_output(error: OSError) -> bool:
    """Whether standard output is what failed."""
    return bool(error.filename == _STDOUT_NAME)


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
