"""What a program does when nobody reads its output any more, as in `apx info FILE | head`."""

import os
import sys
from contextlib import suppress


def drop_output() -> None:
    """Send what is still in the buffer of standard output nowhere, so that the interpreter's end does not complain."""
    with suppress(OSError, ValueError):
        stdout = sys.stdout.fileno()
        nowhere = os.open(os.devnull, os.O_WRONLY)
        os.dup2(nowhere, stdout)
        os.close(nowhere)
