"""What the daemon says: to standard error, and what the operator should read also to the stream."""

import logging
import sys
import time
from collections.abc import Callable

from protocol.messages import LogLine

_FORMAT = "%(asctime)s %(levelname)s %(name)s: %(message)s"


def set_up_logging(level: str) -> None:
    """Log to standard error, UTC times."""
    handler = logging.StreamHandler(sys.stderr)
    formatter = logging.Formatter(_FORMAT, "%Y-%m-%dT%H:%M:%SZ")
    formatter.converter = time.gmtime
    handler.setFormatter(formatter)
    root = logging.getLogger()
    root.handlers[:] = [handler]
    root.setLevel(level.upper())


class OperatorLog(logging.Handler):
    """Hands what the operator should read (information and worse) to `send`, which may be called from any thread."""

    def __init__(self, send: Callable[[LogLine], None]) -> None:
        super().__init__(logging.INFO)
        self._send = send

    def emit(self, record: logging.LogRecord) -> None:
        """Called by `logging`."""
        try:
            self._send(LogLine.model_validate({"level": record.levelname.lower(), "text": record.getMessage()}))
        except Exception:  # saying something must never be what stops the daemon
            self.handleError(record)
