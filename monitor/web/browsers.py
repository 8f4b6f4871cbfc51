"""The browsers that look on, and when each is sent what."""

import asyncio
import contextlib
import logging
import time
from typing import Any, Final

from pydantic import ValidationError
from tornado.iostream import StreamClosedError
from tornado.websocket import WebSocketClosedError, WebSocketHandler

from monitor.web.access import Access
from monitor.web.updates import Update, UpdateBuilder
from monitor.web.view import Selection

log = logging.getLogger(__name__)

PERIOD_S: Final = 0.2
_HEARTBEAT_S = 1.0
MAX_BROWSERS = 200
MAX_REQUEST_BYTES = 1024
GOING_AWAY = 1001
TRY_LATER = 1013
REFUSED = 1008


class BrowserHub:
    """All browsers. Five times a second each gets what is new; who is still busy with the last gets all of it later."""

    def __init__(self, builder: UpdateBuilder) -> None:
        self._builder = builder
        self._browsers: set[BrowserSocket] = set()
        self._revision = -1
        self._told_at = 0.0
        self._trouble = ""

    @property
    def browsers(self) -> int:
        """How many look on."""
        return len(self._browsers)

    def enter(self, browser: "BrowserSocket") -> bool:
        """Let one in, unless there are too many."""
        if len(self._browsers) >= MAX_BROWSERS:
            return False
        self._browsers.add(browser)
        return True

    def leave(self, browser: "BrowserSocket") -> None:
        """One has gone."""
        self._browsers.discard(browser)

    def close(self) -> None:
        """Say goodbye to all."""
        for browser in list(self._browsers):
            browser.close(GOING_AWAY, "the monitor ends")

    async def serve(self) -> None:
        """Until cancelled."""
        loop = asyncio.get_running_loop()
        due = loop.time()
        while True:
            try:
                self.tell()
            except Exception as error:  # a plot of the user's that fails must not end the page for all
                if (trouble := f"{type(error).__name__}: {error}") != self._trouble:
                    log.exception("no update could be made; said once")
                    self._trouble = trouble
            due = max(due + PERIOD_S, loop.time())
            await asyncio.sleep(due - loop.time())

    def tell(self) -> None:
        """Send each browser what it does not have, if it is ready for it."""
        if not self._browsers:
            return
        revision, now = self._builder.revision(), time.monotonic()
        news = revision != self._revision or now - self._told_at >= _HEARTBEAT_S
        if not news and not any(browser.waiting for browser in self._browsers):
            return
        self._revision, self._told_at = revision, now
        update = self._builder.update({browser.selection for browser in self._browsers})
        for browser in list(self._browsers):
            browser.offer(update)


class BrowserSocket(WebSocketHandler):
    """The websocket of one browser. At most one update is on its way: no queue, whatever the browser does."""

    def initialize(self, hub: BrowserHub, access: Access) -> None:
        """Called by Tornado."""
        self._hub = hub
        self._access = access
        self.selection = Selection()
        self._whole = True
        self._whole_selection = True
        self._sending: asyncio.Future[None] | None = None

    async def prepare(self) -> None:
        """Refuse before anything is said where the browser may not look."""
        self._access.check(self)

    def check_origin(self, origin: str) -> bool:
        """Only pages of our own may look through somebody's browser."""
        return self._access.is_own_page(self, origin)

    def get_compression_options(self) -> dict[str, Any] | None:
        """No compression: it costs far more than it saves."""
        return None

    def open(self, *_: str, **__: str) -> None:
        """A browser has come: all that there is goes out with the next update."""
        if not self._hub.enter(self):
            self.close(TRY_LATER, f"more than {MAX_BROWSERS} browsers")

    def on_message(self, message: str | bytes) -> None:
        """What the browser has selected; nothing else is listened to."""
        try:
            self.selection = Selection.model_validate_json(message)
        except ValidationError:
            self.close(REFUSED, "not a selection")
            return
        self._whole_selection = True

    def on_close(self) -> None:
        """The browser has gone."""
        self._hub.leave(self)

    @property
    def waiting(self) -> bool:
        """Whether it needs more than what is new, and could take it."""
        return (self._whole or self._whole_selection) and (self._sending is None or self._sending.done())

    def offer(self, update: Update) -> None:
        """Send it, or note that it was missed."""
        if self._sending is not None and not self._sending.done():
            self._whole = True
            return
        message = update.message(self.selection, whole=self._whole, whole_selection=self._whole_selection)
        try:
            self._sending = asyncio.ensure_future(self.write_message(message, binary=True))
        except WebSocketClosedError:
            self._hub.leave(self)
            return
        self._sending.add_done_callback(_look_at_end)
        self._whole = self._whole_selection = False


def _look_at_end(sending: "asyncio.Future[None]") -> None:
    """A browser that goes while it is sent something is nothing to tell anybody."""
    if not sending.cancelled():
        with contextlib.suppress(WebSocketClosedError, StreamClosedError):
            sending.result()
