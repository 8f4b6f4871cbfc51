"""Start and stop of runs from the page, for who has the operator's token. Not there at all unless it was asked for."""

import asyncio
import hmac
import json
import logging
from typing import Any

from tornado.web import HTTPError, RequestHandler

from monitor.control import Controller, ControlRefusal
from monitor.web.access import Access

log = logging.getLogger(__name__)

TOKEN_HEADER = "X-Operator-Token"  # noqa: S105 - the name of a header, no token
_MOST_BYTES = 4096
_MOST_COMMENT = 1000


class Operator:
    """Knows the operator's token, and how to reach the daemon. One command at a time."""

    def __init__(self, token: str, controller: Controller) -> None:
        self._token = token
        self._controller = controller
        self._busy = asyncio.Lock()

    def knows(self, token: str) -> bool:
        """Whether that is the operator's token."""
        return hmac.compare_digest(token.encode(), self._token.encode())

    async def command(self, name: str, **args: Any) -> dict[str, Any]:
        """Result of a command to the daemon; `ControlRefusal` where it refuses, or is not there."""
        async with self._busy:
            return await self._controller.call(name, **args)


def control_routes(operator: Operator, access: Access) -> list[tuple[str, type[RequestHandler], dict[str, Any]]]:
    """Where the page's commands go."""
    return [(r"/control/(start|stop)", ControlHandler, {"operator": operator, "access": access})]


class ControlHandler(RequestHandler):
    """`POST /control/start` with `{"comment": …}`, `POST /control/stop`; the token in the header `X-Operator-Token`.

    A page of another site can send neither that header nor JSON without being asked for its origin first.
    """

    def initialize(self, operator: Operator, access: Access) -> None:
        """Called by Tornado."""
        self._operator = operator
        self._access = access

    async def prepare(self) -> None:
        """Refuse who may not look, who comes from another page, and who is no operator."""
        self._access.check(self)
        origin = self.request.headers.get("Origin")
        if origin is not None and not self._access.is_own_page(self, origin):
            raise HTTPError(403, reason="Not from another page")
        if not self._operator.knows(self.request.headers.get(TOKEN_HEADER, "")):
            log.warning("a command from %s without the operator's token was refused", self.request.remote_ip)
            raise HTTPError(403, reason="That is not the operator's token")

    def check_xsrf_cookie(self) -> None:
        """The header with the token does what such a cookie would."""

    async def post(self, command: str) -> None:
        """Obey."""
        args = self._arguments() if command == "start" else {}
        log.info("%s from %s", command, self.request.remote_ip)
        try:
            result = await self._operator.command(command, **args)
        except ControlRefusal as refusal:
            self.set_status(409)
            self.finish({"ok": False, "message": str(refusal)})
            return
        self.finish({"ok": True, "run": result.get("run"), "state": result.get("state")})

    def _arguments(self) -> dict[str, Any]:
        if len(self.request.body) > _MOST_BYTES:
            raise HTTPError(413)
        try:
            body = json.loads(self.request.body or b"{}")
        except ValueError:
            raise HTTPError(400, reason="Not JSON") from None
        comment = body.get("comment", "") if isinstance(body, dict) else None
        if not isinstance(comment, str) or len(comment) > _MOST_COMMENT:
            raise HTTPError(400, reason="No comment that can be taken")
        return {"comment": comment} if comment else {}

    def write_error(self, status_code: int, **_: Any) -> None:
        """As the page expects it."""
        self.finish({"ok": False, "message": self._reason, "status": status_code})
