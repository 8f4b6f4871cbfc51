"""Alarms that are sent somewhere: in a thread of its own, so that nothing waits for whoever is slow to take them."""

import json
import logging
import threading
import time
from collections import deque
from collections.abc import Callable

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
    `queue`: so many objects may wait; where there are more, the oldest are dropped. What cannot be delivered is told by
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
