"""How what a child says on its standard error gets into the daemon's log: `say` there, `relay` here.

Lines may begin with a priority, as in the journal: `<3>`. Others, from libraries or the interpreter, are warnings.
"""

import asyncio
import contextlib
import logging
import re
import sys

_PRIORITY = re.compile(r"<([0-7])>")
_LEVELS = (*[logging.CRITICAL] * 3, logging.ERROR, logging.WARNING, logging.INFO, logging.INFO, logging.DEBUG)
_MOST_AT_ONCE = 8192


def say(text: str, priority: int = 4) -> None:
    """In the child. Where nobody listens any more, because the daemon was killed, nothing happens."""
    with contextlib.suppress(OSError):
        sys.stderr.write("".join(f"<{priority}>{line}\n" for line in text.splitlines()))
        sys.stderr.flush()


async def relay(stderr: asyncio.StreamReader, name: str) -> None:
    """In the daemon: log every line as it comes, in the name of the child, until its standard error is closed.

    It does not go onto the stream: what the publisher says about publishing would come back to it.
    """
    logger = logging.getLogger(name)
    begun = b""
    while chunk := await stderr.read(_MOST_AT_ONCE):
        *lines, begun = (begun + chunk).split(b"\n")
        if len(begun) >= _MOST_AT_ONCE:
            lines, begun = [*lines, begun], b""
        for line in lines:
            _log(logger, line)
    _log(logger, begun)


def _log(logger: logging.Logger, line: bytes) -> None:
    text = line.decode(errors="replace")
    priority = _PRIORITY.match(text)
    text = text[3:] if priority else text
    if text.strip():
        logger.log(_LEVELS[int(priority[1])] if priority else logging.WARNING, "%s", text.rstrip())
