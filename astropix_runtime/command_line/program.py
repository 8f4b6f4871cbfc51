"""What all programs have in common: their parser, their exit codes, and how they report that they failed."""

import argparse
import sys
from collections.abc import Callable
from typing import Any, NoReturn

from astropix_runtime.command_line.output import drop_output, is_of_output

OK, FAILED, MISUSE = 0, 1, 2
INTERRUPTED = 130
"""As shells report a program that Ctrl-C ended."""

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
