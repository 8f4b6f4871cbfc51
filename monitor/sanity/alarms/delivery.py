"""Alarms that are sent to a program or a web address: in a thread each, so that nothing waits for whoever is slow."""

import contextlib
import http.client
import json
import logging
import os
import signal
import subprocess
import threading
import time
import urllib.error
import urllib.request
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from typing import IO

from protocol.text import printable, reason_of
from protocol.version import __version__

log = logging.getLogger(__name__)

FIRST_PAUSE_S = 1.0
LONGEST_PAUSE_S = 60.0


class DeliveryError(Exception):
    """It was not taken. `final`: and will not be."""

    def __init__(self, text: str, *, final: bool = False) -> None:
        super().__init__(text)
        self.final = final


class Delivery:
    """Hands each object to `send`, in order, and again where that raises `DeliveryError`, up to `attempts` times.

    `name`: what it is, for people. Between attempts it waits for 1 s, then twice as long each time, up to a minute.
    `queue`: so many objects may wait; where there are more, the oldest are dropped. What cannot be delivered is in
    `failure`, until something is delivered again, and in the log. `end`: lets a `send` under way end soon.
    """

    def __init__(
        self,
        name: str,
        send: Callable[[bytes], None],
        *,
        queue: int,
        attempts: int,
        first_pause_s: float = FIRST_PAUSE_S,
        end: Callable[[], None] = lambda: None,
    ) -> None:
        self.name = name
        self._send = send
        self._most = queue
        self._attempts = attempts
        self._first_pause_s = first_pause_s
        self._end = end
        self._waiting: deque[bytes] = deque()
        self._changed = threading.Condition()
        self._closing = False
        self._given_up = False
        self._failure = ""
        self.sent = 0
        self.dropped = 0
        # Not waited for at the end of the program for longer than `close` does.
        self._thread = threading.Thread(target=self._run, name=f"delivery-{name}", daemon=True)
        self._thread.start()

    @property
    def failure(self) -> str:
        """Why the last one was not delivered, or is not yet; empty where it was."""
        with self._changed:
            return self._failure

    def put(self, content: dict[str, object]) -> None:
        """Have it sent; never waits."""
        body = json.dumps(content, ensure_ascii=False).encode()
        with self._changed:
            if len(self._waiting) >= self._most:
                self._waiting.popleft()
                self.dropped += 1
                self._failure = f"{self.name}: more than {self._most} alarms wait, the oldest are dropped"
            self._waiting.append(body)
            self._changed.notify_all()

    def _run(self) -> None:
        while True:
            with self._changed:
                self._changed.wait_for(lambda: self._waiting or self._closing)
                if not self._waiting or self._given_up:
                    return
                body = self._waiting.popleft()
            self._deliver(body)

    def _deliver(self, body: bytes) -> None:
        pause_s = self._first_pause_s
        for attempt in range(1, self._attempts + 1):
            try:
                self._send(body)
            except DeliveryError as error:
                last = error.final or attempt == self._attempts
                self._fail(f"{self.name}: {error}" + (f"; given up after attempt {attempt}" if last else ""))
                if last:
                    with self._changed:
                        self.dropped += 1
                    return
            except Exception as error:  # a fault of ours must not end the thread
                log.exception("%s failed", self.name)
                self._fail(f"{self.name}: {type(error).__name__}: {error}")
                with self._changed:
                    self.dropped += 1
                return
            else:
                with self._changed:
                    self.sent += 1
                    self._failure = ""
                return
            with self._changed:
                self._changed.wait_for(lambda: self._closing, pause_s)
                if self._given_up or (self._closing and attempt > 1):
                    self.dropped += 1
                    return
            pause_s = min(2 * pause_s, LONGEST_PAUSE_S)

    def _fail(self, text: str) -> None:
        with self._changed:
            news = text != self._failure
            self._failure = text
        if news:
            log.warning("%s", text)

    def close(self, within_s: float) -> int:
        """End; what waits is still tried, for so long. Returns how many were not delivered of these."""
        deadline = time.monotonic() + within_s
        with self._changed:
            self._closing = True
            self._changed.notify_all()
        self._thread.join(max(deadline - time.monotonic(), 0.0))
        with self._changed:
            self._given_up = True
            left = len(self._waiting) + self._thread.is_alive()
            self._changed.notify_all()
        self._end()
        self._thread.join(1.0)
        return left


_MAX_COMPLAINT = 200


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
            raise DeliveryError(f"{self._argv[0]} ended with {process.returncode}{_shortened(complaint)}")

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


def _shortened(complaint: bytes) -> str:
    text = " ".join(complaint.decode(errors="replace").split())[-_MAX_COMPLAINT:]
    return f": {text}" if text else ""


_AGAIN = (408, 425, 429)
"""Answers of a server that does not take it now, but may later; so do all from 500 on."""


class _NoRedirects(urllib.request.HTTPRedirectHandler):
    """What is sent elsewhere becomes a question without content: better say so than believe that it was taken."""

    def redirect_request(
        self,
        request: urllib.request.Request,
        answer: IO[bytes],
        code: int,
        text: str,
        headers: http.client.HTTPMessage,
        url: str,
    ) -> None:
        """Do not go there."""


class Webhook:
    """Posts JSON to `url`, http or https; an answer from 200 to 299 means that it was taken."""

    def __init__(self, url: str, headers: Mapping[str, str], timeout_s: float) -> None:
        self._url = url
        self._headers = {
            "Content-Type": "application/json; charset=utf-8",
            "User-Agent": f"apx-sanity/{__version__}",
            **headers,
        }
        self._timeout_s = timeout_s
        self._opener = urllib.request.build_opener(_NoRedirects)

    def __call__(self, body: bytes) -> None:
        """Send it; `DeliveryError` where it is not taken. `timeout_s` is for each step of it."""
        request = urllib.request.Request(self._url, data=body, headers=self._headers, method="POST")  # noqa: S310 - the configuration lets only http and https pass
        try:
            with self._opener.open(request, timeout=self._timeout_s):
                return
        except urllib.error.HTTPError as error:
            error.close()
            final = error.code < 500 and error.code not in _AGAIN
            raise DeliveryError(f"the server answers {error.code} {_printable(error.reason)}", final=final) from None
        except urllib.error.URLError as error:
            raise DeliveryError(_printable(error.reason)) from None
        except (OSError, http.client.HTTPException) as error:
            raise DeliveryError(_printable(error) or type(error).__name__) from None


def _printable(what: object) -> str:
    return printable(str(what)[:200], "?")
