"""Alarms handed to a program."""

import contextlib
import os
import signal
import subprocess
import threading
from collections.abc import Sequence

from monitor.sanity.alarms.delivery import DeliveryError
from protocol.text import reason_of

_MOST_TOLD = 200


class Command:
    """Starts `argv` with the JSON on its standard input, without a shell; exit code 0 means that it was taken.

    Who has not ended after `timeout_s` is killed, with all that it started and that did not leave its process group.
    """

    def __init__(self, argv: Sequence[str], timeout_s: float) -> None:
        self._argv = list(argv)
        self._timeout_s = timeout_s
        self._lock = threading.Lock()
        self._process: subprocess.Popen[bytes] | None = None
        self._ended = False

    def __call__(self, body: bytes) -> None:
        """Start it and wait; `DeliveryError` where it fails."""
        with self._lock:
            if self._ended:
                raise DeliveryError("not started: the program ends", final=True)
            try:
                process = subprocess.Popen(
                    self._argv,
                    stdin=subprocess.PIPE,
                    stdout=subprocess.DEVNULL,
                    stderr=subprocess.PIPE,
                    start_new_session=True,
                )
            except OSError as error:
                raise DeliveryError(f"{self._argv[0]} cannot be started: {reason_of(error)}") from None
            self._process = process
        with process:
            try:
                _, complaint = process.communicate(body, self._timeout_s)
            except subprocess.TimeoutExpired:
                self._kill()
                raise DeliveryError(
                    f"{self._argv[0]} did not end within {self._timeout_s:g} s, and was killed"
                ) from None
            finally:
                with self._lock:
                    self._process = None
        if process.returncode:
            raise DeliveryError(f"{self._argv[0]} ended with {process.returncode}{_told(complaint)}")

    def _kill(self) -> None:
        with self._lock:
            # A process that has ended and been seen to is no longer ours to kill: its number may be another's.
            if self._process is not None and self._process.returncode is None:
                with contextlib.suppress(ProcessLookupError, PermissionError):
                    os.killpg(self._process.pid, signal.SIGKILL)

    def end(self) -> None:
        """Kill what runs; nothing is started any more. From another thread."""
        with self._lock:
            self._ended = True
        self._kill()


def _told(complaint: bytes) -> str:
    text = " ".join(complaint.decode(errors="replace").split())[-_MOST_TOLD:]
    return f": {text}" if text else ""
